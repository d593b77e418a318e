//! Who does which part of an operation. Each member begins with a range of its own, so that it reads weights in one
//! stretch, and takes nearly all that is left of it at a time; when nothing is left it takes from the ends of the others', half
//! at a time, so that a thread that comes late delays nobody, and one held up later no longer than by its part. Who computes
//! an element never changes its bits: one thread computes all of it.

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
};

/// Turns whose ranges are kept: the one that members are at, the one before, which nobody claims from any more, and the
/// next.
const TURNS: usize = 3;

/// What has been taken of the ranges of a turn: an operation, or a part of one, that all members execute before they meet.
#[derive(Debug)]
pub(crate) struct Shares {
    members: usize,
    /// `[TURNS][members]`.
    taken: Vec<Taken>,
}

/// Taken from the front (low half) and from the back (high half) of a member's range. On lines of its own, which stay with
/// the core that claims from them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Taken(AtomicU64);

/// The range of `0..count` that one of `members` begins with.
pub(in crate::cpu) fn share(members: usize, member: usize, count: usize) -> Range<usize> {
    count * member / members..count * (member + 1) / members
}

impl Shares {
    pub(crate) fn new(members: usize) -> Self {
        Shares { members, taken: (0..TURNS * members).map(|_| Taken::default()).collect() }
    }

    /// Everything is to be taken again. Turns begin at 0.
    pub(super) fn reset(&mut self) {
        self.taken.iter_mut().for_each(|taken| *taken.0.get_mut() = 0);
    }

    /// A member comes to a turn, and makes ready its range of the next. Of that nobody claims before all have met, and
    /// nobody any longer claims from the one that it was two turns ago.
    pub(super) fn begin(&self, turn: usize, member: usize) {
        self.word(turn + 1, member).store(0, Ordering::Relaxed);
    }

    fn word(&self, turn: usize, member: usize) -> &AtomicU64 {
        &self.taken[turn % TURNS * self.members + member].0
    }

    /// The range of `0..count` that a member begins with.
    pub(super) fn range(&self, member: usize, count: usize) -> Range<usize> {
        share(self.members, member, count)
    }

    /// The next part for `member` of what is cut into a range of `len(owner)` for each member: the owner, and a part of
    /// its range, a multiple of `grain` unless less is left. `None` when all is taken.
    pub(super) fn claim(
        &self,
        turn: usize,
        member: usize,
        len: impl Fn(usize) -> usize,
        grain: usize,
    ) -> Option<(usize, Range<usize>)> {
        (0..self.members)
            .map(|step| (member + step) % self.members)
            .find_map(|owner| Some((owner, self.take(turn, owner, len(owner), grain, owner == member)?)))
    }

    fn take(
        &self,
        turn: usize,
        owner: usize,
        len: usize,
        grain: usize,
        from_front: bool,
    ) -> Option<Range<usize>> {
        let word = self.word(turn, owner);
        let mut taken = word.load(Ordering::Relaxed);
        loop {
            let (front, back) = ((taken & 0xffff_ffff) as usize, (taken >> 32) as usize);
            let left = len.checked_sub(front + back).filter(|left| *left > 0)?;
            // Reading has to begin anew with each part, which costs some tenths of a microsecond.
            let share = if from_front { left - left / 16 } else { left / 2 };
            let part = if self.members == 1 { left } else { share / grain * grain };
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_taken_once_whoever_is_slow() {
        for (members, count, grain) in [(1, 10, 4), (2, 36, 4), (3, 100, 1), (4, 3, 4), (2, 0, 1), (5, 57, 8)]
        {
            let shares = Shares::new(members);
            let mut hits = vec![0; count];
            let mut own = vec![Vec::new(); members];
            // The words were used three turns ago.
            for (turn, member) in (0..4).flat_map(|turn| (0..members).map(move |member| (turn, member))) {
                shares.begin(turn, member);
                if turn < 3 {
                    while shares.claim(turn, member, |_| 5, 1).is_some() {}
                }
            }
            // Member 0 takes a part for every three of the others.
            for member in (0..members).chain((0..members).cycle().skip(1).take(100 * members)) {
                let len = |member| shares.range(member, count).len();
                if let Some((owner, part)) = shares.claim(4, member, len, grain) {
                    let start = shares.range(owner, count).start;
                    let part = start + part.start..start + part.end;
                    part.clone().for_each(|index| hits[index] += 1);
                    own[member].push(part);
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
