//! What orders blocks of one kernel: a fence and an atomic release what was done before, an atomic or a strong load acquires it.
//! Only kernels whose blocks run one at a time have more than one interval.

use crate::memory::Touched;

/// Most intervals of a block.
const MAX_INTERVALS: usize = 16;

/// What a block touched between two such points.
#[derive(Clone, Debug, Default)]
pub(super) struct Interval {
    /// When it last acquired: everything released until then happens before it.
    pub(super) acquired: u64,
    /// When it was released to others; `None` for never.
    pub(super) released: Option<u64>,
    pub(super) touched: Touched,
}

impl Interval {
    /// Whether something orders two intervals of different blocks.
    pub(super) fn is_ordered_with(&self, other: &Interval) -> bool {
        let before = |a: &Interval, b: &Interval| a.released.is_some_and(|released| released <= b.acquired);
        before(self, other) || before(other, self)
    }
}

/// The intervals of the block at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// Time of the last release of any block.
    pub(super) now: u64,
    acquired: u64,
    fenced: bool,
    intervals: Vec<Interval>,
}

impl Order {
    pub(super) fn fence(&mut self) {
        self.fenced = true;
    }

    /// An atomic or a strong access; `take` gives what was touched until now. Whether a interval has ended.
    pub(super) fn synchronize(&mut self, stores: bool, take: impl FnOnce() -> Touched) {
        let releases = stores && self.fenced;
        let acquires = self.now > self.acquired;
        if !releases && !acquires {
            return;
        }
        if self.intervals.len() + 1 < MAX_INTERVALS {
            if releases {
                self.now += 1;
            }
            let released = releases.then_some(self.now);
            self.intervals.push(Interval { acquired: self.acquired, released, touched: take() });
        } else if releases {
            // The last interval grows: as if everything in it were released here.
            self.now += 1;
            let touched = take();
            if let Some(last) = self.intervals.last_mut() {
                last.touched.merge(&touched);
                last.released = Some(self.now);
            }
        }
        self.acquired = self.now;
        self.fenced = false;
    }

    /// Ends the block's work.
    pub(super) fn finish(&mut self, touched: Touched) -> Vec<Interval> {
        let mut intervals = std::mem::take(&mut self.intervals);
        intervals.push(Interval { acquired: self.acquired, released: None, touched });
        // What came before a release but ended without one is released with the next that is.
        let mut later = None;
        for interval in intervals.iter_mut().rev() {
            match interval.released {
                Some(released) => later = Some(released),
                None => interval.released = later,
            }
        }
        self.fenced = false;
        self.acquired = 0;
        intervals
    }

    /// Swaps the block's own part with another block's, which runs next.
    pub(super) fn swap(&mut self, other: &mut Order) {
        std::mem::swap(&mut self.acquired, &mut other.acquired);
        std::mem::swap(&mut self.fenced, &mut other.fenced);
        std::mem::swap(&mut self.intervals, &mut other.intervals);
    }
}
