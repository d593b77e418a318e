//! A block's shared memory: bytes, which of them were written, and who touched each word last.
//!
//! Order is kept by a clock a warp: a barrier joins the clocks of the warps that take part. An access is ordered after another
//! when its warp has heard of it; within a warp `bar.warp.sync` and the block's barriers order, lock-step does not. A word
//! remembers its last writer and its last reader only, so of many races in one word some are seen, and none is invented.

use super::aligned::Aligned;

/// Most warps of a block.
pub(super) const MAX_WARPS: usize = 32;

/// Bytes of a word that accesses are remembered for.
const WORD_BYTES: u32 = 4;

/// One access to a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Touch {
    /// The warp's time; 0 for never.
    time: u32,
    pub(super) pc: u32,
    pub(super) warp: u8,
    pub(super) lane: u8,
    /// Bytes of the word, a bit each.
    bytes: u8,
    /// Several lanes of the warp.
    several: bool,
    atomic: bool,
    /// A copy that has not been waited for.
    under_way: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Word {
    written: Touch,
    read: Touch,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Toucher {
    pub(super) warp: u32,
    pub(super) lane: usize,
    pub(super) pc: u32,
}

/// What one lane does to its bytes.
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

/// The earlier side of a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Race {
    pub(super) earlier: Touch,
    pub(super) earlier_writes: bool,
    pub(super) earlier_under_way: bool,
    /// Both are stores of one instruction of one warp: none, if they store the same.
    pub(super) same_store: bool,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) bytes: Aligned,
    written: Vec<bool>,
    words: Vec<Word>,
    /// What each warp has heard of each other's time.
    clocks: Box<[[u32; MAX_WARPS]; MAX_WARPS]>,
    races: bool,
}

impl Shared {
    pub(super) fn new(bytes: u32, races: bool) -> Self {
        let length = bytes.next_multiple_of(16) as usize;
        let words = if races { length / WORD_BYTES as usize } else { 0 };
        let mut shared = Shared {
            bytes: Aligned::new(length),
            written: vec![false; length],
            words: vec![Word::default(); words],
            clocks: Box::new([[0; MAX_WARPS]; MAX_WARPS]),
            races,
        };
        shared.reset();
        shared
    }

    /// Makes it a new block's.
    pub(super) fn reset(&mut self) {
        self.written.fill(false);
        self.words.fill(Word::default());
        for (warp, clock) in self.clocks.iter_mut().enumerate() {
            *clock = [0; MAX_WARPS];
            clock[warp] = 1;
        }
    }

    #[inline(always)]
    pub(super) fn is_written(&self, offset: u64, bytes: u64) -> bool {
        self.written[offset as usize..(offset + bytes) as usize].iter().all(|written| *written)
    }

    #[inline(always)]
    pub(super) fn mark_written(&mut self, offset: u64, bytes: u64) {
        self.written[offset as usize..(offset + bytes) as usize].fill(true);
    }

    /// A warp comes to a barrier: what it has done, and heard of, is added to what the barrier knows.
    pub(super) fn arrive(&mut self, warp: u32, heard: &mut [u32; MAX_WARPS]) {
        let clock = &mut self.clocks[warp as usize];
        for (heard, time) in heard.iter_mut().zip(clock.iter()) {
            *heard = (*heard).max(*time);
        }
        clock[warp as usize] += 1;
    }

    /// A warp leaves a barrier, knowing what all who came to it have done.
    pub(super) fn hear(&mut self, warp: u32, heard: &[u32; MAX_WARPS]) {
        for (time, heard) in self.clocks[warp as usize].iter_mut().zip(heard) {
            *time = (*time).max(*heard);
        }
    }

    /// `bar.warp.sync`.
    pub(super) fn warp_barrier(&mut self, warp: u32) {
        self.clocks[warp as usize][warp as usize] += 1;
    }

    /// Whether what was touched is before what this lane does now.
    #[inline(always)]
    fn is_before(&self, touch: &Touch, who: Toucher) -> bool {
        let time = self.clocks[who.warp as usize][touch.warp as usize % MAX_WARPS];
        if u32::from(touch.warp) != who.warp {
            return touch.time <= time;
        }
        touch.time < time || (usize::from(touch.lane) == who.lane && !touch.several)
    }

    /// Notes an access of `bytes` at `offset` and gives the first earlier one that nothing orders before it.
    #[inline(always)]
    pub(super) fn touch(&mut self, offset: u64, bytes: u64, who: Toucher, what: Use) -> Option<Race> {
        if !self.races {
            return None;
        }
        let mut race = None;
        let (mut at, end) = (offset as u32, (offset + bytes) as u32);
        while at < end {
            let index = (at / WORD_BYTES) as usize;
            let count = (WORD_BYTES - at % WORD_BYTES).min(end - at);
            let inside = ((1u8 << count) - 1) << (at % WORD_BYTES);
            race = race.or(self.touch_word(index, inside, who, what));
            at += count;
        }
        race
    }

    #[inline(always)]
    fn touch_word(&mut self, index: usize, inside: u8, who: Toucher, what: Use) -> Option<Race> {
        let time = self.clocks[who.warp as usize][who.warp as usize];
        let Word { written, read } = self.words[index];
        let meets = |touch: &Touch| touch.time > 0 && touch.bytes & inside != 0;
        let own_copy =
            |touch: &Touch| what == Use::CopyLanded && touch.under_way && u32::from(touch.warp) == who.warp;
        let both_atomic = |touch: &Touch| touch.atomic && what == Use::Atomic;
        let mut race = None;
        if meets(&written) && !both_atomic(&written) && !own_copy(&written) {
            let late = written.under_way || !self.is_before(&written, who);
            let same_store =
                written.pc == who.pc && u32::from(written.warp) == who.warp && what == Use::Write;
            if late {
                race = Some(Race {
                    earlier: written,
                    earlier_writes: true,
                    earlier_under_way: written.under_way,
                    same_store,
                });
            }
        }
        let writes = what != Use::Read;
        if writes && race.is_none() && meets(&read) && !both_atomic(&read) && !self.is_before(&read, who) {
            race = Some(Race {
                earlier: read,
                earlier_writes: false,
                earlier_under_way: false,
                same_store: false,
            });
        }
        let touch = Touch {
            time,
            pc: who.pc,
            warp: who.warp as u8,
            lane: who.lane as u8,
            bytes: inside,
            several: false,
            atomic: what == Use::Atomic,
            under_way: what == Use::CopyBegun,
        };
        let word = &mut self.words[index];
        let last = if writes { &mut word.written } else { &mut word.read };
        let again =
            last.time == time && last.warp == touch.warp && last.atomic == touch.atomic && !last.under_way;
        if again && writes == (last.pc == touch.pc || !writes) {
            // Several lanes or several bytes of one warp at one time: kept as one.
            last.several |= last.lane != touch.lane;
            last.bytes |= inside;
            last.lane = touch.lane;
            last.pc = touch.pc;
        } else {
            *last = touch;
        }
        race
    }
}
