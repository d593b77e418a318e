//! F32, F16, BF16: no blocks, only a wider or narrower float.

use half::{f16, slice::HalfFloatSliceExt};

/// Elements converted at a time: a stack array that the conversion's vector code fills whole.
const CHUNK: usize = 64;

pub(super) fn f32(bytes: &[u8], out: &mut [f32]) {
    for (value, out) in bytes.as_chunks::<4>().0.iter().zip(out) {
        *out = f32::from_le_bytes(*value);
    }
}

pub(super) fn f16(bytes: &[u8], out: &mut [f32]) {
    let values = bytes.as_chunks::<2>().0;
    for (values, out) in values.chunks(CHUNK).zip(out.chunks_mut(CHUNK)) {
        let mut halves = [f16::ZERO; CHUNK];
        for (half, value) in halves.iter_mut().zip(values) {
            *half = f16::from_le_bytes(*value);
        }
        // A chunk of `out` is as long as its chunk of `values`, the last one too.
        if let Some(halves) = halves.get(..out.len()) {
            halves.convert_to_f32_slice(out);
        }
    }
}

pub(super) fn bf16(bytes: &[u8], out: &mut [f32]) {
    for (value, out) in bytes.as_chunks::<2>().0.iter().zip(out) {
        *out = f32::from_bits(u32::from(u16::from_le_bytes(*value)) << 16);
    }
}
