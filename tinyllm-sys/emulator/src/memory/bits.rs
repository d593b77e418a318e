//! One bit a byte of memory, set from many threads at once.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use memmap2::MmapMut;

/// Bits of a word.
const WORD: u64 = 64;

/// A set of byte offsets. Costs nothing until it is touched.
#[derive(Debug)]
pub(crate) struct Bits {
    words: MmapMut,
    bytes: u64,
    all: AtomicBool,
}

impl Bits {
    /// None of `bytes`.
    pub(crate) fn none(bytes: u64) -> std::io::Result<Self> {
        let words = bytes.div_ceil(WORD).max(1) * (WORD / 8);
        Ok(Bits { words: MmapMut::map_anon(words as usize)?, bytes, all: AtomicBool::new(false) })
    }

    /// Whether every byte is in the set; false may be out of date.
    #[inline(always)]
    pub(crate) fn is_all(&self) -> bool {
        self.all.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn word(&self, index: u64) -> &AtomicU64 {
        debug_assert!(index <= self.bytes / WORD);
        // SAFETY: the mapping is aligned to pages, has a word for every 64 bytes of memory, and is only ever read and written
        // through such atomics; callers stay within `bytes`.
        unsafe { AtomicU64::from_ptr(self.words.as_ptr().cast_mut().cast::<u64>().add(index as usize)) }
    }

    /// Calls `each` with every word of `start .. start + length` and the bits of it that are inside.
    #[inline(always)]
    fn words(&self, start: u64, length: u64, mut each: impl FnMut(&AtomicU64, u64) -> bool) -> bool {
        debug_assert!(start + length <= self.bytes);
        let mut at = start;
        let end = start + length;
        while at < end {
            let (first, count) = (at % WORD, (WORD - at % WORD).min(end - at));
            let inside = (u64::MAX >> (WORD - count)) << first;
            if !each(self.word(at / WORD), inside) {
                return false;
            }
            at += count;
        }
        true
    }

    /// Whether all of a range is in the set.
    #[inline(always)]
    pub(crate) fn contains(&self, start: u64, length: u64) -> bool {
        self.is_all()
            || self.words(start, length, |word, inside| word.load(Ordering::Relaxed) & inside == inside)
    }

    /// The first byte of a range that is not in the set.
    pub(crate) fn first_missing(&self, start: u64, length: u64) -> Option<u64> {
        if self.is_all() {
            return None;
        }
        (start..start + length)
            .find(|byte| self.word(byte / WORD).load(Ordering::Relaxed) >> (byte % WORD) & 1 == 0)
    }

    /// Adds a range.
    #[inline(always)]
    pub(crate) fn insert(&self, start: u64, length: u64) {
        if self.is_all() {
            return;
        }
        if start == 0 && length == self.bytes {
            self.all.store(true, Ordering::Relaxed);
            return;
        }
        self.words(start, length, |word, inside| {
            // Most writes repeat: a plain read is cheaper than a locked one.
            if word.load(Ordering::Relaxed) & inside != inside {
                word.fetch_or(inside, Ordering::Relaxed);
            }
            true
        });
    }

    /// Takes a range out, as when memory is allocated again.
    pub(crate) fn remove(&self, start: u64, length: u64) {
        if self.is_all() {
            self.words(0, self.bytes, |word, inside| {
                word.fetch_or(inside, Ordering::Relaxed);
                true
            });
            self.all.store(false, Ordering::Relaxed);
        }
        self.words(start, length, |word, inside| {
            word.fetch_and(!inside, Ordering::Relaxed);
            true
        });
    }

    /// Makes `start .. start + length` here what `from .. from + length` is in `other`, as a copy of the bytes does.
    pub(crate) fn copy(&self, start: u64, other: &Bits, from: u64, length: u64) {
        if other.contains(from, length) {
            return self.insert(start, length);
        }
        for byte in 0..length {
            match other.contains(from + byte, 1) {
                true => self.insert(start + byte, 1),
                false => self.remove(start + byte, 1),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ranges_go_in_and_out() {
        let bits = Bits::none(1000).unwrap();
        bits.insert(3, 200);
        assert!(bits.contains(3, 200) && !bits.contains(2, 2) && !bits.contains(202, 2));
        assert_eq!(bits.first_missing(0, 4), Some(0));
        assert_eq!(bits.first_missing(150, 100), Some(203));
        bits.insert(0, 1000);
        assert!(bits.is_all());
        bits.remove(64, 1);
        assert!(bits.contains(0, 64) && bits.contains(65, 935) && !bits.contains(64, 1));
    }
}
