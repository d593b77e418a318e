//! Bytes that are read where they lie though somebody else may change them: a mapped file's. No reference to them is ever
//! made, so what changes is numbers, and never memory that the compiler holds for constant.

use std::{fmt, marker::PhantomData, ops::Range};

use tinyllm_mem::MappedRange;

/// Readable bytes, for as long as what they were made of is borrowed.
#[derive(Clone, Copy)]
pub(crate) struct RawBytes<'a> {
    start: *const u8,
    len: usize,
    borrowed: PhantomData<&'a ()>,
}

// SAFETY: bytes are only read through it, as through a shared slice, on any thread: those of a slice do not change, and
// those of a mapping are numbers whose changes nothing but numbers depends on.
unsafe impl Send for RawBytes<'_> {}
// SAFETY: as above.
unsafe impl Sync for RawBytes<'_> {}

impl<'a> From<&'a [u8]> for RawBytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        RawBytes { start: bytes.as_ptr(), len: bytes.len(), borrowed: PhantomData }
    }
}

impl<'a> From<&'a MappedRange> for RawBytes<'a> {
    /// Mapped for as long as the range is held.
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
    /// Some of them; panics, as a slice does, where they are not all among these.
    #[inline(always)]
    pub(crate) fn part(self, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= self.len, "bytes {range:?} of {}", self.len);
        RawBytes { start: self.start.wrapping_add(range.start), len: range.len(), ..self }
    }

    /// The first one's address: as many as these are can be read there.
    #[inline(always)]
    pub(crate) fn as_ptr(self) -> *const u8 {
        self.start
    }

    /// Bytes from `at` on, in one read; panics where they are not among these.
    #[inline(always)]
    pub(crate) fn array<const N: usize>(self, at: usize) -> [u8; N] {
        let bytes = self.part(at..at + N);
        // SAFETY: `part` has seen to it that N bytes are readable there; any alignment does for bytes.
        unsafe { bytes.start.cast::<[u8; N]>().read() }
    }

    /// `COUNT` reads of N bytes, `stride` bytes from one to the next; panics where they are not all among these.
    #[inline(always)]
    pub(crate) fn arrays<const N: usize, const COUNT: usize>(self, stride: usize) -> [[u8; N]; COUNT] {
        let bytes = self.part(
            0..(COUNT - 1).checked_mul(stride).and_then(|last| last.checked_add(N)).unwrap_or(usize::MAX),
        );
        // SAFETY: `part` has seen to it that the last of them ends where these do, or before; any alignment does for bytes.
        std::array::from_fn(|index| unsafe { bytes.start.add(index * stride).cast::<[u8; N]>().read() })
    }

    /// Copies the bytes from `at` on to all of `out`; panics where they are not among these.
    #[inline(always)]
    pub(crate) fn copy_to(self, at: usize, out: &mut [u8]) {
        let bytes = self.part(at..at + out.len());
        // SAFETY: as many bytes as `out` has are readable there. `out` is borrowed mutably, so it is none of them: a
        // slice's would be borrowed too, and no reference to a mapping's is made.
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
