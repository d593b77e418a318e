//! Work-stealing queues. Each worker begins with a range of its own, so that it reads one contiguous extent of weights,
//! and takes 15/16 of what is left of it at a time; when its own range is empty it steals from the back of the other
//! workers' ranges, half at a time. So a worker that starts late does not delay the others, and one that is preempted
//! delays them by one chunk at most. Which worker computes an element never changes its bits: one worker computes all
//! of it.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

use super::partition;

/// Epochs whose counters are kept: the current one, the one before, from which no worker steals any more, and the next.
const EPOCHS: usize = 3;

/// How much of each worker's range has been taken, by epoch: the work between two barriers, an operation or a part of
/// one.
#[derive(Debug)]
pub(crate) struct StealQueues {
    workers: usize,
    /// `[EPOCHS][workers]`.
    taken: Vec<Taken>,
}

/// How many items were taken from the front (low half) and from the back (high half) of a worker's range. In cache
/// lines of its own, which stay in the cache of the core that takes from them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Taken(AtomicU64);

impl StealQueues {
    pub(in crate::cpu) fn new(workers: usize) -> Self {
        StealQueues { workers, taken: (0..EPOCHS * workers).map(|_| Taken::default()).collect() }
    }

    /// Resets all counters. Epochs begin at 0.
    pub(in crate::cpu) fn reset(&mut self) {
        self.taken.iter_mut().for_each(|taken| *taken.0.get_mut() = 0);
    }

    /// A worker enters an epoch, and resets its counter of the next. No worker takes from that one before the next
    /// barrier, nor any longer from the range of two epochs ago, whose counter it was.
    pub(in crate::cpu) fn begin(&self, epoch: usize, worker: usize) {
        self.word(epoch + 1, worker).store(0, Ordering::Relaxed);
    }

    fn word(&self, epoch: usize, worker: usize) -> &AtomicU64 {
        &self.taken[epoch % EPOCHS * self.workers + worker].0
    }

    /// The range of `0..count` that a worker begins with.
    pub(in crate::cpu) fn range(&self, worker: usize, count: usize) -> Range<usize> {
        partition(self.workers, worker, count)
    }

    /// The next chunk for `worker`, where each worker's range is `len(owner)` long: the range's owner, and a part of
    /// the range, a multiple of `chunk_size` unless less is left. `None` when everything is taken.
    pub(in crate::cpu) fn steal(
        &self,
        epoch: usize,
        worker: usize,
        len: impl Fn(usize) -> usize,
        chunk_size: usize,
    ) -> Option<(usize, Range<usize>)> {
        (0..self.workers).map(|step| (worker + step) % self.workers).find_map(|owner| {
            Some((owner, self.take(epoch, owner, len(owner), chunk_size, owner == worker)?))
        })
    }

    fn take(
        &self,
        epoch: usize,
        owner: usize,
        len: usize,
        chunk_size: usize,
        from_front: bool,
    ) -> Option<Range<usize>> {
        let word = self.word(epoch, owner);
        let mut taken = word.load(Ordering::Relaxed);
        loop {
            let (front, back) = ((taken & 0xffff_ffff) as usize, (taken >> 32) as usize);
            let left = len.checked_sub(front + back).filter(|left| *left > 0)?;
            // Large chunks: each one begins a new stream of reads, which costs some tenths of a microsecond.
            let share = if from_front { left - left / 16 } else { left / 2 };
            let wanted = if self.workers == 1 { left } else { share / chunk_size * chunk_size };
            let size = wanted.max(chunk_size).min(left);
            let (new, chunk) = if from_front {
                (taken + size as u64, front..front + size)
            } else {
                (taken + ((size as u64) << 32), len - back - size..len - back)
            };
            match word.compare_exchange_weak(taken, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(chunk),
                Err(now) => taken = now,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_taken_once_whichever_worker_is_slow() {
        for (workers, count, chunk_size) in
            [(1, 10, 4), (2, 36, 4), (3, 100, 1), (4, 3, 4), (2, 0, 1), (5, 57, 8)]
        {
            let queues = StealQueues::new(workers);
            let mut hits = vec![0; count];
            let mut own = vec![Vec::new(); workers];
            // The counters were used three epochs ago.
            for (epoch, worker) in (0..4).flat_map(|epoch| (0..workers).map(move |worker| (epoch, worker))) {
                queues.begin(epoch, worker);
                if epoch < 3 {
                    while queues.steal(epoch, worker, |_| 5, 1).is_some() {}
                }
            }
            // Worker 0 takes two chunks in the first round, and one in each round after.
            for worker in (0..workers).chain((0..workers).cycle().skip(1).take(100 * workers)) {
                let len = |worker| queues.range(worker, count).len();
                if let Some((owner, part)) = queues.steal(4, worker, len, chunk_size) {
                    let start = queues.range(owner, count).start;
                    let part = start + part.start..start + part.end;
                    part.clone().for_each(|index| hits[index] += 1);
                    own[worker].push(part);
                }
            }
            assert!(hits.iter().all(|hits| *hits == 1), "{workers} {count} {chunk_size}: {hits:?}");
            for (worker, parts) in own.iter().enumerate() {
                let first = parts.first().map(|part| part.start);
                // Where there is enough for all, each worker begins with its own range.
                let expected = queues.range(worker, count).start;
                assert!(count < workers * chunk_size || first == Some(expected), "{worker}: {parts:?}");
            }
        }
    }
}
