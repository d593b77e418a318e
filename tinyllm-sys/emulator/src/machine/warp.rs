//! The state of a warp: registers, live lanes, their program counters, local memory, asynchronous copies.

use std::collections::HashMap;

use super::{aligned::Aligned, clocks::MAX_WARPS, groups::Groups, transfer::lanes_of, undefined::Undefined};
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

/// Local memory of a warp's threads, each thread's in one piece.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) bytes: Aligned,
    written: Vec<bool>,
    /// The store that put an undefined value at a place.
    stores: HashMap<usize, u32>,
    pub(super) of_thread: u32,
}

impl Local {
    pub(super) fn new(of_thread: u32) -> Self {
        // Threads' pieces begin where any access is aligned.
        let of_thread = of_thread.next_multiple_of(16);
        let bytes = of_thread as usize * LANES;
        Local { bytes: Aligned::new(bytes), written: vec![false; bytes], stores: HashMap::new(), of_thread }
    }

    pub(super) fn reset(&mut self) {
        self.written.fill(false);
        self.stores.clear();
    }

    fn range(&self, lane: usize, offset: u64, bytes: u64) -> std::ops::Range<usize> {
        let start = lane * self.of_thread as usize + offset as usize;
        start..start + bytes as usize
    }

    pub(super) fn is_written(&self, lane: usize, offset: u64, bytes: u64) -> bool {
        self.written[self.range(lane, offset, bytes)].iter().all(|written| *written)
    }

    pub(super) fn write(&mut self, lane: usize, offset: u64, bytes: u64) {
        let range = self.range(lane, offset, bytes);
        self.written[range].fill(true);
    }

    /// The bytes of an access that nobody wrote, a bit each.
    pub(super) fn unwritten(&self, lane: usize, offset: u64, bytes: u64) -> u32 {
        let written = self.written[self.range(lane, offset, bytes)].iter();
        written.enumerate().fold(0, |missing, (byte, written)| missing | u32::from(!written) << byte)
    }

    /// A store of undefined bytes, a bit each: they are again as if nobody had written them.
    pub(super) fn store_undefined(&mut self, lane: usize, offset: u64, undefined: u32, pc: u32) {
        let start = self.range(lane, offset, 0).start;
        for byte in lanes_of(undefined) {
            self.written[start + byte] = false;
            self.stores.insert(start + byte, pc);
        }
    }

    /// The store that put an undefined value at an offset, if one did.
    pub(super) fn undefined_store(&self, lane: usize, offset: u64) -> Option<u32> {
        self.stores.get(&self.range(lane, offset, 0).start).copied()
    }
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
