//! The limits of the device that is measured: memory bandwidth, which bounds decoding (every weight is read for each token),
//! and the peak of integer products, which bounds prefill.

use std::{hint::black_box, time::Instant};

use tinyllm_kernels::{Cpu, Cuda, CudaLimits, Reading};
use tinyllm_mem::{Buffer, Category, HostResource, Request};

use crate::device::Device;

use super::median;

/// Bytes of a pass at least: less is too short to be timed.
const MIN_BYTES: usize = 16 << 20;

/// Warm-up passes: a cache takes some to settle.
const WARM_UP_PASSES: usize = 4;

/// Passes that are timed.
const PASSES: usize = 8;

/// Rounds of a pass of dot products: some milliseconds.
const ROUNDS: usize = 10_000;

/// Bytes of a GPU's buffers at most.
const MOST_GPU_BYTES: usize = 512 << 20;

/// int8 products of a W8A16 one: an int16 activation is two bytes.
const PRODUCTS_OF_W8A16: f64 = 2.0;

/// A device's limits.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Bytes of memory read; of a GPU read and written by copies. `None` of several devices.
    pub(super) read_bytes_per_s: Option<f64>,
    /// Multiplications and additions of int8 weights with int16 inputs.
    pub(super) dot_ops_per_s: Option<f64>,
}

/// Measures the limits of the device that an engine runs on.
pub(super) enum Meter<'a> {
    Processor(ProcessorMeter<'a>),
    Gpu(Box<CudaLimits>),
    /// Of several devices there is no one limit.
    Several,
}

impl<'a> Meter<'a> {
    /// For steps that read at most so many bytes.
    pub(super) fn new(device: Option<&'a Device>, most_bytes: usize) -> anyhow::Result<Self> {
        Ok(match device {
            Some(Device::Processor(cpu)) => Meter::Processor(ProcessorMeter::new(cpu, most_bytes)?),
            Some(Device::Gpu(cuda)) => {
                Meter::Gpu(Box::new(CudaLimits::new(cuda, gpu_bytes(cuda, most_bytes))?))
            }
            None => Meter::Several,
        })
    }

    /// Some passes of as many bytes as a step reads, and some of products.
    pub(super) fn measure(&self, step_bytes: usize) -> anyhow::Result<Passes> {
        Ok(match self {
            Meter::Processor(meter) => meter.measure(step_bytes),
            Meter::Gpu(limits) => Passes {
                read: vec![vec![limits.copy_bytes_per_s()?]],
                dot: vec![limits.int8_ops_per_s()? / PRODUCTS_OF_W8A16],
            },
            Meter::Several => Passes { read: Vec::new(), dot: Vec::new() },
        })
    }
}

/// As many bytes as a step reads, twice, but no more than an eighth of what is free.
fn gpu_bytes(cuda: &Cuda, most_bytes: usize) -> usize {
    let free = cuda.context().memory_info().map_or(u64::MAX, |memory| memory.free_bytes);
    let room = usize::try_from(free / 16).unwrap_or(usize::MAX);
    most_bytes.clamp(MIN_BYTES, MOST_GPU_BYTES).min(room).max(1 << 20)
}

/// A buffer that the engine's own threads read repeatedly, with pages as its weights have them. As many bytes are read
/// as a step reads, so that the last-level cache keeps the same share: a tenth of 140 MB in 32 MB, next to nothing of
/// twice as much.
pub(super) struct ProcessorMeter<'a> {
    cpu: &'a Cpu,
    buffer: Buffer<f32>,
}

impl<'a> ProcessorMeter<'a> {
    fn new(cpu: &'a Cpu, most_bytes: usize) -> anyhow::Result<Self> {
        let bytes = most_bytes.max(MIN_BYTES).next_multiple_of(4096);
        let request = Request::new(Category::Weights, "bandwidth", bytes, 4096);
        let mut buffer = Buffer::<f32>::allocate(&HostResource::shared(), request)?;
        // Prefaulted.
        buffer.as_mut_slice().fill(1.0);
        Ok(ProcessorMeter { cpu, buffer })
    }

    /// Some read passes of as many bytes as a step reads, and some of dot products, by the engine's own threads: with a
    /// second thread pool the next step's workers could wake on a core that is still busy.
    fn measure(&self, step_bytes: usize) -> Passes {
        let values = step_bytes.max(MIN_BYTES) / size_of::<f32>();
        let memory = &self.buffer.as_slice()[..values.min(self.buffer.len())];
        let read = |reading| {
            speeds(|| {
                black_box(self.cpu.read(memory, reading));
                size_of_val(memory) as f64
            })
        };
        Passes { read: Reading::ALL.map(read).into(), dot: speeds(|| self.cpu.multiply(ROUNDS) as f64) }
    }
}

/// How fast each pass was.
pub(super) struct Passes {
    /// By read pattern.
    read: Vec<Vec<f64>>,
    dot: Vec<f64>,
}

impl Limits {
    /// The medians of the passes just before and just after a segment: the machine's speed meanwhile, as close as can be
    /// measured without slowing the segment. On a shared machine a segment never gets the speed of the fastest pass.
    pub(super) fn around(before: &Passes, after: &Passes) -> Self {
        let both = |before: &[f64], after: &[f64]| {
            let all = [before, after].concat();
            (!all.is_empty()).then(|| median(all))
        };
        // The faster read pattern counts.
        let read = before.read.iter().zip(&after.read).filter_map(|(before, after)| both(before, after));
        Limits { read_bytes_per_s: read.reduce(f64::max), dot_ops_per_s: both(&before.dot, &after.dot) }
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
        let cpu = Cpu::new(tinyllm_kernels::Isa::Portable, 1).unwrap();
        let meter = ProcessorMeter::new(&cpu, MIN_BYTES).unwrap();
        let request = Request::new(Category::Weights, "weights", MIN_BYTES, 4096);
        let weights = Buffer::<f32>::allocate(&HostResource::shared(), request).unwrap();
        let advice = |buffer: &Buffer<f32>| advice_at(buffer.as_slice().as_ptr().addr());
        assert_eq!(advice(&meter.buffer), advice(&weights));
    }
}
