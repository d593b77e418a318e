//! What the warps of a block have heard of each other: a clock a warp, joined at barriers.
//!
//! Times are handed out once in a block, so that a time says whose it is, and later ones are greater. The times that a warp has
//! heard of everybody until, without a gap, are one number: with it nearly every question is one comparison.

/// Most warps of a block.
pub(super) const MAX_WARPS: usize = 32;

/// A time that is over: before everything.
const NEVER: u32 = 0;

#[derive(Debug)]
pub(super) struct Clocks {
    /// Warps that there are.
    warps: usize,
    /// The time handed out last.
    now: u32,
    /// What each warp has heard of each other's time; of itself, its present time.
    heard: Box<[[u32; MAX_WARPS]; MAX_WARPS]>,
    /// Each warp's time before its present one.
    previous: [u32; MAX_WARPS],
    /// All until then, whoever did it, is before what a warp does now.
    settled: [u32; MAX_WARPS],
}

impl Clocks {
    pub(super) fn new(warps: u32) -> Self {
        let mut clocks = Clocks {
            warps: warps as usize,
            now: NEVER,
            heard: Box::new([[NEVER; MAX_WARPS]; MAX_WARPS]),
            previous: [NEVER; MAX_WARPS],
            settled: [NEVER; MAX_WARPS],
        };
        clocks.reset();
        clocks
    }

    /// Nobody has done anything.
    pub(super) fn reset(&mut self) {
        self.now = NEVER;
        self.heard.fill([NEVER; MAX_WARPS]);
        self.previous = [NEVER; MAX_WARPS];
        self.settled = [NEVER; MAX_WARPS];
        for warp in 0..self.warps {
            self.advance(warp);
        }
    }

    /// The warp's own time.
    #[inline(always)]
    pub(super) fn time(&self, warp: u32) -> u32 {
        self.heard[warp as usize][warp as usize]
    }

    /// What is not later than this is before what the warp does now.
    #[inline(always)]
    pub(super) fn settled(&self, warp: u32) -> u32 {
        self.settled[warp as usize]
    }

    /// The time until which a warp has heard of another.
    #[inline(always)]
    pub(super) fn heard(&self, warp: u32, of: u32) -> u32 {
        self.heard[warp as usize % MAX_WARPS][of as usize % MAX_WARPS]
    }

    /// What the warp does from now on is later.
    fn advance(&mut self, warp: usize) {
        self.now += 1;
        self.previous[warp] = self.heard[warp][warp];
        self.heard[warp][warp] = self.now;
    }

    /// A warp comes to a barrier: what it has done, and heard of, is added to what the barrier knows.
    pub(super) fn arrive(&mut self, warp: u32, known: &mut [u32; MAX_WARPS]) {
        for (known, time) in known.iter_mut().zip(&self.heard[warp as usize]) {
            *known = (*known).max(*time);
        }
        self.advance(warp as usize);
    }

    /// A warp leaves a barrier, knowing what all who came to it have done.
    pub(super) fn hear(&mut self, warp: u32, known: &[u32; MAX_WARPS]) {
        let heard = &mut self.heard[warp as usize];
        for (time, known) in heard.iter_mut().zip(known) {
            *time = (*time).max(*known);
        }
        self.settle(warp as usize);
    }

    /// The warp's lanes come together.
    pub(super) fn warp_barrier(&mut self, warp: u32) {
        self.advance(warp as usize);
        self.settle(warp as usize);
    }

    /// Nothing new is known of the gap if some warp has two times that this one has not heard of: only the first ends it.
    fn settle(&mut self, warp: usize) {
        let heard_all_but_last = |other: usize| self.heard[warp][other] >= self.previous[other];
        if (0..self.warps).all(heard_all_but_last) {
            let first = (0..self.warps).map(|other| self.heard[other][other]).min().unwrap_or(NEVER);
            self.settled[warp] = self.settled[warp].max(first.saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What barriers of some warps say, checked against what each has heard of each.
    #[test]
    fn settled_times_were_heard_of() {
        let mut state = 1u32;
        let mut next = |below: u32| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 16) % below
        };
        for warps in [1, 2, 5, 32] {
            let mut clocks = Clocks::new(warps);
            // Every time that a warp had, and whose it was.
            let mut times: Vec<(u32, u32)> = (0..warps).map(|warp| (clocks.time(warp), warp)).collect();
            for _ in 0..200 {
                if next(3) == 0 {
                    let warp = next(warps);
                    clocks.warp_barrier(warp);
                    times.push((clocks.time(warp), warp));
                } else {
                    let whole = next(2) == 0;
                    let mut known = [0; MAX_WARPS];
                    let come: Vec<u32> = (0..warps).filter(|_| whole || next(2) == 0).collect();
                    for warp in &come {
                        clocks.arrive(*warp, &mut known);
                        times.push((clocks.time(*warp), *warp));
                    }
                    come.iter().for_each(|warp| clocks.hear(*warp, &known));
                    let least = times.iter().map(|(time, _)| *time).max();
                    assert!(
                        !whole || come.iter().all(|warp| clocks.settled(*warp) + warps >= least.unwrap_or(0))
                    );
                }
                for warp in 0..warps {
                    for (time, of) in times.iter().filter(|(time, _)| *time <= clocks.settled(warp)) {
                        let heard = clocks.heard(warp, *of);
                        assert!(if *of == warp { *time < heard } else { *time <= heard });
                    }
                }
            }
        }
    }
}
