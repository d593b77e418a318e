//! The scales and minima that Q4_K and Q5_K share: 6 bits each to 32 weights, eight pairs in 12 bytes.

/// `(scale, minimum)` of each 32 weights.
///
/// The first four pairs are the low 6 bits of bytes 0..4 and 4..8; the last four have their low bits in the nibbles of
/// bytes 8..12 and their high bits in the 2 bits that the first four leave.
#[inline(always)]
pub(super) fn unpack(packed: &[u8; 12]) -> [(f32, f32); 8] {
    std::array::from_fn(|i| {
        let (scale, min) = if i < 4 {
            (packed[i] & 63, packed[i + 4] & 63)
        } else {
            let low = packed[i + 4];
            (low & 15 | packed[i - 4] >> 6 << 4, low >> 4 | packed[i] >> 6 << 4)
        };
        (f32::from(scale), f32::from(min))
    })
}
