//! A memory bandwidth benchmark: the upper bound of decoding speed.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{
    Cpu,
    lanes::{Kernel, LANES, Lanes, dispatch, tree_sum},
};

/// Independent sums, so that the latency of additions does not limit reading.
const CHAINS: usize = 8;
/// Values of one iteration over the chains.
const CHUNK: usize = LANES * CHAINS;
/// Prefetch distance, in values.
const PREFETCH_DISTANCE: usize = 4 * CHUNK;

/// An access pattern; which one is faster depends on the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Each thread reads two streams, without software prefetches.
    TwoStreams,
    /// Each thread reads four streams, with software prefetches.
    FourStreamsPrefetched,
}

impl Reading {
    /// Every access pattern.
    pub const ALL: [Self; 2] = [Reading::TwoStreams, Reading::FourStreamsPrefetched];
}

impl Cpu {
    /// Reads every value once, each thread an equal part, with the widest loads of the instruction set, and returns the
    /// sum. For more memory than the caches hold, the time is that of reading memory.
    pub fn read(&self, values: &[f32], reading: Reading) -> f32 {
        let part_elems = values.len().div_ceil(self.pool.workers()).next_multiple_of(CHUNK).max(1);
        let total = AtomicU32::new(0f32.to_bits());
        self.pool.run(|worker| {
            let start = (worker.index * part_elems).min(values.len());
            let part = &values[start..(start + part_elems).min(values.len())];
            // SAFETY: `Cpu::new` checked that the processor has the instruction set.
            let sum = unsafe {
                match reading {
                    Reading::TwoStreams => dispatch(self.isa, Sum::<2, false>(part)),
                    Reading::FourStreamsPrefetched => dispatch(self.isa, Sum::<4, true>(part)),
                }
            };
            let add = |bits| Some((f32::from_bits(bits) + sum).to_bits());
            // The closure never returns `None`, so the update succeeds.
            let _ = total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        });
        f32::from_bits(total.into_inner())
    }
}

/// Reads `STREAMS` streams in an interleaved loop, with software prefetches if `PREFETCH`.
struct Sum<'a, const STREAMS: usize, const PREFETCH: bool>(&'a [f32]);

impl<const STREAMS: usize, const PREFETCH: bool> Kernel for Sum<'_, STREAMS, PREFETCH> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> f32 {
        // Several streams at once: one alone does not keep a core's line fill buffers busy.
        let extent = self.0.len() / STREAMS / CHUNK * CHUNK;
        let rest: f32 = self.0[STREAMS * extent..].iter().sum();
        // SAFETY: stream s reads whole chunks of `extent` values from `s * extent` on, and `STREAMS * extent` is at
        // most the slice's length; loads take any alignment, and a prefetch reads nothing. The processor has `L` (the
        // contract of `Kernel::run`).
        unsafe {
            let mut sums = [L::zero_floats(); CHAINS];
            for chunk in (0..extent).step_by(CHUNK) {
                for stream in 0..STREAMS {
                    let address = self.0.as_ptr().add(stream * extent + chunk);
                    for (chain, sum) in sums.iter_mut().enumerate() {
                        if PREFETCH {
                            L::prefetch(address.wrapping_add(PREFETCH_DISTANCE + chain * LANES).cast());
                        }
                        *sum = L::add(*sum, L::load_f32(address.add(chain * LANES)));
                    }
                }
            }
            let all = sums.into_iter().fold(L::zero_floats(), |a, b| L::add(a, b));
            tree_sum::<L>(all) + rest
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Cpu, Isa, Reading};

    #[test]
    fn every_value_is_read_once() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            for threads in [1, 3] {
                let cpu = Cpu::new(isa, threads).unwrap();
                for count in [0usize, 1, 127, 128, 1000, 5003] {
                    // Small integers: their sum is exact in any order.
                    let values: Vec<f32> = (0..count).map(|index| (index % 7) as f32).collect();
                    let expected: usize = (0..count).map(|index| index % 7).sum();
                    for reading in Reading::ALL {
                        let sum = cpu.read(&values, reading);
                        assert_eq!(sum, expected as f32, "{isa} {threads} {count} {reading:?}");
                    }
                }
            }
        }
    }
}
