//! Who touched each word of a block's shared memory last, and which accesses nothing orders.
//!
//! An access is ordered after another when it happens before in the warp's clock; within a warp `bar.warp.sync` and the block's barriers
//! order, lock-step does not. A word remembers its last writer and its last reader only, so of many races in one word some are
//! seen, and none is invented.
//!
//! Lanes go one after the other, in order. Where all that is known of an access's words is long settled, as nearly always, four
//! words are noted at once.

use super::clocks::{Clocks, MAX_WARPS};
use crate::lanes::LANES;

/// Bytes of a word that accesses are remembered for.
const WORD_BYTES: u64 = 4;

/// Words that are noted at once, and their bytes: few accesses of a lane are wider.
const QUAD: usize = 4;
const QUAD_BYTES: u64 = WORD_BYTES * QUAD as u64;

/// The time of a copy that has not been waited for: later than any other.
const UNDER_WAY: u32 = u32::MAX;

/// One access to a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Touch {
    /// The warp's time; 0 for never.
    time: u32,
    pub(super) pc: u32,
    who: Who,
}

/// Which lane, with what of the word, packed: the lane from bit 0, the warp from 8, the bytes from 16, a bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Who(u32);

impl Who {
    /// Several lanes of the warp.
    const SEVERAL: u32 = 1 << 24;
    const ATOMIC: u32 = 1 << 25;
    const ALL_BYTES: u32 = 0xf << 16;

    fn new(toucher: &Toucher, lane: usize, bytes: u32) -> Self {
        Who(toucher.who | lane as u32 | bytes << 16)
    }

    fn bytes(self) -> u32 {
        self.0 >> 16 & 0xf
    }
}

impl Touch {
    pub(super) fn lane(self) -> usize {
        self.who.0 as usize % LANES
    }

    pub(super) fn warp(self) -> u32 {
        self.who.0 >> 8 & (MAX_WARPS as u32 - 1)
    }

    fn is_under_way(self) -> bool {
        self.time == UNDER_WAY
    }

    fn is_atomic(self) -> bool {
        self.who.0 & Who::ATOMIC != 0
    }

    fn is_of_several(self) -> bool {
        self.who.0 & Who::SEVERAL != 0
    }

    fn overlaps(self, bytes: u32) -> bool {
        self.time > 0 && self.who.bytes() & bytes != 0
    }
}

/// The last accesses of one kind to four words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Touches {
    time: [u32; QUAD],
    pc: [u32; QUAD],
    who: [u32; QUAD],
}

impl Touches {
    #[inline(always)]
    fn are_until(&self, time: u32) -> bool {
        let mut late = false;
        for last in self.time {
            late |= last > time;
        }
        !late
    }

    #[inline(always)]
    fn get(&self, word: usize) -> Touch {
        Touch { time: self.time[word], pc: self.pc[word], who: Who(self.who[word]) }
    }

    #[inline(always)]
    fn set(&mut self, word: usize, touch: Touch) {
        (self.time[word], self.pc[word], self.who[word]) = (touch.time, touch.pc, touch.who.0);
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(align(32))]
struct Quad {
    written: Touches,
    read: Touches,
}

/// What lanes do to their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    Read,
    Write,
    Atomic,
    /// A copy that is begun.
    CopyBegun,
    /// A copy that lands.
    CopyLanded,
}

/// Who asks: a warp's instruction, and what orders it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Toucher {
    pub(super) warp: u32,
    pc: u32,
    what: Use,
    /// What of [`Who`] all its lanes have in common.
    who: u32,
    /// The warp's time.
    time: u32,
    /// What is before everything that the warp does.
    settled: u32,
}

impl Toucher {
    #[inline(always)]
    pub(super) fn new(clocks: &Clocks, warp: u32, pc: u32, what: Use) -> Self {
        let atomic = if what == Use::Atomic { Who::ATOMIC } else { 0 };
        let (time, settled) = (clocks.time(warp), clocks.settled(warp));
        Toucher { warp, pc, what, who: warp << 8 | atomic, time, settled }
    }

    /// The same at another time of the warp.
    #[inline(always)]
    pub(super) fn at(self, time: u32) -> Self {
        Toucher { time, ..self }
    }

    /// The time to be noted.
    #[inline(always)]
    fn noted(&self) -> u32 {
        if self.what == Use::CopyBegun { UNDER_WAY } else { self.time }
    }
}

/// The earlier side of a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Race {
    pub(super) earlier: Touch,
    pub(super) earlier_writes: bool,
    pub(super) earlier_under_way: bool,
    /// The first byte that both have.
    pub(super) offset: u64,
    /// Both are stores of one instruction of one warp: none, if they store the same.
    pub(super) same_store: bool,
}

/// How the lanes of an access lie to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// All of a quad for each lane, or for as many as follow each other in it.
    Quads { lanes: u32 },
    /// Words, or parts of them.
    Words,
}

/// An access of a warp, taken apart into lanes that are noted at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts<'a> {
    offsets: &'a [u64; LANES],
    bytes: u64,
    shape: Shape,
    /// Reads of what the next lane reads.
    repeated: u32,
    left: u32,
}

impl<'a> Parts<'a> {
    /// `bytes` is a power of two, and each lane's offset a multiple of it.
    #[inline(always)]
    pub(super) fn new(offsets: &'a [u64; LANES], bytes: u64, mask: u32, what: Use) -> Self {
        let mut shape = Shape::Words;
        if bytes == QUAD_BYTES {
            shape = Shape::Quads { lanes: 1 };
        } else if mask == u32::MAX && bytes >= WORD_BYTES && offsets[0].is_multiple_of(QUAD_BYTES) {
            let mut follow = true;
            for (lane, offset) in offsets.iter().enumerate() {
                follow &= *offset == offsets[0].wrapping_add(lane as u64 * bytes);
            }
            if follow && bytes < QUAD_BYTES {
                shape = Shape::Quads { lanes: (QUAD_BYTES / bytes) as u32 };
            }
        }
        let mut repeated = 0;
        if what == Use::Read && shape != (Shape::Quads { lanes: 4 }) {
            for lane in 0..LANES - 1 {
                repeated |= u32::from(offsets[lane] == offsets[lane + 1]) << lane;
            }
        }
        Parts { offsets, bytes, shape, repeated, left: mask }
    }
}

impl Iterator for Parts<'_> {
    type Item = u32;

    /// Lanes for [`Words::note`] to note at once.
    #[inline(always)]
    fn next(&mut self) -> Option<u32> {
        if self.left == 0 {
            return None;
        }
        let lanes = match self.shape {
            Shape::Quads { lanes: 4 } => 0xf << self.left.trailing_zeros(),
            Shape::Quads { lanes: 2 } => 0x3 << self.left.trailing_zeros(),
            // The lowest, and those after it that read the same: only the last of them is remembered.
            _ => {
                let first = self.left.trailing_zeros();
                let others = (self.repeated >> first).trailing_ones();
                (u32::MAX >> (LANES as u32 - 1 - others) << first) & self.left
            }
        };
        self.left &= !lanes;
        Some(lanes)
    }
}

#[derive(Debug)]
pub(super) struct Words {
    quads: Vec<Quad>,
}

impl Words {
    /// For so many bytes, a multiple of 16.
    pub(super) fn new(bytes: usize) -> Self {
        Words { quads: vec![Quad::default(); bytes / QUAD_BYTES as usize] }
    }

    /// Nothing was touched.
    pub(super) fn reset(&mut self) {
        self.quads.fill(Quad::default());
    }

    /// Notes a part of an access if no earlier access there could race with it; false where it has to be looked at, lane by lane.
    #[inline(always)]
    pub(super) fn note(&mut self, toucher: &Toucher, parts: &Parts<'_>, lanes: u32) -> bool {
        let first = lanes.trailing_zeros();
        let last = LANES as u32 - 1 - lanes.leading_zeros();
        let offset = parts.offsets[first as usize % LANES];
        let quad = &mut self.quads[(offset / QUAD_BYTES) as usize];
        let Shape::Quads { lanes } = parts.shape else {
            return note_words(quad, toucher, offset % QUAD_BYTES, parts.bytes, last);
        };
        let fine = match toucher.what {
            Use::Read => quad.written.are_until(toucher.settled),
            Use::Write | Use::CopyBegun | Use::Atomic => {
                quad.written.are_until(toucher.settled) & quad.read.are_until(toucher.settled)
            }
            Use::CopyLanded => {
                let mut own = true;
                for (time, who) in quad.written.time.iter().zip(&quad.written.who) {
                    own &= *time == UNDER_WAY && who >> 8 & (MAX_WARPS as u32 - 1) == toucher.warp;
                }
                own & quad.read.are_until(toucher.settled)
            }
        };
        if !fine {
            return false;
        }
        let touches = if toucher.what == Use::Read { &mut quad.read } else { &mut quad.written };
        let who = toucher.who | if lanes == 1 { last } else { first } | Who::ALL_BYTES;
        touches.time = [toucher.noted(); QUAD];
        touches.pc = [toucher.pc; QUAD];
        touches.who = match lanes {
            4 => [who, who + 1, who + 2, who + 3],
            2 => [who, who, who + 1, who + 1],
            _ => [who; QUAD],
        };
        true
    }

    /// Notes an access of `bytes` at `offset` and gives the first earlier one that nothing orders before it.
    pub(super) fn touch(
        &mut self,
        clocks: &Clocks,
        toucher: &Toucher,
        lane: usize,
        offset: u64,
        bytes: u64,
    ) -> Option<Race> {
        let mut race = None;
        let (mut at, end) = (offset, offset + bytes);
        while at < end {
            let count = (WORD_BYTES - at % WORD_BYTES).min(end - at);
            let inside = bytes_of_word(at, count);
            let (quad, word) = ((at / QUAD_BYTES) as usize, (at / WORD_BYTES) as usize % QUAD);
            let found = touch_word(&mut self.quads[quad], word, inside, clocks, toucher, lane);
            race = race.or(found.map(|race| {
                let first = (inside & race.earlier.who.bytes()).trailing_zeros();
                Race { offset: at - at % WORD_BYTES + u64::from(first), ..race }
            }));
            at += count;
        }
        race
    }
}

/// The bits of `count` bytes from an offset on, in its word.
#[inline(always)]
fn bytes_of_word(offset: u64, count: u64) -> u32 {
    ((1 << count) - 1) << (offset % WORD_BYTES)
}

/// One lane's part of a quad: a word or a part of it, or two words.
#[inline(always)]
fn note_words(quad: &mut Quad, toucher: &Toucher, offset: u64, bytes: u64, lane: u32) -> bool {
    let first = (offset / WORD_BYTES) as usize % QUAD;
    let last = ((offset + bytes - 1) / WORD_BYTES) as usize % QUAD;
    let late =
        |touches: &Touches| (touches.time[first] > toucher.settled) | (touches.time[last] > toucher.settled);
    let reads = toucher.what == Use::Read;
    let rare = bytes > QUAD_BYTES || toucher.what == Use::CopyLanded;
    if rare || late(&quad.written) || (!reads && late(&quad.read)) {
        return false;
    }
    let inside = bytes_of_word(offset, bytes.min(WORD_BYTES));
    let touch =
        Touch { time: toucher.noted(), pc: toucher.pc, who: Who::new(toucher, lane as usize, inside) };
    let touches = if reads { &mut quad.read } else { &mut quad.written };
    touches.set(first, touch);
    touches.set(last, touch);
    true
}

/// Whether what was touched is before what this lane does now.
fn is_before(touch: Touch, clocks: &Clocks, toucher: &Toucher, lane: usize) -> bool {
    let known = clocks.known(toucher.warp, touch.warp());
    if touch.warp() != toucher.warp {
        return touch.time <= known;
    }
    touch.time < known || (touch.lane() == lane && !touch.is_of_several())
}

fn touch_word(
    quad: &mut Quad,
    word: usize,
    inside: u32,
    clocks: &Clocks,
    toucher: &Toucher,
    lane: usize,
) -> Option<Race> {
    let what = toucher.what;
    let (written, read) = (quad.written.get(word), quad.read.get(word));
    let own_copy =
        |touch: Touch| what == Use::CopyLanded && touch.is_under_way() && touch.warp() == toucher.warp;
    let both_atomic = |touch: Touch| touch.is_atomic() && what == Use::Atomic;
    let mut race = None;
    if written.overlaps(inside) && !both_atomic(written) && !own_copy(written) {
        let late = written.is_under_way() || !is_before(written, clocks, toucher, lane);
        let same_store = written.pc == toucher.pc && written.warp() == toucher.warp && what == Use::Write;
        if late {
            race = Some(Race {
                earlier: written,
                earlier_writes: true,
                earlier_under_way: written.is_under_way(),
                offset: 0,
                same_store,
            });
        }
    }
    let writes = what != Use::Read;
    if writes
        && race.is_none()
        && read.overlaps(inside)
        && !both_atomic(read)
        && !is_before(read, clocks, toucher, lane)
    {
        race = Some(Race {
            earlier: read,
            earlier_writes: false,
            earlier_under_way: false,
            offset: 0,
            same_store: false,
        });
    }
    let mut who = Who::new(toucher, lane, inside);
    if writes
        && written.time == toucher.time
        && written.pc == toucher.pc
        && written.is_atomic() == (what == Use::Atomic)
    {
        // Several lanes or several bytes of one warp's instruction: kept as one.
        let several = if written.lane() == lane { written.who.0 & Who::SEVERAL } else { Who::SEVERAL };
        who.0 |= several | written.who.bytes() << 16;
    }
    let touches = if writes { &mut quad.written } else { &mut quad.read };
    touches.set(word, Touch { time: toucher.noted(), pc: toucher.pc, who });
    race
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look like chance and are always the same.
    struct Chance(u64);

    impl Chance {
        fn below(&mut self, end: u64) -> u64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 33) % end
        }

        /// Offsets of lanes as instructions have them: one after the other, at one place, row by row, or anywhere.
        fn offsets(&mut self, length: u64, bytes: u64) -> [u64; LANES] {
            let first = self.below(length / bytes / 4) * bytes * [1, 4][self.below(2) as usize];
            let shape = self.below(5);
            std::array::from_fn(|lane| {
                let lane = lane as u64;
                let at = match shape {
                    0 | 1 => first + lane * bytes,
                    2 => first,
                    3 => first + lane / 4 * bytes,
                    _ => self.below(length / bytes) * bytes,
                };
                at % length
            })
        }
    }

    #[test]
    fn what_is_noted_at_once_is_what_lanes_note_one_by_one() {
        const LENGTH: u64 = 2048;
        let mut chance = Chance(1);
        let (mut races_found, mut noted, mut looked_at) = (0, 0, 0);
        for warps in [1u32, 3, 8] {
            let mut clocks = Clocks::new(warps);
            let mut at_once = Words::new(LENGTH as usize);
            let mut one_by_one = Words::new(LENGTH as usize);
            for step in 0..4000 {
                if chance.below(4) == 0 {
                    let mut known = [0; MAX_WARPS];
                    let all = chance.below(3) > 0;
                    let come: Vec<u32> = (0..warps).filter(|_| all || chance.below(2) == 0).collect();
                    come.iter().for_each(|warp| clocks.arrive(*warp, &mut known));
                    come.iter().for_each(|warp| clocks.join(*warp, &known));
                } else if chance.below(8) == 0 {
                    clocks.warp_barrier(chance.below(u64::from(warps)) as u32);
                }
                let uses = [
                    Use::Read,
                    Use::Read,
                    Use::Write,
                    Use::Write,
                    Use::Atomic,
                    Use::CopyBegun,
                    Use::CopyLanded,
                ];
                let what = uses[chance.below(7) as usize];
                let bytes = [1, 2, 4, 4, 8, 16, 16, 32][chance.below(8) as usize];
                let offsets = chance.offsets(LENGTH, bytes);
                let mask = if chance.below(2) == 0 { u32::MAX } else { chance.below(1 << 32) as u32 | 1 };
                let (warp, pc) = (chance.below(u64::from(warps)) as u32, chance.below(3) as u32);
                let toucher = Toucher::new(&clocks, warp, pc, what);
                let mut races = Vec::new();
                for lane in crate::machine::transfer::lanes_of(mask) {
                    let race = one_by_one.touch(&clocks, &toucher, lane, offsets[lane], bytes);
                    races.extend(race.map(|race| (lane, race)));
                }
                let mut races_at_once = Vec::new();
                let parts = Parts::new(&offsets, bytes, mask, what);
                let mut seen = 0;
                for lanes in parts {
                    seen |= lanes;
                    if at_once.note(&toucher, &parts, lanes) {
                        noted += 1;
                        continue;
                    }
                    looked_at += 1;
                    for lane in crate::machine::transfer::lanes_of(lanes) {
                        let race = at_once.touch(&clocks, &toucher, lane, offsets[lane], bytes);
                        races_at_once.extend(race.map(|race| (lane, race)));
                    }
                }
                assert_eq!(seen, mask);
                assert_eq!(races_at_once, races, "{warps} warps, step {step}: {what:?} of {bytes} bytes");
                assert_eq!(at_once.quads, one_by_one.quads);
                races_found += races.len();
            }
        }
        assert!(races_found > 1000 && noted > 1000 && looked_at > 1000, "{races_found} {noted} {looked_at}");
    }
}
