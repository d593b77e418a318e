//! `cp.async`: copies from global to shared memory that land when they are waited for, and not before.

use crate::lanes::LANES;

/// A copy under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub(super) lane: u32,
    /// The number of the lane's group that it will be, or is, part of.
    group: u32,
    /// Where in shared memory.
    pub(super) to: u32,
    pub(super) bytes: u32,
    pub(super) data: [u8; 16],
    pub(super) pc: u32,
}

/// A warp's copies under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    pending: Vec<Copy>,
    /// Groups that each lane has committed.
    committed: [u32; LANES],
}

impl Copies {
    pub(super) fn reset(&mut self) {
        self.pending.clear();
        self.committed = [0; LANES];
    }

    pub(super) fn start(&mut self, lane: usize, to: u32, data: [u8; 16], bytes: u32, pc: u32) {
        let group = self.committed[lane];
        self.pending.push(Copy { lane: lane as u32, group, to, bytes, data, pc });
    }

    pub(super) fn commit(&mut self, mask: u32) {
        for lane in (0..LANES).filter(|lane| mask >> lane & 1 == 1) {
            self.committed[lane] += 1;
        }
    }

    /// Takes out what has landed once at most `groups` of each lane's groups are under way.
    pub(super) fn wait(&mut self, mask: u32, groups: u32) -> Vec<Copy> {
        let committed = self.committed;
        self.landed(|copy| mask >> copy.lane & 1 == 1 && copy.group + groups < committed[copy.lane as usize])
    }

    /// Takes out everything of these lanes.
    pub(super) fn wait_all(&mut self, mask: u32) -> Vec<Copy> {
        self.landed(|copy| mask >> copy.lane & 1 == 1)
    }

    fn landed(&mut self, is: impl Fn(&Copy) -> bool) -> Vec<Copy> {
        let (landed, pending) = std::mem::take(&mut self.pending).into_iter().partition(is);
        self.pending = pending;
        landed
    }
}
