//! Memory of a device or page-locked memory of the host: bytes, and which of them have been written.
//!
//! Blocks of a kernel run on several threads and may race, so they use atomic words alone (see
//! `words`). What the driver copies it copies while no kernel runs, in larger ones; the host may be using page-locked memory
//! meanwhile, so these are atomic too. On the processors at hand a relaxed atomic is a plain move.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};

use memmap2::MmapMut;

use super::{
    Bits,
    words::{WORD_BYTES, load},
};

/// Memory goes back to the system in multiples of this: whole pages, whatever their size.
const GIVEN_BACK: u64 = 64 << 10;

/// The bytes behind one or more [`super::Region`]s. Costs nothing until it is touched.
#[derive(Debug)]
pub(crate) struct Bytes {
    map: MmapMut,
    bytes: u64,
    written: Bits,
}

impl Bytes {
    /// So many bytes, none of them written; at least 1.
    pub(crate) fn new(bytes: u64) -> std::io::Result<Self> {
        let length = usize::try_from(bytes.max(1)).map_err(std::io::Error::other)?;
        let length = length.checked_next_multiple_of(WORD_BYTES).ok_or(std::io::ErrorKind::OutOfMemory)?;
        Ok(Bytes { map: MmapMut::map_anon(length)?, bytes, written: Bits::none(bytes)? })
    }

    /// How many.
    pub(crate) fn len(&self) -> u64 {
        self.bytes
    }

    /// Which have been written.
    #[inline(always)]
    pub(crate) fn written(&self) -> &Bits {
        &self.written
    }

    /// The first byte, aligned to a page; the last word is whole. Blocks use it from several threads: through words alone.
    #[inline(always)]
    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.map.as_ptr().cast_mut()
    }

    /// Copies out while blocks run.
    pub(crate) fn read_beside(&self, offset: u64, out: &mut [u8]) {
        assert!(offset + out.len() as u64 <= self.bytes, "a copy stays inside of its memory");
        for (at, byte) in out.iter_mut().enumerate() {
            // SAFETY: inside of the mapping (above), which begins at a page, is whole words long and lives as long as `self`;
            // blocks use it through words.
            *byte = unsafe { load::<1>(self.as_ptr().wrapping_add(offset as usize + at)) } as u8;
        }
    }

    /// Copies out while no kernel runs, one byte or eight at a time.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) {
        assert!(offset + out.len() as u64 <= self.bytes, "a copy stays inside of its memory");
        let mut at = offset;
        let (head, words, tail) = parts(out, offset);
        for byte in head {
            *byte = self.u8(at).load(Relaxed);
            at += 1;
        }
        for word in words.chunks_exact_mut(8) {
            word.copy_from_slice(&self.u64(at).load(Relaxed).to_ne_bytes());
            at += 8;
        }
        for byte in tail {
            *byte = self.u8(at).load(Relaxed);
            at += 1;
        }
    }

    /// Copies in while no kernel runs, and marks what was written.
    pub(crate) fn write(&self, offset: u64, from: &[u8]) {
        assert!(offset + from.len() as u64 <= self.bytes, "a copy stays inside of its memory");
        let head = ((8 - offset % 8) % 8).min(from.len() as u64) as usize;
        let mut at = offset;
        for byte in &from[..head] {
            self.u8(at).store(*byte, Relaxed);
            at += 1;
        }
        let words = from[head..].chunks_exact(8);
        let tail = words.remainder();
        for word in words {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(word);
            self.u64(at).store(u64::from_ne_bytes(bytes), Relaxed);
            at += 8;
        }
        for byte in tail {
            self.u8(at).store(*byte, Relaxed);
            at += 1;
        }
        self.written.insert(offset, from.len() as u64);
    }

    /// Fills with one byte while no kernel runs, and marks what was written. Zeros take no memory where the system can give
    /// it back: a device's memory may be larger than the host's.
    pub(crate) fn fill(&self, offset: u64, length: u64, byte: u8) {
        assert!(offset + length <= self.bytes, "a fill stays inside of its memory");
        let end = offset + length;
        let start_of_units = offset.next_multiple_of(GIVEN_BACK).min(end);
        let end_of_units = (end / GIVEN_BACK * GIVEN_BACK).max(start_of_units);
        let is_given_back = byte == 0 && self.give_back(start_of_units, end_of_units - start_of_units);
        let by_hand = match is_given_back {
            true => [offset..start_of_units, end_of_units..end],
            false => [offset..end, end..end],
        };
        let chunk = [byte; 4096];
        for range in by_hand {
            for at in range.clone().step_by(chunk.len()) {
                self.write(at, &chunk[..(range.end - at).min(chunk.len() as u64) as usize]);
            }
        }
        self.written.insert(offset, length);
    }

    /// Gives whole pages back to the system, so that they are zeros; whether it did.
    #[cfg(target_os = "linux")]
    fn give_back(&self, offset: u64, length: u64) -> bool {
        let dont_need = memmap2::UncheckedAdvice::DontNeed;
        // SAFETY: a range of the mapping, which is anonymous and private: its pages are zeros from then on, as a fill would leave
        // them, and nothing else uses it meanwhile but through atomics.
        length > 0
            && unsafe { self.map.unchecked_advise_range(dont_need, offset as usize, length as usize) }.is_ok()
    }

    #[cfg(not(target_os = "linux"))]
    fn give_back(&self, _offset: u64, _length: u64) -> bool {
        false
    }

    /// A byte.
    #[inline(always)]
    fn u8(&self, offset: u64) -> &AtomicU8 {
        debug_assert!(offset < self.bytes);
        // SAFETY: inside of the mapping, which lives as long as the reference. Only atomics touch it, and those of another size
        // not at the same time: no kernel runs.
        unsafe { AtomicU8::from_ptr(self.as_ptr().add(offset as usize)) }
    }

    /// Eight bytes at a multiple of 8.
    #[inline(always)]
    fn u64(&self, offset: u64) -> &AtomicU64 {
        debug_assert!(offset + 8 <= self.bytes && offset.is_multiple_of(8));
        // SAFETY: as for a byte; the mapping is aligned to pages and the offset to 8.
        unsafe { AtomicU64::from_ptr(self.as_ptr().add(offset as usize).cast()) }
    }
}

/// Bytes before the first whole word of memory at `offset`, the words, and the rest.
fn parts(bytes: &mut [u8], offset: u64) -> (&mut [u8], &mut [u8], &mut [u8]) {
    let head = ((8 - offset % 8) % 8).min(bytes.len() as u64) as usize;
    let (head, rest) = bytes.split_at_mut(head);
    let words = rest.len() / 8 * 8;
    let (words, tail) = rest.split_at_mut(words);
    (head, words, tail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn copies_keep_every_byte_at_every_offset() {
        let memory = Bytes::new(64).unwrap();
        for offset in 0..16 {
            for length in 0..32usize {
                let data: Vec<u8> = (0..length).map(|byte| (byte * 7 + length) as u8).collect();
                memory.write(offset, &data);
                let mut back = vec![0; length];
                memory.read(offset, &mut back);
                assert_eq!(back, data);
            }
        }
        assert!(memory.written().contains(0, 46) && !memory.written().contains(46, 1));
    }

    #[test]
    fn fills_keep_what_is_beside_them() {
        let bytes = 5 * GIVEN_BACK + 100;
        for (offset, length, byte) in [
            (0, bytes, 0),
            (3, 4 * GIVEN_BACK, 0),
            (GIVEN_BACK, 2 * GIVEN_BACK, 0),
            (7, 5000, 9),
            (100, 10, 0),
        ] {
            let memory = Bytes::new(bytes).unwrap();
            memory.write(0, &vec![0xaa; bytes as usize]);
            memory.fill(offset, length, byte);
            let mut back = vec![1; bytes as usize];
            memory.read(0, &mut back);
            let expected = |at: u64| if (offset..offset + length).contains(&at) { byte } else { 0xaa };
            assert!(back.iter().zip(0..).all(|(byte, at)| *byte == expected(at)), "{offset} {length} {byte}");
        }
        let memory = Bytes::new(bytes).unwrap();
        memory.fill(5, 3 * GIVEN_BACK, 0);
        assert!(memory.written().contains(5, 3 * GIVEN_BACK) && !memory.written().contains(4, 1));
    }
}
