//! The state of a warp: registers, live lanes, their program counters, local memory, asynchronous copies.

use super::{aligned::Aligned, groups::Groups};
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
    /// Instructions begun.
    pub(super) clock: u64,
}

/// Local memory of a warp's threads, each thread's in one piece.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) bytes: Aligned,
    written: Vec<bool>,
    pub(super) of_thread: u32,
}

impl Local {
    pub(super) fn new(of_thread: u32) -> Self {
        // Threads' pieces begin where any access is aligned.
        let of_thread = of_thread.next_multiple_of(16);
        let bytes = of_thread as usize * LANES;
        Local { bytes: Aligned::new(bytes), written: vec![false; bytes], of_thread }
    }

    pub(super) fn reset(&mut self) {
        self.written.fill(false);
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
}

/// The largest copy of a lane.
pub(super) const COPY_BYTES: usize = 16;

/// What a warp's lanes copy: each its own bytes.
pub(super) type CopyData = [[u8; COPY_BYTES]; LANES];

/// A warp's `cp.async` under way.
#[derive(Clone, Debug)]
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
}

/// A warp's copies under way.
#[derive(Clone, Debug, Default)]
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

    pub(super) fn commit(&mut self, mask: u32) {
        for (lane, committed) in self.committed.iter_mut().enumerate() {
            *committed += mask >> lane & 1;
        }
    }
}
