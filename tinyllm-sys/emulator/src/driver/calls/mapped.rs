//! Addresses that are reserved and memory that is put there.

use tinyllm_sys::{DeviceHandle, DevicePointer, DriverCode, DriverError, MemoryHandle};

use crate::driver::{emulator::Emulator, virtual_memory};

impl Emulator {
    pub(in crate::driver) fn mem_allocation_granularity(&self, ordinal: u32) -> Result<usize, DriverError> {
        self.call(
            "cuMemGetAllocationGranularity",
            || format!("device {ordinal}"),
            |state| {
                let device = i32::try_from(ordinal).map_err(|_| DriverCode::InvalidDevice)?;
                state.device_of(DeviceHandle(device)).map(|_| virtual_memory::GRANULE_BYTES as usize)
            },
        )
    }

    pub(in crate::driver) fn mem_address_reserve(
        &self,
        bytes: usize,
        align_bytes: usize,
    ) -> Result<DevicePointer, DriverError> {
        self.on_device(
            "cuMemAddressReserve",
            || format!("{bytes} bytes, {align_bytes}"),
            |state, device, _| {
                let device = &mut state.devices[device];
                let reserved =
                    state.virtual_memory.reserve_addresses(device, bytes as u64, align_bytes as u64);
                reserved.map(DevicePointer)
            },
        )
    }

    pub(in crate::driver) unsafe fn mem_address_free(
        &self,
        pointer: DevicePointer,
        bytes: usize,
    ) -> Result<(), DriverError> {
        self.call(
            "cuMemAddressFree",
            || format!("{pointer}, {bytes} bytes"),
            |state| state.virtual_memory.free_addresses(pointer.0, bytes as u64),
        )
    }

    pub(in crate::driver) fn mem_create(
        &self,
        ordinal: u32,
        bytes: usize,
    ) -> Result<MemoryHandle, DriverError> {
        self.call(
            "cuMemCreate",
            || format!("device {ordinal}, {bytes} bytes"),
            |state| {
                let devices = &mut state.devices;
                let memory =
                    state.virtual_memory.create_memory(devices, ordinal, bytes as u64, &mut state.handles);
                memory.map(MemoryHandle)
            },
        )
    }

    pub(in crate::driver) unsafe fn mem_release(&self, memory: MemoryHandle) -> Result<(), DriverError> {
        self.call(
            "cuMemRelease",
            || memory.to_string(),
            |state| state.virtual_memory.release_memory(&mut state.devices, memory.0),
        )
    }

    pub(in crate::driver) unsafe fn mem_map(
        &self,
        pointer: DevicePointer,
        bytes: usize,
        offset: usize,
        memory: MemoryHandle,
    ) -> Result<(), DriverError> {
        self.call(
            "cuMemMap",
            || format!("{pointer}, {bytes} bytes, {offset}, {memory}"),
            |state| state.virtual_memory.map(pointer.0, bytes as u64, offset as u64, memory.0),
        )
    }

    pub(in crate::driver) unsafe fn mem_unmap(
        &self,
        pointer: DevicePointer,
        bytes: usize,
    ) -> Result<(), DriverError> {
        self.on_device(
            "cuMemUnmap",
            || format!("{pointer}, {bytes} bytes"),
            |state, _, _| state.virtual_memory.unmap(&mut state.devices, pointer.0, bytes as u64),
        )
    }

    pub(in crate::driver) unsafe fn mem_set_access(
        &self,
        pointer: DevicePointer,
        bytes: usize,
        ordinal: u32,
    ) -> Result<(), DriverError> {
        self.call(
            "cuMemSetAccess",
            || format!("{pointer}, {bytes} bytes, device {ordinal}"),
            |state| {
                let device = state.devices.get_mut(ordinal as usize);
                let device = device.ok_or(DriverCode::InvalidDevice)?;
                state.virtual_memory.set_access(device, pointer.0, bytes as u64)
            },
        )
    }
}
