//! Writes keys and values into their places in the cache.

use half::f16;

use crate::{KvFormat, KvLayout, kv_layout::TILE_TOKENS};

/// Stores one token's key and value of one head, `[head_dim]` each.
///
/// # Safety
/// `cache` holds the block, and nobody else uses this (block, layer, head, position).
#[allow(clippy::too_many_arguments)] // an address in four dimensions and two vectors
pub(crate) unsafe fn store(
    layout: &KvLayout,
    cache: *mut u8,
    layer: usize,
    block: usize,
    kv_head: usize,
    position: usize,
    key: &[f32],
    value: &[f32],
) {
    let slot = position % TILE_TOKENS;
    // SAFETY: the tile lies inside the block (`tile_offset`); K has head_dim rows of 16, V 16 rows of head_dim.
    unsafe {
        let tile = cache.add(layout.tile_offset(layer, block, kv_head, position));
        match layout.format() {
            KvFormat::F16 => write(tile.cast::<f16>(), layout, slot, key, value, f16::from_f32),
            KvFormat::F32 => write(tile.cast::<f32>(), layout, slot, key, value, |x| x),
            KvFormat::Int8 => {
                let (key_scale, value_scale) = (Quantizer::of(key), Quantizer::of(value));
                let q = tile.cast::<i8>();
                for (d, x) in key.iter().enumerate() {
                    q.add(d * TILE_TOKENS + slot).write(key_scale.quantize(*x));
                }
                let values = q.add(layout.value_offset_elems() + slot * layout.head_dim());
                for (d, x) in value.iter().enumerate() {
                    values.add(d).write(value_scale.quantize(*x));
                }
                let scales = tile.add(layout.scales_offset_bytes()).cast::<f16>();
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
    /// `f16(max|x| / 127)`, the largest f16 where that is more. What is not finite stays so: the scale is NaN then, and
    /// the next product's input is refused.
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

unsafe fn write<T>(
    tile: *mut T,
    layout: &KvLayout,
    slot: usize,
    key: &[f32],
    value: &[f32],
    convert: impl Fn(f32) -> T,
) {
    // SAFETY: see `store`.
    unsafe {
        for (d, x) in key.iter().enumerate() {
            tile.add(d * TILE_TOKENS + slot).write(convert(*x));
        }
        let values = tile.add(layout.value_offset_elems() + slot * layout.head_dim());
        for (d, x) in value.iter().enumerate() {
            values.add(d).write(convert(*x));
        }
    }
}
