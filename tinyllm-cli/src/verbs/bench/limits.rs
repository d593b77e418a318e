//! This machine's limits: read bandwidth, which bounds decoding (every weight is read for each token), and the peak of
//! int16 dot products, which bounds prefill.

use std::{hint::black_box, time::Instant};

use tinyllm_kernels::{Cpu, Reading};
use tinyllm_mem::{Buffer, Category, HostResource, Request};

use super::median;

/// Bytes of a pass at least: less is too short to be timed.
const MIN_BYTES: usize = 16 << 20;

/// Warm-up passes: a cache takes some to settle.
const WARM_UP_PASSES: usize = 4;

/// Passes that are timed.
const PASSES: usize = 8;

/// Rounds of a pass of dot products: some milliseconds.
const ROUNDS: usize = 10_000;

/// The machine's limits.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of memory read.
    pub(super) read_bytes_per_s: f64,
    /// Multiplications and additions of int8 weights with int16 inputs.
    pub(super) dot_ops_per_s: f64,
}

/// A buffer that the engine's own threads read repeatedly, with pages as its weights have them. As many bytes are read
/// as a step reads, so that the last-level cache keeps the same share: a tenth of 140 MB in 32 MB, next to nothing of
/// twice as much.
pub(super) struct Meter {
    buffer: Buffer<f32>,
}

impl Meter {
    /// For steps that read at most so many bytes.
    pub(super) fn new(most_bytes: usize) -> anyhow::Result<Self> {
        let bytes = most_bytes.max(MIN_BYTES).next_multiple_of(4096);
        let request = Request::new(Category::Weights, "bandwidth", bytes, 4096);
        let mut buffer = Buffer::<f32>::allocate(&HostResource::shared(), request)?;
        // Prefaulted.
        buffer.as_mut_slice().fill(1.0);
        Ok(Meter { buffer })
    }

    /// Some read passes of as many bytes as a step reads, and some of dot products, by the engine's own threads: with a
    /// second thread pool the next step's workers could wake on a core that is still busy.
    pub(super) fn measure(&self, cpu: &Cpu, step_bytes: usize) -> Passes {
        let values = step_bytes.max(MIN_BYTES) / size_of::<f32>();
        let memory = &self.buffer.as_slice()[..values.min(self.buffer.len())];
        let read = |reading| {
            speeds(|| {
                black_box(cpu.read(memory, reading));
                size_of_val(memory) as f64
            })
        };
        Passes { read: Reading::ALL.map(read), dot: speeds(|| cpu.multiply(ROUNDS) as f64) }
    }
}

/// How fast each pass was.
pub(super) struct Passes {
    /// By read pattern.
    read: [Vec<f64>; Reading::ALL.len()],
    dot: Vec<f64>,
}

impl Limits {
    /// The medians of the passes just before and just after a segment: the machine's speed meanwhile, as close as can be
    /// measured without slowing the segment. On a shared machine a segment never gets the speed of the fastest pass.
    pub(super) fn around(before: &Passes, after: &Passes) -> Self {
        let both = |before: &[f64], after: &[f64]| median([before, after].concat());
        // The faster read pattern counts.
        let read = before.read.iter().zip(&after.read).map(|(before, after)| both(before, after));
        Limits { read_bytes_per_s: read.fold(0.0, f64::max), dot_ops_per_s: both(&before.dot, &after.dot) }
    }
}

/// The speeds of some passes after a few to warm up; a pass says how much it did.
fn speeds(pass: impl Fn() -> f64) -> Vec<f64> {
    let speed = |_| {
        let start = Instant::now();
        let amount = pass();
        amount / start.elapsed().as_secs_f64()
    };
    (0..WARM_UP_PASSES).for_each(|_| {
        pass();
    });
    (0..PASSES).map(speed).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The advice that the kernel was given on the mapping that holds an address, in its two-letter codes; none where
    /// the system does not say.
    fn advice_at(address: usize) -> Option<String> {
        let smaps = fs::read_to_string("/proc/self/smaps").ok()?;
        let holds = |line: &str| {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let Some((from, to)) = range else { return false };
            let (from, to) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16));
            from.is_ok_and(|from| from <= address) && to.is_ok_and(|to| address < to)
        };
        let mapping = smaps.lines().skip_while(|line| !holds(line));
        mapping.skip(1).find_map(|line| line.strip_prefix("VmFlags:")).map(str::to_owned)
    }

    #[test]
    fn the_meter_reads_from_pages_as_weights_have_them() {
        let meter = Meter::new(MIN_BYTES).unwrap();
        let request = Request::new(Category::Weights, "weights", MIN_BYTES, 4096);
        let weights = Buffer::<f32>::allocate(&HostResource::shared(), request).unwrap();
        let advice = |buffer: &Buffer<f32>| advice_at(buffer.as_slice().as_ptr().addr());
        assert_eq!(advice(&meter.buffer), advice(&weights));
    }
}
