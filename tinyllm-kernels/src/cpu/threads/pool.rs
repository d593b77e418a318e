//! A thread pool whose workers run one program together: each executes its part of every operation, with a barrier
//! between operations. A step wakes the threads once, whatever its number of operations.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use super::{
    barrier::{Barrier, IdleWork, PoisonOnUnwind, WaitPolicy},
    congestion::{Congestion, DecodeThreads, RunTimes},
    thread_time,
};
use crate::KernelError;

/// A fixed number of threads, the calling thread included.
pub(crate) struct Pool {
    workers: usize,
    pool: Option<rayon::ThreadPool>,
    congestion: Congestion,
}

/// One thread's view of a run.
pub(crate) struct Worker<'a> {
    /// Which worker this is; 0 is the calling thread.
    pub(crate) index: usize,
    /// Number of workers.
    pub(crate) workers: usize,
    /// The barrier of all workers; `None` where this worker runs alone and does all the work.
    barrier: Option<&'a Barrier>,
}

impl Pool {
    /// A pool of `workers` threads, at least one.
    pub(crate) fn new(workers: usize) -> Result<Self, KernelError> {
        let workers = workers.max(1);
        let pool = match workers {
            1 => None,
            _ => Some(
                rayon::ThreadPoolBuilder::new()
                    .num_threads(workers - 1)
                    .thread_name(|index| format!("tinyllm-{}", index + 1))
                    .build()
                    .map_err(|error| KernelError::Invalid { what: "threads", problem: error.to_string() })?,
            ),
        };
        Ok(Pool { workers, pool, congestion: Congestion::new() })
    }

    /// Number of threads.
    pub(crate) fn workers(&self) -> usize {
        self.workers
    }

    /// Runs `work` once on every worker, concurrently, and returns when all have ended.
    pub(crate) fn run(&self, work: impl Fn(&Worker<'_>) + Sync) {
        self.run_all(work);
    }

    /// As [`Pool::run`], for a step of one token: where `decode_threads` says so, on the calling thread alone, which
    /// then does the other workers' share too.
    pub(crate) fn run_token(&self, decode_threads: DecodeThreads, work: impl Fn(&Worker<'_>) + Sync) {
        let uses_one_thread = match decode_threads {
            _ if self.workers == 1 => false,
            DecodeThreads::All => false,
            DecodeThreads::Adaptive => self.congestion.uses_one_thread(),
            DecodeThreads::One => true,
        };
        if uses_one_thread {
            let alone = Worker { index: 0, workers: self.workers, barrier: None };
            return self.congestion.note_single(timed(|| {
                work(&alone);
                Duration::ZERO
            }));
        }
        if self.workers > 1 {
            self.congestion.note(timed(|| self.run_all(work)));
        } else {
            self.run_all(work);
        }
    }

    /// As [`Pool::run`], for a step of many tokens. Its timing decides whether the decode step that may follow begins
    /// with one thread.
    pub(crate) fn run_prompt(&self, work: impl Fn(&Worker<'_>) + Sync) {
        if self.workers > 1 {
            self.congestion.note_prompt(timed(|| self.run_all(work)));
        } else {
            self.run_all(work);
        }
    }

    /// Runs `work` on every worker; returns the longest time that a worker waited at barriers, after spinning.
    fn run_all(&self, work: impl Fn(&Worker<'_>) + Sync) -> Duration {
        let barrier = Barrier::new(self.workers, WaitPolicy::DEFAULT);
        let worker = |index| {
            let guard = PoisonOnUnwind(&barrier);
            work(&Worker { index, workers: self.workers, barrier: Some(&barrier) });
            std::mem::forget(guard);
        };
        match &self.pool {
            None => worker(0),
            Some(pool) => pool.in_place_scope(|scope| {
                scope.spawn_broadcast(|_, context| worker(context.index() + 1));
                worker(0);
            }),
        }
        barrier.longest_wait()
    }

    /// Runs `work` for every index below `count`, on any worker.
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

/// Measures a run: `work` returns the longest time that a worker waited; wall and CPU time are the calling thread's.
fn timed(work: impl FnOnce() -> Duration) -> RunTimes {
    let (start, cpu) = (Instant::now(), thread_time::of_this_thread());
    let waited = work();
    let cpu = thread_time::of_this_thread().saturating_sub(cpu);
    RunTimes { wall: start.elapsed(), cpu, waited }
}

struct NoWork;

impl IdleWork for NoWork {
    fn advance(&mut self) -> bool {
        false
    }
}

impl Worker<'_> {
    /// Waits until all workers are here; what they wrote before is visible after.
    pub(crate) fn wait(&self) {
        self.wait_while(|| NoWork);
    }

    /// As [`Worker::wait`], with work to do meanwhile, made by `idle_work` after this worker has arrived.
    pub(crate) fn wait_while<W: IdleWork>(&self, idle_work: impl FnOnce() -> W) {
        if let Some(barrier) = self.barrier {
            barrier.wait(self.index, idle_work);
        }
    }

    /// Whether this worker runs alone, and does the other workers' share too.
    pub(crate) fn is_alone(&self) -> bool {
        self.barrier.is_none()
    }
}

#[cfg(test)]
mod tests {
    use std::panic;

    use super::*;

    #[test]
    fn every_worker_waits_at_every_barrier() {
        for workers in [1, 2, 3, 5] {
            let pool = Pool::new(workers).unwrap();
            let counter = AtomicUsize::new(0);
            pool.run(|worker| {
                for round in 1..=200 {
                    counter.fetch_add(1, Ordering::Relaxed);
                    worker.wait();
                    assert_eq!(counter.load(Ordering::Relaxed), round * workers);
                    worker.wait();
                }
            });
        }
    }

    #[test]
    fn each_index_is_run_once() {
        let pool = Pool::new(3).unwrap();
        let hits: Vec<AtomicUsize> = (0..1000).map(|_| AtomicUsize::new(0)).collect();
        pool.for_each(hits.len(), |index| {
            hits[index].fetch_add(1, Ordering::Relaxed);
        });
        assert!(hits.iter().all(|hit| hit.load(Ordering::Relaxed) == 1));
    }

    #[test]
    fn one_worker_runs_alone_where_asked() {
        let pool = Pool::new(3).unwrap();
        for (decode_threads, expected) in [(DecodeThreads::All, 3), (DecodeThreads::One, 1)] {
            let workers = AtomicUsize::new(0);
            pool.run_token(decode_threads, |worker| {
                workers.fetch_add(1, Ordering::Relaxed);
                worker.wait();
                assert_eq!(worker.is_alone(), expected == 1);
                assert_eq!(worker.workers, 3);
            });
            assert_eq!(workers.into_inner(), expected);
        }
    }

    #[test]
    fn a_panic_of_one_worker_ends_the_run() {
        let pool = Pool::new(2).unwrap();
        let run = panic::catch_unwind(panic::AssertUnwindSafe(|| {
            pool.run(|worker| {
                if worker.index == 0 {
                    panic!("injected failure");
                }
                worker.wait();
            });
        }));
        assert!(run.is_err());
    }
}
