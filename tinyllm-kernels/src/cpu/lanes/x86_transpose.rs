//! Transposes pairs of sixteen rows: three rounds of unpack instructions within the 128-bit halves of AVX2 registers,
//! of which each half holds eight rows' data. On recent processors twice as many of these execute per cycle as of
//! AVX-512's.

use std::arch::x86_64::*;

use super::{LANES, TRANSPOSED_PAIRS};

/// [`super::Lanes::transpose_pairs`].
///
/// # Safety
/// The processor has AVX2; sixteen bytes are readable at each of the sixteen rows, at any alignment.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) unsafe fn pairs(
    rows: *const u8,
    row_bytes: usize,
    flipped: u8,
    out: &mut [[[u8; 2]; LANES]; TRANSPOSED_PAIRS],
) {
    let flipped = _mm256_set1_epi8(flipped.cast_signed());
    let row = |index: usize| {
        let (low, high) = (rows.wrapping_add(index * row_bytes), rows.wrapping_add((index + 8) * row_bytes));
        // SAFETY: this function's contract.
        let (low, high) = unsafe { (_mm_loadu_si128(low.cast()), _mm_loadu_si128(high.cast())) };
        _mm256_xor_si256(_mm256_set_m128i(high, low), flipped)
    };
    // Names: which pairs, of which rows (the other half holds the rows eight further on).
    let (low01, high01) = unpack16(row(0), row(1));
    let (low23, high23) = unpack16(row(2), row(3));
    let (low45, high45) = unpack16(row(4), row(5));
    let (low67, high67) = unpack16(row(6), row(7));
    let ((p01_0123, p23_0123), (p45_0123, p67_0123)) = (unpack32(low01, low23), unpack32(high01, high23));
    let ((p01_4567, p23_4567), (p45_4567, p67_4567)) = (unpack32(low45, low67), unpack32(high45, high67));
    let pairs = [
        unpack64(p01_0123, p01_4567),
        unpack64(p23_0123, p23_4567),
        unpack64(p45_0123, p45_4567),
        unpack64(p67_0123, p67_4567),
    ];
    for (out, (first, second)) in out.as_chunks_mut::<2>().0.iter_mut().zip(pairs) {
        // SAFETY: 32 writable bytes each.
        unsafe {
            _mm256_storeu_si256(out[0].as_mut_ptr().cast(), first);
            _mm256_storeu_si256(out[1].as_mut_ptr().cast(), second);
        }
    }
}

macro_rules! unpack {
    ($name:ident, $low:ident, $high:ident) => {
        #[inline]
        #[target_feature(enable = "avx2")]
        fn $name(a: __m256i, b: __m256i) -> (__m256i, __m256i) {
            ($low(a, b), $high(a, b))
        }
    };
}

unpack!(unpack16, _mm256_unpacklo_epi16, _mm256_unpackhi_epi16);
unpack!(unpack32, _mm256_unpacklo_epi32, _mm256_unpackhi_epi32);
unpack!(unpack64, _mm256_unpacklo_epi64, _mm256_unpackhi_epi64);
