//! The KV cache: its memory layout (`layout`), and writing keys and values to it.

mod layout;

use half::{f16, slice::HalfFloatSliceExt};

pub(crate) use self::layout::{KvLayout, TILE_TOKENS, TilePlace};
use crate::KvFormat;

/// Stores one token's key and value of one head, `[head_dim]` each, in the tile at `place`.
///
/// # Safety
/// `place` is a tile inside the cache at `cache`, aligned for its elements, with rows as long as `key` and `value`; no
/// other thread reads or writes this position of the tile, and no reference to it exists.
pub(crate) unsafe fn store(
    format: KvFormat,
    cache: *mut u8,
    place: TilePlace,
    position: usize,
    key: &[f32],
    value: &[f32],
) {
    let slot = position % TILE_TOKENS;
    // SAFETY: the tile is in the cache (this function's contract): K has head_dim rows of 16, V 16 rows of head_dim,
    // int8 also 32 scales; `slot` is below 16.
    unsafe {
        let (keys, values) = (cache.add(place.keys), cache.add(place.values));
        match format {
            KvFormat::F16 => write_halves(keys.cast(), values.cast(), slot, key, value),
            KvFormat::F32 => write::<f32>(keys.cast(), values.cast(), slot, key, value, |x| x, |x| x),
            KvFormat::Int8 => {
                let (key_scale, value_scale) = (Quantizer::of(key), Quantizer::of(value));
                let quantize = (|x| key_scale.quantize(x), |x| value_scale.quantize(x));
                write::<i8>(keys.cast(), values.cast(), slot, key, value, quantize.0, quantize.1);
                let scales = cache.add(place.scales).cast::<f16>();
                scales.add(slot).write(key_scale.scale);
                scales.add(TILE_TOKENS + slot).write(value_scale.scale);
            }
        }
    }
}

/// The scale of one head's key or value.
struct Quantizer {
    scale: f16,
    step: f32,
}

impl Quantizer {
    /// `f16(max|x| / 127)`, at most the largest f16. If a value is not finite the scale is NaN, and the next matmul
    /// reports a non-finite input.
    fn of(values: &[f32]) -> Self {
        let largest = values.iter().fold(0u32, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff));
        let largest = f32::from_bits(largest);
        let scale = if largest.is_finite() { f16::from_f32(largest / 127.0).min(f16::MAX) } else { f16::NAN };
        Quantizer { scale, step: scale.to_f32() }
    }

    fn quantize(&self, x: f32) -> i8 {
        // A cast from NaN (0 / 0, where every value is 0) is 0.
        (x / self.step).round_ties_even().clamp(-127.0, 127.0) as i8
    }
}

/// [`write`] for f16: converts slices with the processor's instructions; converting single elements costs a call each.
///
/// # Safety
/// As [`store`]: `keys` and `values` are the tile's, `slot` is below sixteen.
unsafe fn write_halves(keys: *mut f16, values: *mut f16, slot: usize, key: &[f32], value: &[f32]) {
    const CHUNK: usize = 64;
    // SAFETY: this function's contract: the elements written are the tile's.
    unsafe {
        for (index, chunk) in key.chunks(CHUNK).enumerate() {
            let mut halves = [f16::ZERO; CHUNK];
            let halves = &mut halves[..chunk.len()];
            halves.convert_from_f32_slice(chunk);
            for (d, x) in halves.iter().enumerate() {
                keys.add((index * CHUNK + d) * TILE_TOKENS + slot).write(*x);
            }
        }
        let values = values.add(slot * value.len());
        std::slice::from_raw_parts_mut(values, value.len()).convert_from_f32_slice(value);
    }
}

/// # Safety
/// As [`write_halves`].
unsafe fn write<T>(
    keys: *mut T,
    values: *mut T,
    slot: usize,
    key: &[f32],
    value: &[f32],
    convert_key: impl Fn(f32) -> T,
    convert_value: impl Fn(f32) -> T,
) {
    // SAFETY: this function's contract: the elements written are the tile's.
    unsafe {
        for (d, x) in key.iter().enumerate() {
            keys.add(d * TILE_TOKENS + slot).write(convert_key(*x));
        }
        for (d, x) in value.iter().enumerate() {
            values.add(slot * value.len() + d).write(convert_value(*x));
        }
    }
}
