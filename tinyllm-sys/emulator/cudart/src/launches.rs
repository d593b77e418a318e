//! Launches: `<<<…>>>` is a configuration that is pushed, and a stub that pops it and launches.

use std::{
    cell::RefCell,
    ffi::{c_int, c_void},
};

use crate::{
    binaries::{function, is_function},
    contexts::on_device,
    driver::Driver,
    export::exports,
    outcome::{Answer, Error, place, put},
    streams::Stream,
};

/// `CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK`.
const MAX_THREADS_PER_BLOCK: c_int = 0;

/// `dim3`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Dim3 {
    pub(crate) x: u32,
    pub(crate) y: u32,
    pub(crate) z: u32,
}

/// `cudaLaunchConfig_t`. Its attributes have the layout and the numbers of the driver's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Config {
    pub(crate) grid: Dim3,
    pub(crate) block: Dim3,
    pub(crate) shared_bytes: usize,
    pub(crate) stream: Stream,
    pub(crate) attributes: *const c_void,
    pub(crate) attribute_count: u32,
}

/// `CUlaunchConfig`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct DriverConfig {
    grid: Dim3,
    block: Dim3,
    shared_bytes: u32,
    stream: Stream,
    attributes: *const c_void,
    attribute_count: u32,
}

#[derive(Clone, Copy, Debug)]
struct Pushed {
    grid: Dim3,
    block: Dim3,
    shared_bytes: usize,
    stream: Stream,
}

thread_local! {
    static PUSHED: RefCell<Vec<Pushed>> = const { RefCell::new(Vec::new()) };
}

/// The configuration's fault, where the driver says no more than that a value is invalid.
fn refused(driver: &Driver, function: u64, grid: Dim3, block: Dim3, error: Error) -> Error {
    let mut most = 0;
    // SAFETY: writes one number; a function of this driver.
    let known = unsafe { driver.func_get_attribute(&raw mut most, MAX_THREADS_PER_BLOCK, function) };
    let [blocks, threads] =
        [grid, block].map(|size| [size.x, size.y, size.z].map(u128::from).iter().product::<u128>());
    let fits = blocks > 0 && (1..=u128::from(most.unsigned_abs())).contains(&threads);
    if error == Error::INVALID_VALUE && known.is_ok() && !fits { Error::INVALID_CONFIGURATION } else { error }
}

/// # Safety
/// As `cudaLaunchKernel`: as many arguments as the kernel has parameters, each of its parameter's size.
unsafe fn launch(
    host: *const c_void,
    [grid, block]: [Dim3; 2],
    arguments: *mut *mut c_void,
    shared_bytes: usize,
    stream: Stream,
    is_cooperative: bool,
) -> Answer {
    let (driver, function) = function(host.addr())?;
    let shared = u32::try_from(shared_bytes).map_err(|_| Error::INVALID_VALUE)?;
    // SAFETY: a function of this driver, and the caller's promise.
    let done = unsafe {
        if is_cooperative {
            driver.launch_cooperative_kernel(
                function, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared, stream, arguments,
            )
        } else {
            let extra = std::ptr::null_mut();
            driver.launch_kernel(
                function, grid.x, grid.y, grid.z, block.x, block.y, block.z, shared, stream, arguments, extra,
            )
        }
    };
    done.map_err(|error| refused(driver, function, grid, block, error))
}

/// # Safety
/// As [`launch`], and the configuration has as many attributes as it says.
unsafe fn launch_with(
    config: *const Config,
    host: *const c_void,
    arguments: *mut *mut c_void,
    stream_of: impl FnOnce(Stream) -> Stream,
) -> Answer {
    if config.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    // SAFETY: not null, so one configuration: the caller's promise.
    let given = unsafe { config.read_unaligned() };
    let (driver, function) = function(host.addr())?;
    let config = DriverConfig {
        grid: given.grid,
        block: given.block,
        shared_bytes: u32::try_from(given.shared_bytes).map_err(|_| Error::INVALID_VALUE)?,
        stream: stream_of(given.stream),
        attributes: given.attributes,
        attribute_count: given.attribute_count,
    };
    let (start, extra) = ((&raw const config).cast(), std::ptr::null_mut());
    // SAFETY: the configuration lives until the call returns; the rest is the caller's promise.
    let done = unsafe { driver.launch_kernel_ex(start, function, arguments, extra) };
    done.map_err(|error| refused(driver, function, given.grid, given.block, error))
}

// SAFETY: no other library of a process that has this one defines the runtime's calls.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
extern "C" fn __cudaPushCallConfiguration(
    grid: Dim3,
    block: Dim3,
    shared_bytes: usize,
    stream: Stream,
) -> u32 {
    // The stub launches where this gives 0, and nothing else.
    let pushed =
        PUSHED.try_with(|pushed| pushed.borrow_mut().push(Pushed { grid, block, shared_bytes, stream }));
    u32::from(pushed.is_err())
}

exports! {
    __cudaPopCallConfiguration(grid: *mut Dim3, block: *mut Dim3, shared_bytes: *mut usize, stream: *mut Stream) {
        let popped = PUSHED.try_with(|pushed| pushed.borrow_mut().pop()).ok().flatten();
        let popped = popped.ok_or(Error::MISSING_CONFIGURATION)?;
        // SAFETY: the stub gives room for each.
        unsafe {
            put(grid, popped.grid)?;
            put(block, popped.block)?;
            put(shared_bytes, popped.shared_bytes)?;
            put(stream, popped.stream)
        }
    }
    __cudaGetKernel | cudaGetKernel(kernel: *mut *const c_void, host: *const c_void) {
        if !is_function(host.addr()) {
            return Err(Error::INVALID_DEVICE_FUNCTION);
        }
        // A kernel's handle is the address that stands for it, so that each may be passed for the other, as the runtime allows.
        // SAFETY: the caller gives room for one handle.
        unsafe { put(kernel, host) }
    }
    cudaGetFuncBySymbol(out: *mut u64, host: *const c_void) {
        let (_, function) = function(host.addr())?;
        // SAFETY: as above.
        unsafe { put(out, function) }
    }
    cudaLaunchKernel | __cudaLaunchKernel(
        host: *const c_void,
        grid: Dim3,
        block: Dim3,
        arguments: *mut *mut c_void,
        shared_bytes: usize,
        stream: Stream
    ) {
        // SAFETY: the caller gives the kernel's arguments.
        unsafe { launch(host, [grid, block], arguments, shared_bytes, stream, false) }
    }
    cudaLaunchKernel_ptsz | __cudaLaunchKernel_ptsz(
        host: *const c_void,
        grid: Dim3,
        block: Dim3,
        arguments: *mut *mut c_void,
        shared_bytes: usize,
        stream: Stream
    ) {
        // SAFETY: as above.
        unsafe { launch(host, [grid, block], arguments, shared_bytes, crate::streams::of_thread(stream), false) }
    }
    cudaLaunchCooperativeKernel; stream => cudaLaunchCooperativeKernel_ptsz (
        host: *const c_void,
        grid: Dim3,
        block: Dim3,
        arguments: *mut *mut c_void,
        shared_bytes: usize,
        stream: Stream
    ) {
        // SAFETY: as above.
        unsafe { launch(host, [grid, block], arguments, shared_bytes, stream, true) }
    }
    cudaLaunchKernelExC(config: *const Config, host: *const c_void, arguments: *mut *mut c_void) {
        // SAFETY: as above, and one configuration with its attributes.
        unsafe { launch_with(config, host, arguments, |stream| stream) }
    }
    cudaLaunchKernelExC_ptsz(config: *const Config, host: *const c_void, arguments: *mut *mut c_void) {
        // SAFETY: as above.
        unsafe { launch_with(config, host, arguments, crate::streams::of_thread) }
    }
    cudaLaunchHostFunc; stream => cudaLaunchHostFunc_ptsz (
        stream: Stream,
        function: *mut c_void,
        data: *mut c_void
    ) {
        // SAFETY: the caller gives a function of one pointer.
        unsafe { on_device()?.launch_host_func(stream, place(function)?, data) }
    }
    cudaStreamAddCallback; stream => cudaStreamAddCallback_ptsz (
        stream: Stream,
        function: *mut c_void,
        data: *mut c_void,
        flags: u32
    ) {
        // SAFETY: the caller gives a function of a stream, an error and a pointer, as the driver calls it: their errors are numbers
        // of the same width.
        unsafe { on_device()?.stream_add_callback(stream, place(function)?, data, flags) }
    }
}

#[cfg(test)]
mod tests {
    use std::mem::{offset_of, size_of};

    use cudarc::{driver::sys as driver, runtime::sys};

    use super::*;

    #[test]
    fn structures_are_those_of_the_headers() {
        assert_eq!(size_of::<Dim3>(), size_of::<sys::dim3>());
        assert_eq!(size_of::<Config>(), size_of::<sys::cudaLaunchConfig_t>());
        assert_eq!(offset_of!(Config, shared_bytes), offset_of!(sys::cudaLaunchConfig_t, dynamicSmemBytes));
        assert_eq!(offset_of!(Config, stream), offset_of!(sys::cudaLaunchConfig_t, stream));
        assert_eq!(offset_of!(Config, attributes), offset_of!(sys::cudaLaunchConfig_t, attrs));
        assert_eq!(offset_of!(Config, attribute_count), offset_of!(sys::cudaLaunchConfig_t, numAttrs));
        assert_eq!(size_of::<DriverConfig>(), size_of::<driver::CUlaunchConfig>());
        assert_eq!(
            offset_of!(DriverConfig, shared_bytes),
            offset_of!(driver::CUlaunchConfig, sharedMemBytes)
        );
        assert_eq!(offset_of!(DriverConfig, stream), offset_of!(driver::CUlaunchConfig, hStream));
        assert_eq!(offset_of!(DriverConfig, attributes), offset_of!(driver::CUlaunchConfig, attrs));
        assert_eq!(offset_of!(DriverConfig, attribute_count), offset_of!(driver::CUlaunchConfig, numAttrs));
        assert_eq!(size_of::<sys::cudaLaunchAttribute>(), size_of::<driver::CUlaunchAttribute>());
        assert_eq!(offset_of!(sys::cudaLaunchAttribute, val), offset_of!(driver::CUlaunchAttribute, value));
    }
}
