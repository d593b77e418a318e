//! Devices and contexts.

use std::thread;

use tinyllm_sys::{ContextHandle, CudaVersion, DeviceAttribute, DeviceHandle, DriverCode, DriverError};

use crate::driver::{emulator::Emulator, failure::Failure, limits, state::State};

/// Contexts' handles: the device's number and this.
const CONTEXTS: u64 = 0x100;

impl Emulator {
    pub(in crate::driver) fn driver_version(&self) -> Result<CudaVersion, DriverError> {
        Ok(limits::VERSION)
    }

    pub(in crate::driver) fn device_count(&self) -> Result<u32, DriverError> {
        Ok(self.lock().devices.len() as u32)
    }

    pub(in crate::driver) fn device_get(&self, ordinal: u32) -> Result<DeviceHandle, DriverError> {
        self.call(
            "cuDeviceGet",
            || ordinal.to_string(),
            |state| {
                let device = DeviceHandle(i32::try_from(ordinal).map_err(|_| DriverCode::InvalidDevice)?);
                state.device_of(device).map(|_| device)
            },
        )
    }

    pub(in crate::driver) fn device_name(&self, device: DeviceHandle) -> Result<String, DriverError> {
        self.call(
            "cuDeviceGetName",
            || device.to_string(),
            |state| state.device_of(device).map(|_| limits::NAME.to_owned()),
        )
    }

    pub(in crate::driver) fn device_total_mem(&self, device: DeviceHandle) -> Result<u64, DriverError> {
        self.call(
            "cuDeviceTotalMem",
            || device.to_string(),
            |state| state.device_of(device).map(|device| state.devices[device].heap.total_bytes()),
        )
    }

    pub(in crate::driver) fn device_attribute(
        &self,
        attribute: DeviceAttribute,
        device: DeviceHandle,
    ) -> Result<i32, DriverError> {
        self.call(
            "cuDeviceGetAttribute",
            || format!("{attribute:?}, {device}"),
            |state| state.device_of(device).map(|device| limits::attribute(attribute, device)),
        )
    }

    pub(in crate::driver) fn primary_context_retain(
        &self,
        device: DeviceHandle,
    ) -> Result<ContextHandle, DriverError> {
        self.call(
            "cuDevicePrimaryCtxRetain",
            || device.to_string(),
            |state| {
                let device = state.device_of(device)?;
                state.devices[device].retained += 1;
                Ok(ContextHandle(CONTEXTS + device as u64))
            },
        )
    }

    pub(in crate::driver) unsafe fn primary_context_release(
        &self,
        device: DeviceHandle,
    ) -> Result<(), DriverError> {
        self.call(
            "cuDevicePrimaryCtxRelease",
            || device.to_string(),
            |state| {
                let device = state.device_of(device)?;
                if state.devices[device].retained == 0 {
                    return Err(DriverCode::InvalidContext.into());
                }
                state.devices[device].retained -= 1;
                Ok(())
            },
        )
    }

    pub(in crate::driver) unsafe fn context_set_current(
        &self,
        context: ContextHandle,
    ) -> Result<(), DriverError> {
        self.call(
            "cuCtxSetCurrent",
            || context.to_string(),
            |state| {
                let device = state.device_of_context(context)?;
                let stack = state.contexts.entry(thread::current().id()).or_default();
                stack.pop();
                stack.push(device);
                Ok(())
            },
        )
    }

    pub(in crate::driver) unsafe fn context_push_current(
        &self,
        context: ContextHandle,
    ) -> Result<(), DriverError> {
        self.call(
            "cuCtxPushCurrent",
            || context.to_string(),
            |state| {
                let device = state.device_of_context(context)?;
                state.contexts.entry(thread::current().id()).or_default().push(device);
                Ok(())
            },
        )
    }

    pub(in crate::driver) fn context_pop_current(&self) -> Result<ContextHandle, DriverError> {
        self.call("cuCtxPopCurrent", String::new, |state| {
            let popped = state.contexts.get_mut(&thread::current().id()).and_then(Vec::pop);
            Ok(ContextHandle(CONTEXTS + popped.ok_or(DriverCode::InvalidContext)? as u64))
        })
    }

    pub(in crate::driver) fn context_get_current(&self) -> Result<Option<ContextHandle>, DriverError> {
        let current = self.lock().context_of(thread::current().id());
        Ok(current.map(|device| ContextHandle(CONTEXTS + device as u64)))
    }

    pub(in crate::driver) fn context_synchronize(&self) -> Result<(), DriverError> {
        let thread = thread::current().id();
        self.await_host_functions(|state| {
            state.context_of(thread).map_or_else(Vec::new, |device| state.streams.last_of(device))
        });
        self.on_device("cuCtxSynchronize", String::new, |state, device, thread| {
            state.captures.refuse_unsafe_call(thread)?;
            state.wait_device(device);
            state.check_context(device)
        })
    }
}

impl State {
    /// The device of a retained context.
    fn device_of_context(&self, context: ContextHandle) -> Result<usize, Failure> {
        let device = context.0.checked_sub(CONTEXTS).map(|device| device as usize);
        let device =
            device.filter(|device| self.devices.get(*device).is_some_and(|found| found.retained > 0));
        device.ok_or(DriverCode::InvalidContext.into())
    }
}
