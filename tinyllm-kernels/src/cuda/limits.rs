//! A device's limits, measured: how fast it copies its memory, which bounds decoding, and its int8 tensor cores' peak, which
//! bounds prefill.

use tinyllm_mem::{Buffer, Category, Device, Event, Request, Stream};
use tinyllm_sys::{DeviceAttribute, DevicePointer, EventTiming, StreamFlags};

use super::{
    Cuda,
    kernels::{Kernels, Queue, peak},
    layout::ALIGN_BYTES,
};
use crate::KernelError;

/// Copies of a measurement.
const COPIES: usize = 4;

/// A launch that takes this long is long enough to be timed.
const LEAST_MILLISECONDS: f32 = 2.0;

/// Rounds of the shortest and the longest launch.
const ROUNDS: (u32, u32) = (16, 1 << 16);

/// Measures a device's limits, in memory of its own.
pub struct CudaLimits {
    kernels: Kernels,
    stream: Stream,
    from: Buffer<u8, Device>,
    to: Buffer<u8, Device>,
    begin: Event,
    end: Event,
    blocks: u32,
}

impl CudaLimits {
    /// With two buffers of so many bytes: as many as a step reads, or as fit.
    ///
    /// # Errors
    /// Memory that cannot be had; the driver's.
    pub fn new(cuda: &Cuda, bytes: usize) -> Result<Self, KernelError> {
        let context = &cuda.context;
        let buffer = |name| {
            let request =
                Request::new(Category::Workspace, name, bytes.next_multiple_of(ALIGN_BYTES), ALIGN_BYTES);
            Buffer::<u8, Device>::allocate(&cuda.memory, request)
        };
        let blocks = context.call(|driver| {
            driver
                .device_attribute(DeviceAttribute::MultiprocessorCount, driver.device_get(context.ordinal())?)
        });
        let blocks = blocks
            .map_err(|error| tinyllm_mem::MemError::Driver { name: "multiprocessors".into(), error })?;
        let limits = CudaLimits {
            kernels: Kernels::new(context),
            stream: Stream::new(context, StreamFlags::NonBlocking)?,
            from: buffer("limits.from")?,
            to: buffer("limits.to")?,
            begin: Event::new(context, EventTiming::Enabled)?,
            end: Event::new(context, EventTiming::Enabled)?,
            // Eight warps a block, two blocks a multiprocessor: every tensor core is busy.
            blocks: 2 * blocks.max(1) as u32,
        };
        let (to, bytes) = (DevicePointer(limits.from.address().addr() as u64), limits.from.len());
        limits.queue().run("memset", |driver, stream| {
            // SAFETY: the buffer's own bytes; all work on it is on this stream.
            unsafe { driver.memset_d8_async(to, 1, bytes, stream) }
        })?;
        Ok(limits)
    }

    fn queue(&self) -> Queue<'_> {
        Queue::new(&self.stream, &self.kernels)
    }

    /// Milliseconds that the device takes for what `work` queues.
    fn milliseconds(&self, work: impl FnOnce() -> Result<(), KernelError>) -> Result<f32, KernelError> {
        self.begin.record(&self.stream)?;
        work()?;
        self.end.record(&self.stream)?;
        self.end.synchronize()?;
        Ok(self.end.milliseconds_since(&self.begin)?)
    }

    /// Bytes a second, read and written, of copies within the device's memory.
    ///
    /// # Errors
    /// The driver's.
    pub fn copy_bytes_per_s(&self) -> Result<f64, KernelError> {
        let (from, to, bytes) =
            (self.from.address().addr() as u64, self.to.address().addr() as u64, self.from.len());
        let milliseconds = self.milliseconds(|| {
            (0..COPIES).try_for_each(|_| {
                self.queue().run("copy", |driver, stream| {
                    // SAFETY: two buffers of as many bytes; all work on them is on this stream.
                    unsafe { driver.memcpy_dtod_async(DevicePointer(to), DevicePointer(from), bytes, stream) }
                })
            })
        })?;
        Ok((2 * COPIES * bytes) as f64 / f64::from(milliseconds.max(f32::MIN_POSITIVE)) * 1e3)
    }

    /// Multiplications and additions a second of int8 on tensor cores.
    ///
    /// # Errors
    /// The driver's.
    pub fn int8_ops_per_s(&self) -> Result<f64, KernelError> {
        let mut rounds = ROUNDS.0;
        loop {
            let out = self.to.address().addr() as u64;
            let blocks = self.blocks.min((self.to.len() / peak::BLOCK_BYTES) as u32);
            let milliseconds = self.milliseconds(|| peak::int8(&self.queue(), blocks, out, rounds))?;
            if milliseconds >= LEAST_MILLISECONDS || rounds >= ROUNDS.1 {
                let ops = f64::from(blocks) * peak::block_ops(rounds);
                return Ok(ops / f64::from(milliseconds.max(f32::MIN_POSITIVE)) * 1e3);
            }
            rounds *= 2;
        }
    }
}

impl Drop for CudaLimits {
    fn drop(&mut self) {
        // Work may still use what is freed next. An error is the context's, and its next call returns it.
        let _ = self.stream.synchronize();
    }
}
