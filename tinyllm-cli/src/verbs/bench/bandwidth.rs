//! How fast this machine reads memory: the limit of decoding, which reads every weight for each token.

use std::{hint::black_box, time::Instant};

use tinyllm_kernels::Cpu;
use tinyllm_mem::{Buffer, Category, HostResource, Request};

/// More than any cache holds.
const BYTES: usize = 256 << 20;

/// Memory to read, in pages as the engine's own.
pub(super) struct Bandwidth {
    buffer: Buffer<f32>,
}

impl Bandwidth {
    pub(super) fn new() -> anyhow::Result<Self> {
        let request = Request::new(Category::Workspace, "bandwidth", BYTES, 4096);
        let mut buffer = Buffer::<f32>::allocate(&HostResource::shared(), request)?;
        // Touched, so that the pages are there.
        buffer.as_mut_slice().fill(1.0);
        Ok(Bandwidth { buffer })
    }

    /// Bytes a second on the engine's own kind of threads: one pass.
    pub(super) fn measure(&self, cpu: &Cpu) -> f64 {
        let start = Instant::now();
        black_box(cpu.read(self.buffer.as_slice()));
        BYTES as f64 / start.elapsed().as_secs_f64()
    }
}
