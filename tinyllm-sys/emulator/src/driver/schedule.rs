//! The order in which queued work runs: any order that streams and events allow, chosen by a seed. What the host has waited for is kept here too,
//! because it is before all work that it asks for later.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    clock::{Clock, Lane},
    work::Work,
};

/// The number of a piece of work.
pub(super) type WorkId = u64;

/// A piece of work as streams and events remember it.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub(super) id: WorkId,
    pub(super) lane: Lane,
    pub(super) count: u64,
    /// What is before it, itself included.
    pub(super) clock: Arc<Clock>,
}

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
    /// Pieces of work that each lane was given.
    counts: HashMap<Lane, u64>,
    /// What the host has waited for.
    host: Clock,
    random: u64,
    /// Decides which lanes go first, and how much runs without a wait.
    seed: u64,
}

impl Schedule {
    pub(super) fn new(seed: u64) -> Self {
        Schedule {
            waiting: BTreeMap::new(),
            ready: Vec::new(),
            next: 1,
            counts: HashMap::new(),
            host: Clock::default(),
            random: seed,
            seed,
        }
    }

    /// A number that only the seed and the calls so far decide (splitmix64).
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.random)
    }

    /// How many pieces of work may run at a call that does not wait.
    pub(super) fn eagerness(&mut self) -> u64 {
        let most = [0, 1, 2, 8][(mixed(self.seed) % 4) as usize];
        self.random() % (most + 1)
    }

    /// What the host has waited for.
    pub(super) fn host(&self) -> &Clock {
        &self.host
    }

    /// The host has waited for a piece of work, and so for what is before it.
    pub(super) fn waited_for(&mut self, issued: &Issued) {
        self.host.join(&issued.clock);
    }

    /// Adds a lane's next work, which comes after others and after what the host has waited for.
    pub(super) fn add(
        &mut self,
        device: usize,
        lane: Lane,
        work: Work,
        name: String,
        after: &[Issued],
    ) -> Issued {
        let mut clock = self.host.clone();
        after.iter().for_each(|other| clock.join(&other.clock));
        let count = self.counts.entry(lane).or_default();
        *count += 1;
        clock.set(lane, *count);
        let issued = Issued { id: self.next, lane, count: *count, clock: clock.into() };
        self.next += 1;
        let id = issued.id;
        let mut before = 0;
        for other in after {
            if let Some(other) = self.waiting.get_mut(&other.id) {
                other.after.push(id);
                before += 1;
            }
        }
        if before == 0 {
            self.ready.push(id);
        }
        let waiting = Waiting { device, work, issued: issued.clone(), name, before, after: Vec::new() };
        self.waiting.insert(id, waiting);
        issued
    }

    /// The number that the next piece of work gets.
    pub(super) fn next(&self) -> WorkId {
        self.next
    }

    /// The work that waits, of those with this number and later ones.
    pub(super) fn since(&self, first: WorkId) -> impl Iterator<Item = &Waiting> {
        self.waiting.range(first..).map(|(_, waiting)| waiting)
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

    /// A piece of work has run: its successors that wait for nothing else are ready.
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

    /// Whether a function of the host waits, of those that are not among `running`.
    pub(super) fn has_host_functions(&self, running: &BTreeSet<WorkId>) -> bool {
        let waits = |(id, waiting): (&WorkId, &Waiting)| {
            matches!(waiting.work, Work::Host(_)) && !running.contains(id)
        };
        self.waiting.iter().any(waits)
    }

    /// Keeps a piece of work that was taken as not done, until [`Schedule::release`].
    pub(super) fn hold(&mut self, waiting: Waiting) {
        self.waiting.insert(waiting.issued.id, waiting);
    }

    /// A piece of work that was held is done. It may have been dropped since.
    pub(super) fn release(&mut self, id: WorkId) -> Option<Issued> {
        let waiting = self.waiting.remove(&id)?;
        self.done(&waiting);
        Some(waiting.issued)
    }

    /// Drops a device's work, and gives it: its context is lost.
    pub(super) fn forget(&mut self, device: usize) -> Vec<Waiting> {
        let lost: Vec<WorkId> =
            self.waiting.iter().filter(|(_, waiting)| waiting.device == device).map(|(id, _)| *id).collect();
        self.ready.retain(|ready| !lost.contains(ready));
        let lost: Vec<Waiting> = lost.iter().filter_map(|id| self.waiting.remove(id)).collect();
        lost.iter().for_each(|waiting| self.done(waiting));
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(schedule: &mut Schedule) -> Vec<WorkId> {
        let next = || {
            let waiting = schedule.take()?;
            schedule.done(&waiting);
            Some(waiting.issued.id)
        };
        std::iter::from_fn(next).collect()
    }

    /// Two lanes of three pieces; the last of the first comes after the last of the second.
    fn lanes(schedule: &mut Schedule) -> [Vec<Issued>; 2] {
        let mut lanes = [Vec::new(), Vec::new()];
        for (lane, count) in [(1, 3), (0, 3)] {
            for index in 0..count {
                let mut after: Vec<Issued> = lanes[lane].last().cloned().into_iter().collect();
                if (lane, index) == (0, 2) {
                    after.extend(lanes[1].last().cloned());
                }
                let name = format!("{lane} {index}");
                let issued = schedule.add(0, lane as Lane, Work::Nothing, name, &after);
                lanes[lane].push(issued);
            }
        }
        lanes
    }

    #[test]
    fn every_seed_keeps_the_order_and_some_differ_in_the_rest() {
        let mut orders = Vec::new();
        for seed in 0..64 {
            let mut schedule = Schedule::new(seed);
            let [first, second] = lanes(&mut schedule);
            let order = run(&mut schedule);
            let place = |issued: &Issued| order.iter().position(|id| *id == issued.id);
            for lane in [&first, &second] {
                assert!(lane.is_sorted_by_key(place), "{seed}: {order:?}");
            }
            assert_eq!(place(&first[2]), Some(5), "{seed}: {order:?}");
            let again = &mut Schedule::new(seed);
            lanes(again);
            assert_eq!(run(again), order, "a seed decides");
            orders.push(order);
        }
        orders.sort();
        orders.dedup();
        assert!(orders.len() > 2, "{orders:?}");
    }

    #[test]
    fn clocks_know_what_is_before_and_what_the_host_waited_for() {
        let mut schedule = Schedule::new(0);
        let [first, second] = lanes(&mut schedule);
        assert!(first[2].clock.knows(1, 3) && !first[1].clock.knows(1, 1));
        assert!(!second[2].clock.knows(0, 1));
        schedule.waited_for(&first[0]);
        let later = schedule.add(0, 9, Work::Nothing, "later".into(), &[]);
        assert!(later.clock.knows(0, 1) && !later.clock.knows(0, 2));
    }

    #[test]
    fn a_lost_device_s_work_is_dropped_and_what_waited_for_it_runs() {
        let mut schedule = Schedule::new(0);
        let lost = schedule.add(0, 0, Work::Nothing, "lost".into(), &[]);
        let other = schedule.add(1, 1, Work::Nothing, "other".into(), std::slice::from_ref(&lost));
        assert!(!schedule.is_done(lost.id));
        schedule.forget(0);
        assert!(schedule.is_done(lost.id));
        assert_eq!(run(&mut schedule), [other.id]);
    }
}
