//! What orders blocks of one kernel: a fence and an atomic release what was done before, an atomic or a strong load acquires it.
//! Only kernels whose blocks run one at a time come here with more than one stretch.

use crate::memory::Touched;

/// Most stretches that a block's work is kept apart in.
const MAX_STRETCHES: usize = 16;

/// What a block touched between two such points.
#[derive(Clone, Debug, Default)]
pub(super) struct Stretch {
    /// When it last heard of others: everything released until then is before it.
    pub(super) acquired: u64,
    /// When others could hear of it; `None` for never.
    pub(super) released: Option<u64>,
    pub(super) touched: Touched,
}

impl Stretch {
    /// Whether something orders two stretches of different blocks.
    pub(super) fn is_ordered_with(&self, other: &Stretch) -> bool {
        let before = |a: &Stretch, b: &Stretch| a.released.is_some_and(|released| released <= b.acquired);
        before(self, other) || before(other, self)
    }
}

/// The stretches of the block at hand.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// Time of the last release of any block.
    pub(super) now: u64,
    acquired: u64,
    fenced: bool,
    stretches: Vec<Stretch>,
}

impl Order {
    pub(super) fn fence(&mut self) {
        self.fenced = true;
    }

    /// An atomic or a strong access; `take` gives what was touched until now. Whether a stretch has ended.
    pub(super) fn synchronize(&mut self, stores: bool, take: impl FnOnce() -> Touched) {
        let releases = stores && self.fenced;
        let hears = self.now > self.acquired;
        if !releases && !hears {
            return;
        }
        if self.stretches.len() + 1 < MAX_STRETCHES {
            if releases {
                self.now += 1;
            }
            let released = releases.then_some(self.now);
            self.stretches.push(Stretch { acquired: self.acquired, released, touched: take() });
        } else if releases {
            // The last stretch grows: as if everything in it were released here.
            self.now += 1;
            let touched = take();
            if let Some(last) = self.stretches.last_mut() {
                last.touched.merge(&touched);
                last.released = Some(self.now);
            }
        }
        self.acquired = self.now;
        self.fenced = false;
    }

    /// Ends the block's work.
    pub(super) fn finish(&mut self, touched: Touched) -> Vec<Stretch> {
        let mut stretches = std::mem::take(&mut self.stretches);
        stretches.push(Stretch { acquired: self.acquired, released: None, touched });
        // What came before a release but ended without one is released with the next that is.
        let mut later = None;
        for stretch in stretches.iter_mut().rev() {
            match stretch.released {
                Some(released) => later = Some(released),
                None => stretch.released = later,
            }
        }
        self.fenced = false;
        self.acquired = 0;
        stretches
    }

    /// Lays the block's own part aside, while another runs.
    pub(super) fn swap(&mut self, other: &mut Order) {
        std::mem::swap(&mut self.acquired, &mut other.acquired);
        std::mem::swap(&mut self.fenced, &mut other.fenced);
        std::mem::swap(&mut self.stretches, &mut other.stretches);
    }
}
