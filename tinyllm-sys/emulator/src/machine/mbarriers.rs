//! `mbarrier` objects of a block: how many arrivals their phase waits for, and what those who arrived have done before.
//!
//! An object's 8 bytes in shared memory are written from its state, so that another write to them shows. An arrival releases what its
//! warp has done, and a successful wait acquires what the arrivals until the end of that phase have released.

use std::collections::BTreeMap;

use super::clocks::{Clocks, MAX_WARPS};
use crate::kernel::MBARRIER_FIELD_BITS as FIELD_BITS;

/// Bytes of an object, and what its address is a multiple of.
pub(super) const OBJECT_BYTES: u64 = 8;

const FIELD: u64 = (1 << FIELD_BITS) - 1;

/// The largest count of an object.
const MAX_COUNT: u32 = FIELD as u32;

/// An object.
#[derive(Clone, Debug)]
struct Mbarrier {
    phase: u64,
    /// Arrivals that the next phases wait for.
    expected: u32,
    /// Arrivals that this phase waits for still.
    pending: u32,
    /// The joined clocks of all that arrived, and of those that had when the last phase was complete.
    known: [u32; MAX_WARPS],
    complete: [u32; MAX_WARPS],
}

/// An arrival of one thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) count: u32,
    /// Whether later phases wait for as many less.
    pub(super) drop: bool,
    /// Whether it may complete the phase.
    pub(super) completes: bool,
}

/// Why an operation is none that an object takes.
pub(super) type Misuse = String;

impl Mbarrier {
    /// What lies in memory, and what an arrival gives: the pending count in the lowest bits.
    fn encoded(&self) -> u64 {
        let phase = (self.phase & FIELD) << (2 * FIELD_BITS);
        1 << 63 | phase | u64::from(self.expected) << FIELD_BITS | u64::from(self.pending)
    }
}

/// The objects of a block by their offsets in shared memory.
#[derive(Debug, Default)]
pub(super) struct Mbarriers {
    objects: BTreeMap<u64, Mbarrier>,
}

/// The word in memory.
fn word(memory: &mut [u8], offset: u64) -> Option<&mut [u8; OBJECT_BYTES as usize]> {
    memory.get_mut(offset as usize..)?.first_chunk_mut()
}

impl Mbarriers {
    pub(super) fn reset(&mut self) {
        self.objects.clear();
    }

    /// The object at an offset, if it is one and nothing else has written there.
    fn object(&mut self, memory: &mut [u8], offset: u64) -> Result<&mut Mbarrier, Misuse> {
        let Some(object) = self.objects.get_mut(&offset) else {
            return Err("no mbarrier object is there: mbarrier.init makes one".into());
        };
        let is_there = word(memory, offset).is_some_and(|word| u64::from_le_bytes(*word) == object.encoded());
        if is_there { Ok(object) } else { Err("the mbarrier object there was written over".into()) }
    }

    pub(super) fn init(&mut self, memory: &mut [u8], offset: u64, count: u32) -> Result<(), Misuse> {
        if count == 0 || count > MAX_COUNT {
            return Err(format!("a count of {count}; it has to be 1 to {MAX_COUNT}"));
        }
        if self.object(memory, offset).is_ok() {
            return Err("an mbarrier object is there already: mbarrier.inval ends it".into());
        }
        let overlaps = |other: &u64| *other != offset && other.abs_diff(offset) < OBJECT_BYTES;
        self.objects.retain(|other, _| !overlaps(other));
        let object = Mbarrier {
            phase: 0,
            expected: count,
            pending: count,
            known: [0; MAX_WARPS],
            complete: [0; MAX_WARPS],
        };
        word(memory, offset).into_iter().for_each(|word| *word = object.encoded().to_le_bytes());
        self.objects.insert(offset, object);
        Ok(())
    }

    pub(super) fn invalidate(&mut self, memory: &mut [u8], offset: u64) -> Result<(), Misuse> {
        self.object(memory, offset)?;
        self.objects.remove(&offset);
        // The memory holds nothing that may be read.
        word(memory, offset).into_iter().for_each(|word| *word = [0; OBJECT_BYTES as usize]);
        Ok(())
    }

    /// One more arrival for this phase to wait for: of copies that are under way.
    pub(super) fn expect(&mut self, memory: &mut [u8], offset: u64) -> Result<(), Misuse> {
        let object = self.object(memory, offset)?;
        if object.pending == MAX_COUNT {
            return Err(format!("more than {MAX_COUNT} arrivals are waited for"));
        }
        object.pending += 1;
        let encoded = object.encoded();
        word(memory, offset).into_iter().for_each(|word| *word = encoded.to_le_bytes());
        Ok(())
    }

    /// A thread arrives that has released what is before `known`. Gives the state before.
    pub(super) fn arrive(
        &mut self,
        memory: &mut [u8],
        offset: u64,
        arrival: Arrival,
        known: &[u32; MAX_WARPS],
    ) -> Result<u64, Misuse> {
        let object = self.object(memory, offset)?;
        let state = object.encoded();
        let Arrival { count, drop, completes } = arrival;
        if count == 0 || count > object.pending {
            return Err(format!("{count} arrivals where {} are waited for", object.pending));
        }
        if !completes && count == object.pending {
            return Err("it completes the phase, which .noComplete must not".into());
        }
        if drop && count > object.expected {
            return Err(format!("{count} fewer are to be waited for than {}", object.expected));
        }
        for (all, own) in object.known.iter_mut().zip(known) {
            *all = (*all).max(*own);
        }
        object.pending -= count;
        object.expected -= if drop { count } else { 0 };
        if object.pending == 0 {
            object.phase += 1;
            object.pending = object.expected;
            object.complete = object.known;
        }
        let encoded = object.encoded();
        word(memory, offset).into_iter().for_each(|word| *word = encoded.to_le_bytes());
        Ok(state)
    }

    /// Whether the phase that an arrival's state is of is complete; then a warp acquires what was released.
    pub(super) fn test(
        &mut self,
        memory: &mut [u8],
        offset: u64,
        phase: Phase,
        clocks: &mut Clocks,
        warp: u32,
    ) -> Result<bool, Misuse> {
        let object = self.object(memory, offset)?;
        let complete = match phase {
            Phase::Of(state) => match object.phase.wrapping_sub(state >> (2 * FIELD_BITS)) & FIELD {
                0 => false,
                1 => true,
                _ => return Err("a state of neither this phase nor the one before".into()),
            },
            Phase::Parity(parity) if parity > 1 => {
                return Err(format!("a parity of {parity}; it is 0 or 1"));
            }
            Phase::Parity(parity) => object.phase & 1 != u64::from(parity),
        };
        if complete {
            clocks.join(warp, &object.complete);
        }
        Ok(complete)
    }
}

/// Which phase is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Phase {
    /// That of a state.
    Of(u64),
    /// This phase or the one before, by the lowest bit of its number.
    Parity(u32),
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ONE: Arrival = Arrival { count: 1, drop: false, completes: true };

    #[test]
    fn phases_follow_each_other_and_drops_last() {
        let (mut objects, mut memory, mut clocks) = (Mbarriers::default(), vec![0; 16], Clocks::new(2));
        objects.init(&mut memory, 8, 3).unwrap();
        let first = objects.arrive(&mut memory, 8, ONE, &[0; MAX_WARPS]).unwrap();
        assert_eq!(first & FIELD, 3);
        let dropped = Arrival { drop: true, count: 1, ..ONE };
        let second = objects.arrive(&mut memory, 8, dropped, &[0; MAX_WARPS]).unwrap();
        assert_eq!(second & FIELD, 2);
        let mut test = |objects: &mut Mbarriers, memory: &mut [u8], phase| {
            objects.test(memory, 8, phase, &mut clocks, 0)
        };
        assert_eq!(test(&mut objects, &mut memory, Phase::Of(first)), Ok(false));
        assert_eq!(test(&mut objects, &mut memory, Phase::Parity(0)), Ok(false));
        // "The phase before the first" is complete.
        assert_eq!(test(&mut objects, &mut memory, Phase::Parity(1)), Ok(true));
        objects.arrive(&mut memory, 8, ONE, &[0; MAX_WARPS]).unwrap();
        assert_eq!(test(&mut objects, &mut memory, Phase::Of(second)), Ok(true));
        assert_eq!(test(&mut objects, &mut memory, Phase::Parity(0)), Ok(true));
        // Two are left of three.
        let all = Arrival { count: 2, ..ONE };
        assert!(
            objects.arrive(&mut memory, 8, Arrival { completes: false, ..all }, &[0; MAX_WARPS]).is_err()
        );
        objects.arrive(&mut memory, 8, all, &[0; MAX_WARPS]).unwrap();
        // Two phases later the first state says nothing.
        assert!(test(&mut objects, &mut memory, Phase::Of(first)).is_err());
        assert!(objects.init(&mut memory, 8, 1).is_err());
        objects.invalidate(&mut memory, 8).unwrap();
        assert!(objects.arrive(&mut memory, 8, ONE, &[0; MAX_WARPS]).is_err());
    }

    #[test]
    fn what_else_is_written_there_shows() {
        let (mut objects, mut memory) = (Mbarriers::default(), vec![0; 8]);
        objects.init(&mut memory, 0, 1).unwrap();
        memory[3] ^= 1;
        assert!(objects.arrive(&mut memory, 0, ONE, &[0; MAX_WARPS]).unwrap_err().contains("written over"));
    }
}
