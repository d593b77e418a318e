//! How fast this machine reads memory: the limit of decoding, which reads every weight for each token.

use std::{hint::black_box, time::Instant};

use tinyllm_kernels::Cpu;
use tinyllm_mem::{Buffer, Category, HostResource, Request};

/// The least that is read: less is over too soon to be timed.
const MIN_BYTES: usize = 16 << 20;

/// Passes that are timed; a cache takes some to settle.
const PASSES: usize = 8;

/// Memory to read again and again, as much as decoding reads for a token and in pages as the engine's own: what a cache
/// keeps of the weights it keeps of this too.
pub(super) struct Bandwidth {
    buffer: Buffer<f32>,
}

impl Bandwidth {
    pub(super) fn new(weight_bytes: usize) -> anyhow::Result<Self> {
        let bytes = weight_bytes.max(MIN_BYTES).next_multiple_of(4096);
        let request = Request::new(Category::Workspace, "bandwidth", bytes, 4096);
        let mut buffer = Buffer::<f32>::allocate(&HostResource::shared(), request)?;
        // Touched, so that the pages are there.
        buffer.as_mut_slice().fill(1.0);
        Ok(Bandwidth { buffer })
    }

    /// Bytes a second on the engine's own kind of threads: the fastest of some passes after as many to warm up.
    pub(super) fn measure(&self, cpu: &Cpu) -> f64 {
        let mut fastest = f64::INFINITY;
        for pass in 0..2 * PASSES {
            let start = Instant::now();
            black_box(cpu.read(self.buffer.as_slice()));
            if pass >= PASSES {
                fastest = fastest.min(start.elapsed().as_secs_f64());
            }
        }
        self.buffer.size_bytes() as f64 / fastest
    }
}
