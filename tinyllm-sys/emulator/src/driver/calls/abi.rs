//! What the driver's C interface needs beside the calls of the table: the allocation of an address, a function's parameters,
//! functions of the host, and each device's default pool.

use tinyllm_sys::{DriverCode, DriverError, FunctionHandle, PoolHandle, StreamHandle};

use crate::driver::{
    device::Origin, emulator::Emulator, failure::Failure, host_functions::HostFunction, work::Work,
};

/// Memory that the program has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allocated {
    /// Its first address.
    pub start: u64,
    /// Its size.
    pub bytes: u64,
    /// The number of its device; `None` for page-locked memory of the host.
    pub ordinal: Option<u32>,
    /// The pool that it is of.
    pub pool: Option<PoolHandle>,
}

impl Emulator {
    /// The memory that an address is in, as the program has it now.
    pub fn allocated(&self, address: u64) -> Option<Allocated> {
        let state = self.lock();
        let on_device = state.devices.iter().enumerate().find_map(|(ordinal, device)| {
            let (start, found) = device.allocation(address, 1)?;
            let pool = match found.origin {
                Origin::Pool(pool) => Some(PoolHandle(pool)),
                _ => None,
            };
            Some(Allocated { start, bytes: found.bytes, ordinal: Some(ordinal as u32), pool })
        });
        on_device.or_else(|| {
            let (start, memory) = state.page_locked.range(..=address).next_back()?;
            let inside = address - start < memory.len();
            inside.then_some(Allocated { start: *start, bytes: memory.len(), ordinal: None, pool: None })
        })
    }

    /// Whether an address is among those that devices have given out, whatever became of them.
    pub fn is_device_address(&self, address: u64) -> bool {
        self.lock().devices.iter().any(|device| device.heap.has_given(address))
    }

    /// Offset and size in bytes of each parameter of a function, in the block that a launch is given.
    ///
    /// # Errors
    /// `InvalidHandle` where it is no function.
    pub fn function_params(&self, function: FunctionHandle) -> Result<Vec<(u32, u32)>, DriverError> {
        self.call(
            "cuFuncGetParamInfo",
            || function.to_string(),
            |state| state.modules.function_params(function.0),
        )
    }

    /// `cuCtxSetLimit` with `CU_LIMIT_MALLOC_HEAP_SIZE`: how much memory the kernels of the current context's device may allocate, 8 MiB
    /// until it is set.
    ///
    /// # Errors
    /// `InvalidValue` once a kernel that allocates has run.
    pub fn set_malloc_heap_bytes(&self, bytes: u64) -> Result<(), DriverError> {
        self.on_device(
            "cuCtxSetLimit",
            || format!("CU_LIMIT_MALLOC_HEAP_SIZE, {bytes}"),
            |state, device, _| {
                let is_set = state.devices[device].kernel_heap.set_limit(bytes);
                let used = || Failure::new(DriverCode::InvalidValue, "a kernel that allocates has run");
                if is_set { Ok(()) } else { Err(used()) }
            },
        )
    }

    /// `cuLaunchHostFunc` or `cuStreamAddCallback`: a stream calls a function when what is before it is done, on a thread of the
    /// driver, whose calls of the driver are refused. Functions that have not begun when the program ends are not called.
    ///
    /// # Errors
    /// `InvalidHandle` where it is no stream; `StreamCaptureUnsupported` for a callback in a capture.
    pub fn call_on_host(&self, stream: StreamHandle, function: HostFunction) -> Result<(), DriverError> {
        let name = if function.is_callback { "cuStreamAddCallback" } else { "cuLaunchHostFunc" };
        self.on_stream(
            name,
            stream,
            || stream.to_string(),
            |state, key| {
                state.host_functions.prepare(self.work_before_host_functions())?;
                state.issue(key, Work::Host(function)).map(drop)
            },
        )
    }

    /// `cuDeviceGetDefaultMemPool`: the pool that each device has without a call. It is no leak.
    ///
    /// # Errors
    /// `InvalidDevice`.
    pub fn default_pool(&self, ordinal: u32) -> Result<PoolHandle, DriverError> {
        self.call(
            "cuDeviceGetDefaultMemPool",
            || format!("device {ordinal}"),
            |state| {
                let known =
                    state.pools.iter().find(|(_, pool)| pool.is_default && pool.device == ordinal as usize);
                if let Some((handle, _)) = known {
                    return Ok(PoolHandle(*handle));
                }
                let handle = state.pool_create(ordinal, 0)?;
                if let Some(pool) = state.pools.get_mut(&handle) {
                    pool.is_default = true;
                }
                Ok(PoolHandle(handle))
            },
        )
    }

    /// `cuMemPoolSetAttribute` with `CU_MEMPOOL_ATTR_RELEASE_THRESHOLD`.
    ///
    /// # Errors
    /// `InvalidHandle` where it is no pool.
    pub fn set_pool_threshold(&self, pool: PoolHandle, bytes: u64) -> Result<(), DriverError> {
        self.call(
            "cuMemPoolSetAttribute",
            || format!("{pool}, {bytes} bytes"),
            |state| {
                let found = state.pools.get_mut(&pool.0).ok_or(DriverCode::InvalidHandle)?;
                found.threshold_bytes = bytes;
                Ok(())
            },
        )
    }

    /// The bytes that a pool keeps reserved before it releases free segments.
    ///
    /// # Errors
    /// `InvalidHandle` where it is no pool.
    pub fn pool_threshold(&self, pool: PoolHandle) -> Result<u64, DriverError> {
        self.call(
            "cuMemPoolGetAttribute",
            || pool.to_string(),
            |state| {
                Ok(state
                    .pools
                    .get(&pool.0)
                    .map(|pool| pool.threshold_bytes)
                    .ok_or(DriverCode::InvalidHandle)?)
            },
        )
    }
}
