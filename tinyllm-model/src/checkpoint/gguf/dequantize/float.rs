//! F32, F16, BF16: no blocks, only conversions.

pub(super) use crate::checkpoint::rows::halves as f16;

pub(super) fn f32(bytes: &[u8], out: &mut [f32]) {
    for (value, out) in bytes.as_chunks::<4>().0.iter().zip(out) {
        *out = f32::from_le_bytes(*value);
    }
}

pub(super) fn bf16(bytes: &[u8], out: &mut [f32]) {
    for (value, out) in bytes.as_chunks::<2>().0.iter().zip(out) {
        *out = f32::from_bits(u32::from(u16::from_le_bytes(*value)) << 16);
    }
}
