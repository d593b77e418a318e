//! Which work runs when: any that nothing has to be before, chosen by a seed.

use std::collections::BTreeMap;

use super::work::{Issued, Work, WorkId};

/// The last step of splitmix64.
fn mixed(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Work that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) device: usize,
    pub(super) work: Work,
    pub(super) issued: Issued,
    /// As findings call it.
    pub(super) name: String,
    /// How many pieces of work are before it still.
    before: usize,
    after: Vec<WorkId>,
}

/// All work that has not been done.
#[derive(Debug)]
pub(super) struct Schedule {
    waiting: BTreeMap<WorkId, Waiting>,
    ready: Vec<WorkId>,
    next: WorkId,
    random: u64,
    /// Decides which lanes go first, and how much runs before anybody waits.
    seed: u64,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        Schedule { waiting: BTreeMap::new(), ready: Vec::new(), next: 1, random: seed, seed }
    }

    /// A number that only the seed and the calls so far decide (splitmix64).
    pub(super) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.random)
    }

    /// How many pieces of work may run at a call that does not wait.
    pub(super) fn eagerness(&mut self) -> u64 {
        let most = [0, 1, 2, 8][(mixed(self.seed) % 4) as usize];
        self.random() % (most + 1)
    }

    /// A number for the next piece of work.
    pub(super) fn number(&mut self) -> WorkId {
        self.next += 1;
        self.next - 1
    }

    /// Adds work that comes after others.
    pub(super) fn add(&mut self, device: usize, work: Work, issued: Issued, name: String, after: &[WorkId]) {
        let id = issued.id;
        let mut before = 0;
        for other in after {
            if let Some(other) = self.waiting.get_mut(other) {
                other.after.push(id);
                before += 1;
            }
        }
        if before == 0 {
            self.ready.push(id);
        }
        self.waiting.insert(id, Waiting { device, work, issued, name, before, after: Vec::new() });
    }

    pub(super) fn is_done(&self, id: WorkId) -> bool {
        !self.waiting.contains_key(&id)
    }

    /// Takes any piece of work that can run now.
    pub(super) fn take(&mut self) -> Option<Waiting> {
        if self.ready.is_empty() {
            return None;
        }
        // Mostly the same lane first, so that the others fall far behind; sometimes any.
        let random = self.random();
        let favourite = |id: &WorkId| {
            let lane = self.waiting.get(id).map_or(0, |waiting| waiting.issued.lane);
            mixed(self.seed ^ lane)
        };
        let first = (0..self.ready.len()).max_by_key(|index| favourite(&self.ready[*index]));
        let any = (random >> 2) as usize % self.ready.len();
        let index = if random.is_multiple_of(4) { any } else { first.unwrap_or(any) };
        let id = self.ready.swap_remove(index);
        self.waiting.remove(&id)
    }

    /// What came after a piece of work that has run can run, if nothing else is before it.
    pub(super) fn done(&mut self, waiting: &Waiting) {
        for id in &waiting.after {
            if let Some(other) = self.waiting.get_mut(id) {
                other.before -= 1;
                if other.before == 0 {
                    self.ready.push(*id);
                }
            }
        }
    }

    /// Drops a device's work: its context is lost.
    pub(super) fn forget(&mut self, device: usize) {
        let lost: Vec<WorkId> =
            self.waiting.iter().filter(|(_, waiting)| waiting.device == device).map(|(id, _)| *id).collect();
        for id in lost {
            if let Some(waiting) = self.waiting.remove(&id) {
                self.done(&waiting);
            }
            self.ready.retain(|ready| *ready != id);
        }
    }
}
