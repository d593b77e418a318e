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
        }
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
