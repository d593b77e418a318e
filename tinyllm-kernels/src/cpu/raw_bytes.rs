//! Bytes that are read in place although another process may change them: a mapped file's. They are read through raw
//! pointers, never through a reference, so a change gives other numbers and no undefined behaviour.

use std::{fmt, marker::PhantomData, ops::Range};

use tinyllm_mem::MappedRange;

/// Readable bytes, borrowed from a slice or a mapped range.
#[derive(Clone, Copy)]
pub(crate) struct RawBytes<'a> {
    start: *const u8,
    len: usize,
    borrowed: PhantomData<&'a ()>,
}

// SAFETY: it only reads, and what it reads stays readable while it is borrowed, from any thread: a slice's bytes do not
// change, and a mapping's may, which only changes the numbers that are read.
unsafe impl Send for RawBytes<'_> {}
// SAFETY: as above.
unsafe impl Sync for RawBytes<'_> {}

impl<'a> From<&'a [u8]> for RawBytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        RawBytes { start: bytes.as_ptr(), len: bytes.len(), borrowed: PhantomData }
    }
}

impl<'a> From<&'a MappedRange> for RawBytes<'a> {
    /// The range keeps its pages mapped.
    fn from(bytes: &'a MappedRange) -> Self {
        RawBytes { start: bytes.as_ptr(), len: bytes.len(), borrowed: PhantomData }
    }
}

impl fmt::Debug for RawBytes<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("RawBytes").field("len", &self.len).finish_non_exhaustive()
    }
}

impl RawBytes<'_> {
    /// A part of the bytes; panics, as a slice does, if the range is out of bounds.
    #[inline(always)]
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len, "bytes {range:?} of {}", self.len);
        RawBytes { start: self.start.wrapping_add(range.start), len: range.len(), ..self }
    }

    /// The address of the first byte; all of the bytes can be read there.
    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *const u8 {
        self.start
    }

    /// N bytes from `at` on, in one read; panics if they are out of bounds.
    #[inline(always)]
    pub(crate) fn array<const N: usize>(self, at: usize) -> [u8; N] {
        let bytes = self.part(at..at + N);
        // SAFETY: `part` checked that N bytes are readable there; bytes need no alignment.
        unsafe { bytes.start.cast::<[u8; N]>().read() }
    }

    /// `COUNT` reads of N bytes, `stride` bytes apart; panics if one is out of bounds.
    #[inline(always)]
    pub(crate) fn arrays<const N: usize, const COUNT: usize>(self, stride: usize) -> [[u8; N]; COUNT] {
        let bytes = self.part(
            0..(COUNT - 1).checked_mul(stride).and_then(|last| last.checked_add(N)).unwrap_or(usize::MAX),
        );
        // SAFETY: `part` checked that the last read ends within the bytes; bytes need no alignment.
        std::array::from_fn(|index| unsafe { bytes.start.add(index * stride).cast::<[u8; N]>().read() })
    }

    /// Fills `out` with the bytes from `at` on; panics if they are out of bounds.
    #[inline(always)]
    pub(crate) fn copy_to(self, at: usize, out: &mut [u8]) {
        let bytes = self.part(at..at + out.len());
        // SAFETY: `part` checked that as many bytes as `out` has are readable there. They do not overlap `out`, which
        // is borrowed mutably: a slice's bytes are borrowed too, and no reference to a mapping's is ever made.
        unsafe { bytes.start.copy_to_nonoverlapping(out.as_mut_ptr(), out.len()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_and_a_slice_read_the_same() {
        let file = tinyllm_mem::MappedFile::from_static(b"0123456789", "embedded").range(1..9).unwrap();
        for bytes in [RawBytes::from(&b"12345678"[..]), RawBytes::from(&file)] {
            assert_eq!(&bytes.array::<3>(5), b"678");
            assert_eq!(&bytes.arrays::<2, 3>(3), &[*b"12", *b"45", *b"78"]);
            let mut out = [0; 4];
            bytes.part(2..7).copy_to(1, &mut out);
            assert_eq!(&out, b"4567");
            for (from, to) in [(7, 9), (8, 7), (9, 9)] {
                assert!(std::panic::catch_unwind(|| bytes.part(from..to)).is_err(), "{from}..{to}");
            }
            assert!(std::panic::catch_unwind(|| bytes.array::<2>(7)).is_err());
            for stride in [4, usize::MAX] {
                assert!(std::panic::catch_unwind(|| bytes.arrays::<2, 3>(stride)).is_err());
            }
        }
    }
}
