//! Memory: allocations, pools, copies, fills, names.

use tinyllm_sys::{DevicePointer, DriverCode, DriverError, PoolHandle, PoolUsage, StreamHandle};

use crate::driver::emulator::Emulator;

impl Emulator {
    pub(in crate::driver) fn mem_alloc(&self, bytes: usize) -> Result<DevicePointer, DriverError> {
        self.on_device(
            "cuMemAlloc",
            || format!("{bytes} bytes"),
            |state, _, thread| {
                let device = state.device_undisturbed(thread)?;
                state.mem_alloc(device, bytes)
            },
        )
    }

    pub(in crate::driver) unsafe fn mem_free(&self, pointer: DevicePointer) -> Result<(), DriverError> {
        self.on_device(
            "cuMemFree",
            || pointer.to_string(),
            |state, _, thread| {
                let device = state.device_undisturbed(thread)?;
                state.mem_free(device, pointer)
            },
        )
    }

    pub(in crate::driver) fn mem_alloc_host(&self, bytes: usize) -> Result<*mut u8, DriverError> {
        self.on_device("cuMemAllocHost", || format!("{bytes} bytes"), |state, _, _| state.alloc_host(bytes))
    }

    pub(in crate::driver) unsafe fn mem_free_host(&self, address: *mut u8) -> Result<(), DriverError> {
        self.on_device(
            "cuMemFreeHost",
            || format!("{address:?}"),
            |state, _, _| state.free_host(address.expose_provenance() as u64),
        )
    }

    pub(in crate::driver) fn mem_get_info(&self) -> Result<(u64, u64), DriverError> {
        self.on_device("cuMemGetInfo", String::new, |state, device, _| {
            let heap = &state.devices[device].heap;
            Ok((heap.free_bytes(), heap.total_bytes()))
        })
    }

    pub(in crate::driver) fn mem_pool_create(
        &self,
        ordinal: u32,
        release_threshold_bytes: u64,
    ) -> Result<PoolHandle, DriverError> {
        self.call(
            "cuMemPoolCreate",
            || format!("device {ordinal}"),
            |state| state.pool_create(ordinal, release_threshold_bytes).map(PoolHandle),
        )
    }

    pub(in crate::driver) unsafe fn mem_pool_destroy(&self, pool: PoolHandle) -> Result<(), DriverError> {
        self.call("cuMemPoolDestroy", || pool.to_string(), |state| state.pool_destroy(pool.0))
    }

    pub(in crate::driver) unsafe fn mem_pool_usage(
        &self,
        pool: PoolHandle,
    ) -> Result<PoolUsage, DriverError> {
        self.call(
            "cuMemPoolGetAttribute",
            || pool.to_string(),
            |state| {
                let pool = state.pools.get(&pool.0).ok_or(DriverCode::InvalidHandle)?;
                Ok(pool.usage())
            },
        )
    }

    pub(in crate::driver) unsafe fn mem_pool_trim_to(
        &self,
        pool: PoolHandle,
        keep_bytes: usize,
    ) -> Result<(), DriverError> {
        self.call(
            "cuMemPoolTrimTo",
            || format!("{pool}, {keep_bytes} bytes"),
            |state| state.pool_trim(pool.0, keep_bytes as u64),
        )
    }

    pub(in crate::driver) unsafe fn mem_alloc_from_pool_async(
        &self,
        bytes: usize,
        pool: PoolHandle,
        stream: StreamHandle,
    ) -> Result<DevicePointer, DriverError> {
        let arguments = || format!("{bytes} bytes, {pool}, {stream}");
        self.on_stream("cuMemAllocFromPoolAsync", stream, arguments, |state, key| {
            state.alloc_async(bytes, pool.0, key)
        })
    }

    pub(in crate::driver) unsafe fn mem_free_async(
        &self,
        pointer: DevicePointer,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        let arguments = || format!("{pointer}, {stream}");
        self.on_stream("cuMemFreeAsync", stream, arguments, |state, key| state.free_async(pointer, key))
    }

    pub(in crate::driver) unsafe fn memcpy_htod(
        &self,
        dst: DevicePointer,
        src: *const u8,
        bytes: usize,
    ) -> Result<(), DriverError> {
        let (name, stream) = ("cuMemcpyHtoD", StreamHandle::LEGACY);
        self.on_stream(
            name,
            stream,
            || format!("{dst}, {bytes} bytes"),
            |state, key| {
                state.refuse_captured(key)?;
                state.copy_to_device(name, dst.0, src, bytes, key, true)?;
                state.check_context(state.streams.get(key)?.device)
            },
        )
    }

    pub(in crate::driver) unsafe fn memcpy_dtoh(
        &self,
        dst: *mut u8,
        src: DevicePointer,
        bytes: usize,
    ) -> Result<(), DriverError> {
        let (name, stream) = ("cuMemcpyDtoH", StreamHandle::LEGACY);
        self.on_stream(
            name,
            stream,
            || format!("{src}, {bytes} bytes"),
            |state, key| {
                state.copy_to_host(name, dst, src.0, bytes, key, true)?;
                state.check_context(state.streams.get(key)?.device)
            },
        )
    }

    pub(in crate::driver) unsafe fn memcpy_dtod(
        &self,
        dst: DevicePointer,
        src: DevicePointer,
        bytes: usize,
    ) -> Result<(), DriverError> {
        let (name, stream) = ("cuMemcpyDtoD", StreamHandle::LEGACY);
        self.on_stream(
            name,
            stream,
            || format!("{dst}, {src}, {bytes} bytes"),
            |state, key| state.copy_on_device(name, dst.0, src.0, bytes, key),
        )
    }

    pub(in crate::driver) unsafe fn memcpy_htod_async(
        &self,
        dst: DevicePointer,
        src: *const u8,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        let name = "cuMemcpyHtoDAsync";
        self.on_stream(
            name,
            stream,
            || format!("{dst}, {bytes} bytes, {stream}"),
            |state, key| state.copy_to_device(name, dst.0, src, bytes, key, false),
        )
    }

    pub(in crate::driver) unsafe fn memcpy_dtoh_async(
        &self,
        dst: *mut u8,
        src: DevicePointer,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        let name = "cuMemcpyDtoHAsync";
        self.on_stream(
            name,
            stream,
            || format!("{src}, {bytes} bytes, {stream}"),
            |state, key| {
                state.copy_to_host(name, dst, src.0, bytes, key, false)?;
                state.check_context(state.streams.get(key)?.device)
            },
        )
    }

    pub(in crate::driver) unsafe fn memcpy_dtod_async(
        &self,
        dst: DevicePointer,
        src: DevicePointer,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        let name = "cuMemcpyDtoDAsync";
        self.on_stream(
            name,
            stream,
            || format!("{dst}, {src}, {bytes} bytes, {stream}"),
            |state, key| state.copy_on_device(name, dst.0, src.0, bytes, key),
        )
    }

    pub(in crate::driver) unsafe fn memset_d8(
        &self,
        dst: DevicePointer,
        value: u8,
        bytes: usize,
    ) -> Result<(), DriverError> {
        let (name, stream) = ("cuMemsetD8", StreamHandle::LEGACY);
        self.on_stream(
            name,
            stream,
            || format!("{dst}, {bytes} bytes"),
            |state, key| state.memset(name, dst.0, u32::from(value), 1, bytes, key, false),
        )
    }

    pub(in crate::driver) unsafe fn memset_d32(
        &self,
        dst: DevicePointer,
        value: u32,
        words: usize,
    ) -> Result<(), DriverError> {
        let (name, stream) = ("cuMemsetD32", StreamHandle::LEGACY);
        self.on_stream(
            name,
            stream,
            || format!("{dst}, {words} words"),
            |state, key| state.memset(name, dst.0, value, 4, words, key, false),
        )
    }

    pub(in crate::driver) unsafe fn memset_d8_async(
        &self,
        dst: DevicePointer,
        value: u8,
        bytes: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        let name = "cuMemsetD8Async";
        self.on_stream(
            name,
            stream,
            || format!("{dst}, {bytes} bytes, {stream}"),
            |state, key| state.memset(name, dst.0, u32::from(value), 1, bytes, key, true),
        )
    }

    pub(in crate::driver) unsafe fn memset_d32_async(
        &self,
        dst: DevicePointer,
        value: u32,
        words: usize,
        stream: StreamHandle,
    ) -> Result<(), DriverError> {
        let name = "cuMemsetD32Async";
        self.on_stream(
            name,
            stream,
            || format!("{dst}, {words} words, {stream}"),
            |state, key| state.memset(name, dst.0, value, 4, words, key, true),
        )
    }
}
