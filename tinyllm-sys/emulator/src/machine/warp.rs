//! The state of a warp: registers, live lanes, their program counters, local memory, asynchronous copies.

use super::{clocks::MAX_WARPS, groups::Groups, local::Local, undefined::Undefined};
use crate::lanes::{LANES, Registers};

/// A warp of a block.
#[derive(Debug)]
pub(super) struct Warp {
    pub(super) index: u32,
    pub(super) registers: Registers,
    /// Lanes that are threads and have not ended.
    pub(super) live: u32,
    /// The next instruction that lanes do together does not wait for those who are missing.
    pub(super) forced: bool,
    pub(super) groups: Groups,
    pub(super) local: Local,
    pub(super) copies: Copies,
    /// What registers hold of values that nobody wrote; `None` while they hold nothing.
    pub(super) undefined: Option<Box<Undefined>>,
    /// Instructions begun.
    pub(super) clock: u64,
}

/// The largest copy of a lane.
pub(super) const COPY_BYTES: usize = 16;

/// What a warp's lanes copy: each its own bytes.
pub(super) type CopyData = [[u8; COPY_BYTES]; LANES];

/// A warp's `cp.async` under way.
#[derive(Clone, Debug, Hash)]
pub(super) struct AsyncCopy {
    pub(super) pc: u32,
    /// Lanes whose part is not complete.
    pub(super) mask: u32,
    /// For each lane the number of the lane's group that it will be, or is, part of.
    pub(super) groups: [u32; LANES],
    /// Where in shared memory.
    pub(super) to: [u64; LANES],
    pub(super) bytes: u32,
    pub(super) data: CopyData,
    /// The bytes of each lane that nobody wrote where they were read, a bit each; `None` where all are written.
    pub(super) undefined: Option<Box<[u32; LANES]>>,
}

/// `cp.async.mbarrier.arrive` whose copies are under way.
#[derive(Clone, Debug)]
pub(super) struct CopyArrival {
    pub(super) warp: u32,
    pub(super) pc: u32,
    pub(super) mask: u32,
    /// Each lane's object.
    pub(super) objects: [u64; LANES],
    pub(super) copies: Vec<AsyncCopy>,
    /// The warp's clock at that instruction.
    pub(super) known: [u32; MAX_WARPS],
}

/// A warp's copies under way.
#[derive(Clone, Debug, Default, Hash)]
pub(super) struct Copies {
    pub(super) pending: Vec<AsyncCopy>,
    /// Groups that each lane has committed.
    pub(super) committed: [u32; LANES],
}

impl Copies {
    pub(super) fn reset(&mut self) {
        self.pending.clear();
        self.committed = [0; LANES];
    }

    /// Takes the parts of copies that lanes have under way.
    pub(super) fn take(&mut self, mask: u32) -> Vec<AsyncCopy> {
        let mut taken = Vec::new();
        for copy in self.pending.iter_mut().filter(|copy| copy.mask & mask != 0) {
            taken.push(AsyncCopy { mask: copy.mask & mask, ..copy.clone() });
            copy.mask &= !mask;
        }
        self.pending.retain(|copy| copy.mask != 0);
        taken
    }

    pub(super) fn commit(&mut self, mask: u32) {
        for (lane, committed) in self.committed.iter_mut().enumerate() {
            *committed += mask >> lane & 1;
        }
    }
}
