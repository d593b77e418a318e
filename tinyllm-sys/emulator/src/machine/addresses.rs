//! Addresses of a warp's access: one a lane, and the runs in which they follow each other.

use crate::{
    kernel::Address,
    lanes::{LANES, Registers},
};

/// Bytes of a sector, in which global memory is moved.
const SECTOR: u64 = 32;

/// Lanes that follow each other in memory, or are at one place: no byte of a run is outside of all lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) address: u64,
    pub(super) bytes: u64,
    /// The first lane.
    pub(super) first: usize,
    /// Every lane at the same address.
    pub(super) mask: u32,
}

/// A warp's runs, in the order of lanes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Runs {
    list: [Run; LANES],
    length: usize,
}

/// The address of each lane; of lanes outside of the mask too.
#[inline(always)]
pub(super) fn addresses(registers: &Registers, address: Address) -> [u64; LANES] {
    let offset = address.offset as u64;
    let mut addresses = [0; LANES];
    if address.wide {
        for (address, base) in addresses.iter_mut().zip(registers.wide(address.base)) {
            *address = base.wrapping_add(offset);
        }
    } else {
        for (address, base) in addresses.iter_mut().zip(registers.row(address.base)) {
            *address = u64::from(base.wrapping_add(offset as u32));
        }
    }
    addresses
}

impl Run {
    /// The one run of a whole warp, as nearly every access is: each lane where the one before it is, or next to it. `bytes` is a
    /// power of two.
    #[inline(always)]
    pub(super) fn of_warp(addresses: &[u64; LANES], bytes: u64, mask: u32) -> Option<Self> {
        if mask != u32::MAX {
            return None;
        }
        let mut other_steps = 0;
        for lane in 1..LANES {
            other_steps |= addresses[lane].wrapping_sub(addresses[lane - 1]) & !bytes;
        }
        let length = addresses[LANES - 1].wrapping_sub(addresses[0]).wrapping_add(bytes);
        (other_steps == 0).then_some(Run { address: addresses[0], bytes: length, first: 0, mask })
    }

    /// The first and the last sector that it touches.
    #[inline(always)]
    fn span(&self) -> (u64, u64) {
        (self.address / SECTOR, (self.address + self.bytes - 1) / SECTOR)
    }

    /// Sectors that it touches.
    #[inline(always)]
    pub(super) fn sectors(&self) -> u64 {
        let (first, last) = self.span();
        last - first + 1
    }
}

impl Runs {
    /// The runs of the lanes of a mask, which is not 0, for `bytes` a lane.
    #[inline(always)]
    pub(super) fn new(addresses: &[u64; LANES], bytes: u64, mask: u32) -> Self {
        let empty = Run { address: 0, bytes: 0, first: 0, mask: 0 };
        let mut runs = Runs { list: [empty; LANES], length: 0 };
        let mut lanes = mask;
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            let address = addresses[lane];
            if let Some(last) = runs.length.checked_sub(1).map(|last| &mut runs.list[last]) {
                let single = last.bytes == bytes;
                if last.address.wrapping_add(last.bytes) == address
                    && (last.mask.count_ones() == 1 || !single)
                {
                    last.bytes += bytes;
                    last.mask |= 1 << lane;
                    continue;
                }
                if last.address == address && single {
                    last.mask |= 1 << lane;
                    continue;
                }
            }
            runs.list[runs.length] = Run { address, bytes, first: lane, mask: 1 << lane };
            runs.length += 1;
        }
        runs
    }

    pub(super) fn as_slice(&self) -> &[Run] {
        &self.list[..self.length]
    }

    /// Sectors that are touched, each counted once.
    #[inline(always)]
    pub(super) fn sectors(&self) -> u64 {
        let mut spans = [(0, 0); LANES];
        for (span_of, run) in spans.iter_mut().zip(self.as_slice()) {
            *span_of = run.span();
        }
        let spans = &mut spans[..self.length];
        if !spans.is_sorted() {
            spans.sort_unstable();
        }
        let mut count = 0;
        let mut next = 0;
        for (first, last) in spans {
            let first = next.max(*first);
            if *last >= first {
                count += *last - first + 1;
                next = *last + 1;
            }
        }
        count
    }
}

/// Passes over the 32 banks of 4 bytes that an access of `bytes` a lane to shared memory takes: wide ones go in halves or
/// quarters of the warp, lanes at one word share it.
#[inline(always)]
pub(super) fn wavefronts(offsets: &[u64; LANES], bytes: u64, mask: u32) -> u64 {
    let words = bytes.div_ceil(4).max(1) as usize;
    let lanes_at_once = LANES / words.min(4);
    let mut total = 0;
    for start in (0..LANES).step_by(lanes_at_once) {
        let part = mask >> start & (u32::MAX >> (32 - lanes_at_once));
        if part == 0 {
            continue;
        }
        // Nearly always each lane has banks of its own.
        let mut banks = 0u32;
        for lane in 0..lanes_at_once {
            let bank = ((offsets[start + lane] / 4) as u32 % 32) >> words.trailing_zeros();
            banks |= (part >> lane & 1) << bank;
        }
        if banks.count_ones() == part.count_ones() {
            total += 1;
            continue;
        }
        // A word for each bank; a second word of a bank makes the slow count.
        let mut bank_word = [u64::MAX; 32];
        let mut conflict = false;
        let mut lanes = part;
        while lanes != 0 {
            let lane = start + lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            for word in 0..words as u64 {
                let word = offsets[lane] / 4 + word;
                let bank = &mut bank_word[(word % 32) as usize];
                conflict |= *bank != u64::MAX && *bank != word;
                *bank = word;
            }
        }
        total += if conflict { conflicting(offsets, words, start, part) } else { 1 };
    }
    total.max(1)
}

#[cold]
fn conflicting(offsets: &[u64; LANES], words: usize, start: usize, part: u32) -> u64 {
    let lanes = (0..LANES).filter(|lane| part >> lane & 1 == 1);
    let mut all: Vec<u64> =
        lanes.flat_map(|lane| (0..words as u64).map(move |word| offsets[start + lane] / 4 + word)).collect();
    all.sort_unstable();
    all.dedup();
    let mut counts = [0u64; 32];
    for word in all {
        counts[(word % 32) as usize] += 1;
    }
    counts.into_iter().max().unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn lanes_that_follow_are_one_run() {
        let follow: [u64; LANES] = std::array::from_fn(|lane| 1000 + 4 * lane as u64);
        let all = Run { address: 1000, bytes: 128, first: 0, mask: u32::MAX };
        let runs = Runs::new(&follow, 4, u32::MAX);
        assert_eq!((runs.as_slice(), runs.sectors()), ([all].as_slice(), 5));
        assert_eq!((Run::of_warp(&follow, 4, u32::MAX), all.sectors()), (Some(all), 5));
        assert_eq!((Run::of_warp(&follow, 4, 0b1011), Run::of_warp(&follow, 8, u32::MAX)), (None, None));
        let runs = Runs::new(&follow, 4, 0b1011);
        assert_eq!(runs.as_slice().len(), 2);
        assert_eq!(runs.as_slice()[0], Run { address: 1000, bytes: 8, first: 0, mask: 0b11 });
        let pairs: [u64; LANES] = std::array::from_fn(|lane| 96 + 2 * (lane as u64 / 2));
        let run = Run { address: 96, bytes: 32, first: 0, mask: u32::MAX };
        assert_eq!((Run::of_warp(&pairs, 2, u32::MAX), run.sectors()), (Some(run), 1));
        assert_eq!(Runs::new(&pairs, 2, u32::MAX).sectors(), 1);
        let apart: [u64; LANES] = std::array::from_fn(|lane| 4096 - 64 * lane as u64);
        assert_eq!(Runs::new(&apart, 4, u32::MAX).sectors(), 32);
        let one = [64; LANES];
        assert_eq!(
            Runs::new(&one, 16, 0xff00).as_slice(),
            [Run { address: 64, bytes: 16, first: 8, mask: 0xff00 }]
        );
    }

    #[test]
    fn banks_as_the_programming_guide_counts_them() {
        let stride = |words: u64| -> [u64; LANES] { std::array::from_fn(|lane| 4 * words * lane as u64) };
        assert_eq!(wavefronts(&stride(1), 4, u32::MAX), 1);
        assert_eq!(wavefronts(&stride(2), 4, u32::MAX), 2);
        assert_eq!(wavefronts(&stride(3), 4, u32::MAX), 1);
        assert_eq!(wavefronts(&stride(32), 4, u32::MAX), 32);
        assert_eq!(wavefronts(&[128; LANES], 4, u32::MAX), 1);
        // 16 bytes a lane, one after the other: a quarter of the warp fills the banks.
        assert_eq!(wavefronts(&stride(4), 16, u32::MAX), 4);
        assert_eq!(wavefronts(&stride(32), 16, 0xff), 8);
    }

    #[test]
    fn shortcuts_count_what_counting_counts() {
        let mut state = 1u64;
        let mut next = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..20_000 {
            let bytes = 1 << next(5);
            let mask = if next(2) == 0 { u32::MAX } else { next(1 << 32) as u32 | 1 };
            let (first, stride, shape) = (next(64), next(40), next(3));
            let at: [u64; LANES] = std::array::from_fn(|lane| {
                bytes
                    * match shape {
                        0 => first + stride * lane as u64,
                        1 => first + lane as u64 / (1 + stride % 5),
                        _ => next(1 + stride * 8),
                    }
            });
            let lanes: Vec<usize> = (0..LANES).filter(|lane| mask >> lane & 1 == 1).collect();
            let touched = |unit: u64, lane: usize| at[lane] / unit..=(at[lane] + bytes - 1) / unit;
            let sectors: HashSet<u64> = lanes.iter().flat_map(|lane| touched(SECTOR, *lane)).collect();
            assert_eq!(Runs::new(&at, bytes, mask).sectors(), sectors.len() as u64, "round {round}");
            if let Some(run) = Run::of_warp(&at, bytes, mask) {
                assert_eq!(run.sectors(), sectors.len() as u64, "round {round}");
            }
            // A pass has one word of each bank.
            let at_once = LANES / (bytes as usize / 4).max(1);
            let passes = lanes.chunk_by(|a, b| a / at_once == b / at_once).map(|part| {
                let words: HashSet<u64> = part.iter().flat_map(|lane| touched(4, *lane)).collect();
                (0..32).map(|bank| words.iter().filter(|word| **word % 32 == bank).count() as u64).max()
            });
            assert_eq!(Some(wavefronts(&at, bytes, mask)), passes.sum(), "round {round}");
        }
    }
}
