//! The kernels: which PTX they are in, and typed launches of them. A launch's parameters are those of the function in `cuda/`,
//! whose head describes them; nothing else in this crate calls the driver with addresses of parameters.

pub(super) mod attention;
pub(super) mod matmul;
mod modules;
pub(super) mod peak;
mod repack;
pub(super) mod rows;

use std::ffi::c_void;

use tinyllm_mem::{MemError, Stream};
use tinyllm_sys::{DriverApi, DriverError, LaunchConfig, StreamHandle};

pub(super) use modules::{Kernel, Kernels};
pub(super) use repack::{RepackInt8, RepackRows};

use crate::{KernelError, ScaleType, VectorFormat};

/// A value that a kernel takes as a parameter, as it lies in memory.
///
/// # Safety
/// It has the size and layout of the kernel's parameter type, and no padding.
unsafe trait Parameter: Copy {}

// SAFETY: `unsigned` and pointers of the kernels.
unsafe impl Parameter for u32 {}
// SAFETY: as above.
unsafe impl Parameter for u64 {}
// SAFETY: `float`.
unsafe impl Parameter for f32 {}
// SAFETY: `struct Pieces`: eight `unsigned`.
unsafe impl Parameter for super::layout::PieceSteps {}

/// The address of a parameter, for a launch that reads it at once.
fn parameter<T: Parameter>(value: &T) -> *mut c_void {
    std::ptr::from_ref(value).cast_mut().cast()
}

/// Where work is queued: a stream, and the kernels of its device.
pub(super) struct Queue<'a> {
    stream: &'a Stream,
    kernels: &'a Kernels,
}

impl<'a> Queue<'a> {
    pub(super) fn new(stream: &'a Stream, kernels: &'a Kernels) -> Self {
        Queue { stream, kernels }
    }

    /// Calls the driver about work on the stream.
    ///
    /// # Errors
    /// The driver's, under the name of what was asked for.
    pub(super) fn run<T>(
        &self,
        name: &str,
        call: impl FnOnce(&dyn DriverApi, StreamHandle) -> Result<T, DriverError>,
    ) -> Result<T, KernelError> {
        let handle = self.stream.handle();
        let called = self.kernels.context().call(|driver| call(driver, handle));
        called.map_err(|error| MemError::Driver { name: name.into(), error }.into())
    }

    /// Queues a launch. A grid without blocks is none.
    ///
    /// # Safety
    /// `params` are addresses of values of the kernel's parameters, in their order; what the kernel does with them, as its
    /// head says, is within memory that lives until the work is done, and ordered with other work on it.
    unsafe fn launch(
        &self,
        kernel: Kernel,
        grid: [u32; 3],
        threads: u32,
        shared_bytes: u32,
        params: &[*mut c_void],
    ) -> Result<(), KernelError> {
        if grid.contains(&0) {
            return Ok(());
        }
        let function = self.kernels.function(kernel, shared_bytes)?;
        let config = LaunchConfig { shared_bytes, ..LaunchConfig::new(grid, [threads, 1, 1]) };
        self.run(kernel.name(), |driver, stream| {
            // SAFETY: the function's module lives as long as `kernels`, the stream as long as this borrow; the caller's
            // promise about parameters and memory.
            unsafe { driver.launch_kernel(function, &config, stream, params) }
        })
    }
}

/// `enum NumberType` of `cuda/numbers.cuh`.
fn number_type(numbers: ScaleType) -> u32 {
    match numbers {
        ScaleType::F16 => 0,
        ScaleType::Bf16 => 1,
        ScaleType::F32 => 2,
    }
}

impl From<VectorFormat> for ScaleType {
    fn from(format: VectorFormat) -> Self {
        match format {
            VectorFormat::F16 => ScaleType::F16,
            VectorFormat::F32 => ScaleType::F32,
        }
    }
}

/// Blocks of `threads` threads for so many work items.
///
/// # Errors
/// [`KernelError::Invalid`] for more than a grid has.
fn blocks(items: u64, threads: u32) -> Result<u32, KernelError> {
    let blocks = items.div_ceil(u64::from(threads));
    u32::try_from(blocks).ok().filter(|blocks| *blocks <= i32::MAX as u32).ok_or_else(|| {
        KernelError::Invalid { what: "grid", problem: format!("{blocks} blocks are more than a grid has") }
    })
}
