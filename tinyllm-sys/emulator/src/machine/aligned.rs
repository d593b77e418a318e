//! Bytes of a block's or a thread's own memory, aligned for every access.

/// Bytes that begin at a multiple of 16.
#[derive(Clone, Debug, Hash)]
pub(super) struct Aligned {
    words: Box<[u128]>,
    bytes: usize,
}

impl Aligned {
    /// So many bytes of 0.
    pub(super) fn new(bytes: usize) -> Self {
        Aligned { words: vec![0; bytes.div_ceil(16)].into_boxed_slice(), bytes }
    }

    #[inline(always)]
    pub(super) fn as_slice(&self) -> &[u8] {
        // SAFETY: the words are at least as many bytes, all of them initialised.
        unsafe { std::slice::from_raw_parts(self.words.as_ptr().cast(), self.bytes) }
    }

    #[inline(always)]
    pub(super) fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and borrowed alone; any bytes are a number.
        unsafe { std::slice::from_raw_parts_mut(self.words.as_mut_ptr().cast(), self.bytes) }
    }

    #[inline(always)]
    pub(super) fn as_mut_ptr(&mut self) -> *mut u8 {
        self.words.as_mut_ptr().cast()
    }
}
