//! Threads that run one program together: every member executes every operation on its share, and meets the others at
//! a barrier in between. A step wakes them once, whatever the number of operations.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

pub(crate) use super::barrier::Waiting;
use super::{
    barrier::{Barrier, Patience, PoisonOnUnwind},
    congestion::{Congestion, DecodeThreads, Seen},
    thread_time,
};
use crate::KernelError;

/// A fixed number of threads, the caller included.
pub(crate) struct Team {
    members: usize,
    pool: Option<rayon::ThreadPool>,
    decode_threads: DecodeThreads,
    congestion: Congestion,
}

/// One thread's view of a run.
pub(crate) struct Member<'a> {
    /// Which member this is; 0 is the caller.
    pub(crate) index: usize,
    /// How many there are.
    pub(crate) members: usize,
    /// Where the others meet; `None` where they do not take part, and this member does all.
    barrier: Option<&'a Barrier>,
}

impl Team {
    /// A team of `members` threads, at least one.
    pub(crate) fn new(members: usize) -> Result<Self, KernelError> {
        let members = members.max(1);
        let pool = match members {
            1 => None,
            _ => Some(
                rayon::ThreadPoolBuilder::new()
                    .num_threads(members - 1)
                    .thread_name(|index| format!("tinyllm-{}", index + 1))
                    .build()
                    .map_err(|error| KernelError::Invalid { what: "threads", problem: error.to_string() })?,
            ),
        };
        Ok(Team { members, pool, decode_threads: DecodeThreads::default(), congestion: Congestion::new() })
    }

    /// Number of threads.
    pub(crate) fn members(&self) -> usize {
        self.members
    }

    /// How many threads run a step of one token.
    pub(crate) fn set_decode_threads(&mut self, decode_threads: DecodeThreads) {
        self.decode_threads = decode_threads;
    }

    /// Runs `work` once on every member, at the same time, and returns when all have ended.
    pub(crate) fn run(&self, work: impl Fn(&Member<'_>) + Sync) {
        self.run_all(work);
    }

    /// As [`Team::run`], or, where that is faster, on the caller alone, who then does the others' work too.
    pub(crate) fn run_some(&self, work: impl Fn(&Member<'_>) + Sync) {
        let takes_one = match self.decode_threads {
            _ if self.members == 1 => false,
            DecodeThreads::All => false,
            DecodeThreads::Adaptive => self.congestion.takes_one(),
            DecodeThreads::One => true,
        };
        if takes_one {
            let alone = Member { index: 0, members: self.members, barrier: None };
            return self.congestion.note_alone(watched(|| {
                work(&alone);
                Duration::ZERO
            }));
        }
        if self.members > 1 {
            self.congestion.note(watched(|| self.run_all(work)));
        } else {
            self.run_all(work);
        }
    }

    /// As [`Team::run`], for a run of many tokens, from which a run of one may follow.
    pub(crate) fn run_prompt(&self, work: impl Fn(&Member<'_>) + Sync) {
        if self.members > 1 {
            self.congestion.note_prompt(watched(|| self.run_all(work)));
        } else {
            self.run_all(work);
        }
    }

    /// Runs `work` on every member; how long the one that waited longest did.
    fn run_all(&self, work: impl Fn(&Member<'_>) + Sync) -> Duration {
        let barrier = Barrier::new(self.members, Patience::USUAL);
        let member = |index| {
            let guard = PoisonOnUnwind(&barrier);
            work(&Member { index, members: self.members, barrier: Some(&barrier) });
            std::mem::forget(guard);
        };
        match &self.pool {
            None => member(0),
            Some(pool) => pool.in_place_scope(|scope| {
                scope.spawn_broadcast(|_, context| member(context.index() + 1));
                member(0);
            }),
        }
        barrier.longest_wait()
    }

    /// Runs `work` for every index below `count`, on any member.
    pub(crate) fn for_each(&self, count: usize, work: impl Fn(usize) + Sync) {
        let next = AtomicUsize::new(0);
        self.run(|_| {
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                if index >= count {
                    break;
                }
                work(index);
            }
        });
    }
}

/// Does `work`, which says how long the thread waited that waited longest, and watches the calling thread meanwhile.
fn watched(work: impl FnOnce() -> Duration) -> Seen {
    let (start, ran) = (Instant::now(), thread_time::of_this_thread());
    let waited = work();
    let ran = thread_time::of_this_thread().saturating_sub(ran);
    Seen { took: start.elapsed(), ran, waited }
}

/// Nothing.
struct Idle;

impl Waiting for Idle {
    fn turn(&mut self) -> bool {
        false
    }
}

impl Member<'_> {
    /// Waits for all members; what they wrote before is visible after.
    pub(crate) fn meet(&self) {
        self.meet_while(|| Idle);
    }

    /// As [`Member::meet`], with something to do meanwhile: it is looked for when the others know that this member has come.
    pub(crate) fn meet_while<W: Waiting>(&self, waiting: impl FnOnce() -> W) {
        if let Some(barrier) = self.barrier {
            barrier.wait(self.index, waiting);
        }
    }

    /// Whether the others do not take part: this member does their work too.
    pub(crate) fn is_alone(&self) -> bool {
        self.barrier.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::panic;

    use super::*;

    #[test]
    fn every_member_meets_at_every_barrier() {
        for members in [1, 2, 3, 5] {
            let team = Team::new(members).unwrap();
            let counter = AtomicUsize::new(0);
            team.run(|member| {
                for round in 1..=200 {
                    counter.fetch_add(1, Ordering::Relaxed);
                    member.meet();
                    assert_eq!(counter.load(Ordering::Relaxed), round * members);
                    member.meet();
                }
            });
        }
    }

    #[test]
    fn each_index_is_worked_on_once() {
        let team = Team::new(3).unwrap();
        let hits: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        team.for_each(hits.len(), |index| {
            hits[index].fetch_add(1, Ordering::Relaxed);
        });
        assert!(hits.iter().all(|hit| hit.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn one_member_does_all_where_it_is_asked_to() {
        let mut team = Team::new(3).unwrap();
        for (decode_threads, expected) in [(DecodeThreads::All, 3), (DecodeThreads::One, 1)] {
            team.set_decode_threads(decode_threads);
            let members = AtomicUsize::new(0);
            team.run_some(|member| {
                members.fetch_add(1, Ordering::Relaxed);
                member.meet();
                assert_eq!(member.is_alone(), expected == 1);
                assert_eq!(member.members, 3);
            });
            assert_eq!(members.into_inner(), expected);
        }
    }

    #[test]
    fn a_panic_of_one_member_ends_the_run() {
        let team = Team::new(2).unwrap();
        let run = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            team.run(|member| {
                if member.index == 0 {
                    panic!("on purpose");
                }
                member.meet();
            });
        }));
        assert!(run.is_err());
    }
}
