//! Who does which part of an operation. Each member begins with a range of its own, so that it reads weights in one
//! stretch, and takes half of what is left of it at a time; when nothing is left it takes from the ends of the others',
//! so a thread that the system holds up delays nobody. Who computes an element never changes its bits: one thread
//! computes all of it.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// What has been taken of every operation's ranges.
#[derive(Debug)]
pub(crate) struct Shares {
    members: usize,
    /// `[operations][members]`: taken from the front (low half) and from the back (high half) of a member's range.
    taken: Vec<AtomicU64>,
}

impl Shares {
    pub(crate) fn new(operations: usize, members: usize) -> Self {
        Shares { members, taken: (0..operations * members).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Everything is to be taken again.
    pub(super) fn reset(&mut self) {
        self.taken.iter_mut().for_each(|taken| *taken.get_mut() = 0);
    }

    /// The range of `0..count` that a member begins with.
    pub(super) fn range(&self, member: usize, count: usize) -> Range<usize> {
        count * member / self.members..count * (member + 1) / self.members
    }

    /// The next part for `member` of what is cut into a range of `len(owner)` for each member: the owner, and a part of
    /// its range, a multiple of `grain` unless less is left. `None` when all is taken.
    pub(super) fn claim(
        &self,
        operation: usize,
        member: usize,
        len: impl Fn(usize) -> usize,
        grain: usize,
    ) -> Option<(usize, Range<usize>)> {
        (0..self.members)
            .map(|step| (member + step) % self.members)
            .find_map(|owner| Some((owner, self.take(operation, owner, len(owner), grain, owner == member)?)))
    }

    fn take(
        &self,
        operation: usize,
        owner: usize,
        len: usize,
        grain: usize,
        from_front: bool,
    ) -> Option<Range<usize>> {
        let word = &self.taken[operation * self.members + owner];
        let mut taken = word.load(Ordering::Relaxed);
        loop {
            let (front, back) = ((taken & 0xffff_ffff) as usize, (taken >> 32) as usize);
            let left = len.checked_sub(front + back).filter(|left| *left > 0)?;
            let part = if self.members == 1 { left } else { left / 2 / grain * grain };
            let size = part.max(grain).min(left);
            let (new, part) = if from_front {
                (taken + size as u64, front..front + size)
            } else {
                (taken + ((size as u64) << 32), len - back - size..len - back)
            };
            match word.compare_exchange_weak(taken, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(part),
                Err(now) => taken = now,
            }
        }
    }

    /// Everything of an operation is to be taken again. Nobody claims meanwhile.
    pub(super) fn restart(&self, operation: usize) {
        let words = &self.taken[operation * self.members..][..self.members];
        words.iter().for_each(|taken| taken.store(0, Ordering::Relaxed));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_taken_once_whoever_is_slow() {
        for (members, count, grain) in [(1, 10, 4), (2, 36, 4), (3, 100, 1), (4, 3, 4), (2, 0, 1), (5, 57, 8)]
        {
            let shares = Shares::new(2, members);
            let mut hits = vec![0; count];
            let mut own = vec![Vec::new(); members];
            // Member 0 takes a part for every three of the others.
            for turn in (0..members).chain((0..members).cycle().skip(1).take(100 * members)) {
                let len = |member| shares.range(member, count).len();
                if let Some((owner, part)) = shares.claim(1, turn, len, grain) {
                    let start = shares.range(owner, count).start;
                    let part = start + part.start..start + part.end;
                    part.clone().for_each(|index| hits[index] += 1);
                    own[turn].push(part);
                }
            }
            assert!(hits.iter().all(|hits| *hits == 1), "{members} {count} {grain}: {hits:?}");
            for (member, parts) in own.iter().enumerate() {
                let first = parts.first().map(|part| part.start);
                // Where there is enough for all, each begins with its own.
                let expected = shares.range(member, count).start;
                assert!(count < members * grain || first == Some(expected), "{member}: {parts:?}");
            }
        }
    }
}
