//! The part of a range that a worker begins with. The layout of weights and the work-stealing queues both use it, so
//! that a worker's own part is contiguous in memory.

use std::ops::Range;

/// The part of `0..count` that `worker` of `workers` begins with.
pub(in crate::cpu) fn partition(workers: usize, worker: usize, count: usize) -> Range<usize> {
    count * worker / workers..count * (worker + 1) / workers
}
