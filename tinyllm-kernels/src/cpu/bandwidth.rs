//! Reading memory as fast as it comes: what decoding is measured against.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{
    Cpu,
    lanes::{Kernel, LANES, Lanes, dispatch, tree_sum},
};

/// Sums side by side, so that adding does not slow reading.
const CHAINS: usize = 8;
/// Values of one turn of the chains.
const CHUNK: usize = LANES * CHAINS;
/// How far ahead of the loads lines are asked for, in values.
const PREFETCH: usize = 4 * CHUNK;

/// A way to read; which one is faster depends on the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// Each thread two stretches side by side, left to the processor's own fetching.
    TwoStreams,
    /// Each thread four stretches, whose lines are asked for ahead.
    FourStreamsAhead,
}

impl Reading {
    /// Every way.
    pub const ALL: [Self; 2] = [Reading::TwoStreams, Reading::FourStreamsAhead];
}

impl Cpu {
    /// Reads every value once, each thread a share of its own, with the widest loads there are, and returns the sum.
    /// Over more memory than caches hold, the time it takes is that of reading.
    pub fn read(&self, values: &[f32], reading: Reading) -> f32 {
        let share = values.len().div_ceil(self.team.members()).next_multiple_of(CHUNK).max(1);
        let total = AtomicU32::new(0f32.to_bits());
        self.team.run(|member| {
            let start = (member.index * share).min(values.len());
            let part = &values[start..(start + share).min(values.len())];
            // SAFETY: `Cpu::new` checked that the processor has the instruction set.
            let sum = unsafe {
                match reading {
                    Reading::TwoStreams => dispatch(self.isa, Sum::<2, false>(part)),
                    Reading::FourStreamsAhead => dispatch(self.isa, Sum::<4, true>(part)),
                }
            };
            let add = |bits| Some((f32::from_bits(bits) + sum).to_bits());
            // The closure always gives a value, so the update succeeds.
            let _ = total.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
        });
        f32::from_bits(total.into_inner())
    }
}

/// Reads `STREAMS` stretches side by side, asking for lines ahead where `AHEAD`.
struct Sum<'a, const STREAMS: usize, const AHEAD: bool>(&'a [f32]);

impl<const STREAMS: usize, const AHEAD: bool> Kernel for Sum<'_, STREAMS, AHEAD> {
    type Output = f32;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> f32 {
        // Several stretches at once: one stream does not keep a core's line buffers full.
        let stretch = self.0.len() / STREAMS / CHUNK * CHUNK;
        let rest: f32 = self.0[STREAMS * stretch..].iter().sum();
        // SAFETY: chunk by chunk, each of the streams stays inside its stretch of the values; prefetching reads nothing.
        unsafe {
            let mut sums = [L::zero_floats(); CHAINS];
            for chunk in (0..stretch).step_by(CHUNK) {
                for stream in 0..STREAMS {
                    let address = self.0.as_ptr().add(stream * stretch + chunk);
                    for (chain, sum) in sums.iter_mut().enumerate() {
                        if AHEAD {
                            L::prefetch(address.wrapping_add(PREFETCH + chain * LANES).cast());
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
