//! How fast this machine reads memory: the limit of decoding, which reads every weight for each token.

use std::{hint::black_box, time::Instant};

use anyhow::Context;
use tinyllm_mem::{Buffer, Category, HostResource, Request};

/// More than any cache holds.
const BYTES: usize = 256 << 20;

/// Memory to read, in pages as the engine's own.
pub(super) struct Bandwidth {
    buffer: Buffer<u64>,
}

impl Bandwidth {
    pub(super) fn new() -> anyhow::Result<Self> {
        let request = Request::new(Category::Workspace, "bandwidth", BYTES, 4096);
        let mut buffer = Buffer::<u64>::allocate(&HostResource::shared(), request)?;
        // Touched, so that the pages are there.
        buffer.as_mut_slice().fill(1);
        Ok(Bandwidth { buffer })
    }

    /// Bytes a second with so many threads, one pass.
    pub(super) fn measure(&self, threads: usize) -> anyhow::Result<f64> {
        let words = self.buffer.as_slice();
        let start = Instant::now();
        let sum = std::thread::scope(|scope| {
            let share = words.len().div_ceil(threads);
            let readers: Vec<_> = words.chunks(share).map(|part| scope.spawn(move || sum(part))).collect();
            readers.into_iter().map(|reader| reader.join().ok()).sum::<Option<u64>>()
        });
        let seconds = start.elapsed().as_secs_f64();
        black_box(sum.context("a reader failed")?);
        Ok(BYTES as f64 / seconds)
    }
}

/// Eight sums side by side, so that adding does not slow reading.
fn sum(words: &[u64]) -> u64 {
    let mut sums = [0u64; 32];
    for chunk in words.chunks_exact(32) {
        for (sum, word) in sums.iter_mut().zip(chunk) {
            *sum = sum.wrapping_add(*word);
        }
    }
    sums.iter().fold(0, |a, b| a.wrapping_add(*b))
}
