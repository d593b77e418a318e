//! Vector clocks of a block's warps, joined at barriers.
//!
//! A time is used once in a block, so that it identifies its warp, and later ones are greater. The time up to which all warps'
//! work happens before a warp's own is one number: with it nearly every check is one comparison.

/// Most warps of a block.
pub(super) const MAX_WARPS: usize = 32;

/// A time that is over: before everything.
const NEVER: u32 = 0;

#[derive(Debug)]
pub(super) struct Clocks {
    /// Warps that there are.
    warps: usize,
    /// The last time that was used.
    now: u32,
    /// Each warp's vector clock: the time until which another's work happens before; of itself, its present time.
    known: Box<[[u32; MAX_WARPS]; MAX_WARPS]>,
    /// Each warp's time before its present one.
    previous: [u32; MAX_WARPS],
    /// All warps' work until then happens before what a warp does now.
    settled: [u32; MAX_WARPS],
    /// When each warp's lanes exchanged values last, and by which instruction.
    exchanged: [(u32, u32); MAX_WARPS],
}

impl Clocks {
    pub(super) fn new(warps: u32) -> Self {
        let mut clocks = Clocks {
            warps: warps as usize,
            now: NEVER,
            known: Box::new([[NEVER; MAX_WARPS]; MAX_WARPS]),
            previous: [NEVER; MAX_WARPS],
            settled: [NEVER; MAX_WARPS],
            exchanged: [(NEVER, 0); MAX_WARPS],
        };
        clocks.reset();
        clocks
    }

    /// Nothing was done.
    pub(super) fn reset(&mut self) {
        self.now = NEVER;
        self.known.fill([NEVER; MAX_WARPS]);
        self.previous = [NEVER; MAX_WARPS];
        self.settled = [NEVER; MAX_WARPS];
        self.exchanged = [(NEVER, 0); MAX_WARPS];
        for warp in 0..self.warps {
            self.advance(warp);
        }
    }

    /// The warp's own time.
    #[inline(always)]
    pub(super) fn time(&self, warp: u32) -> u32 {
        self.known[warp as usize][warp as usize]
    }

    /// What is not later than this happens before what the warp does now.
    #[inline(always)]
    pub(super) fn settled(&self, warp: u32) -> u32 {
        self.settled[warp as usize]
    }

    /// The time until which another warp's work happens before this warp's.
    #[inline(always)]
    pub(super) fn known(&self, warp: u32, of: u32) -> u32 {
        self.known[warp as usize % MAX_WARPS][of as usize % MAX_WARPS]
    }

    /// What the warp does from now on is later.
    fn advance(&mut self, warp: usize) {
        self.now += 1;
        self.previous[warp] = self.known[warp][warp];
        self.known[warp][warp] = self.now;
    }

    /// A warp arrives at a barrier: its clock is joined to the barrier's.
    pub(super) fn arrive(&mut self, warp: u32, barrier: &mut [u32; MAX_WARPS]) {
        for (barrier, time) in barrier.iter_mut().zip(&self.known[warp as usize]) {
            *barrier = (*barrier).max(*time);
        }
        self.advance(warp as usize);
    }

    /// A warp leaves a barrier: its clock is joined with those of all that arrived.
    pub(super) fn join(&mut self, warp: u32, barrier: &[u32; MAX_WARPS]) {
        let known = &mut self.known[warp as usize];
        for (time, barrier) in known.iter_mut().zip(barrier) {
            *time = (*time).max(*barrier);
        }
        self.settle(warp as usize);
    }

    /// Lanes of the warp exchange values, which orders no memory.
    pub(super) fn exchange(&mut self, warp: u32, pc: u32) {
        self.exchanged[warp as usize % MAX_WARPS] = (self.time(warp), pc);
    }

    /// The last exchange of the warp, where it came between two instructions since the warp's last barrier.
    pub(super) fn exchange_between(&self, warp: u32, earlier: u32, later: u32) -> Option<u32> {
        let (time, pc) = self.exchanged[warp as usize % MAX_WARPS];
        let between = match earlier < later {
            true => (earlier..later).contains(&pc),
            // Around a loop.
            false => pc > earlier || pc < later,
        };
        (time == self.time(warp) && between).then_some(pc)
    }

    /// The warp's own barrier.
    pub(super) fn warp_barrier(&mut self, warp: u32) {
        self.advance(warp as usize);
        self.settle(warp as usize);
    }

    /// The settled time stays where it is while some warp has two times that are not before this one: only the first ends the gap.
    fn settle(&mut self, warp: usize) {
        let knows_all_but_last = |other: usize| self.known[warp][other] >= self.previous[other];
        if (0..self.warps).all(knows_all_but_last) {
            let first = (0..self.warps).map(|other| self.known[other][other]).min().unwrap_or(NEVER);
            self.settled[warp] = self.settled[warp].max(first.saturating_sub(1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random barriers: settled times checked against the vector clocks.
    #[test]
    fn settled_times_happen_before() {
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
                    let mut barrier = [0; MAX_WARPS];
                    let come: Vec<u32> = (0..warps).filter(|_| whole || next(2) == 0).collect();
                    for warp in &come {
                        clocks.arrive(*warp, &mut barrier);
                        times.push((clocks.time(*warp), *warp));
                    }
                    come.iter().for_each(|warp| clocks.join(*warp, &barrier));
                    let least = times.iter().map(|(time, _)| *time).max();
                    assert!(
                        !whole || come.iter().all(|warp| clocks.settled(*warp) + warps >= least.unwrap_or(0))
                    );
                }
                for warp in 0..warps {
                    for (time, of) in times.iter().filter(|(time, _)| *time <= clocks.settled(warp)) {
                        let known = clocks.known(warp, *of);
                        assert!(if *of == warp { *time < known } else { *time <= known });
                    }
                }
            }
        }
    }
}
