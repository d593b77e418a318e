//! The pass of RoPE and cache writes: rotates queries and keys, and writes keys and values to the KV cache.

use std::ops::Range;

use super::Executor;
use crate::cpu::{
    compile::{Place, RopeAndCacheWrite},
    kv::{self, KvLayout, TilePlace},
    norm, rope,
};

impl Executor<'_> {
    pub(super) fn rope_and_cache_write(&self, operands: &RopeAndCacheWrite) {
        let heads = self.rotated_heads(&operands.layout);
        let work = |items: Range<usize>| {
            for item in items {
                self.rotate_and_write(item / heads, item % heads, operands);
            }
        };
        match self.step.tokens() {
            1 if self.worker.is_alone() => work(0..heads),
            // A fixed part for each worker: a head takes less time than stealing.
            1 => work(self.bound.queues.range(self.worker.index, heads)),
            tokens => self.share_out(tokens * heads, 1, work),
        }
    }

    /// Number of heads of a token that are rotated: query heads, then KV heads.
    pub(super) fn rotated_heads(&self, layout: &KvLayout) -> usize {
        self.bound.lowered.program.query_heads() + layout.kv_heads()
    }

    /// Rotates one head of one token, and writes a KV head to the cache: heads count query heads first, then KV heads.
    fn rotate_and_write(&self, row: usize, head: usize, operands: &RopeAndCacheWrite) {
        let RopeAndCacheWrite { q, k, v, table, qk_norm, eps, layer, layout } = operands;
        let head_dim = layout.head_dim();
        let query_heads = self.bound.lowered.program.query_heads();
        let is_query = head < query_heads;
        let (place, index) = if is_query { (q, head) } else { (k, head - query_heads) };
        let values = self.columns_mut(place, row, index * head_dim, head_dim);
        if let Some((q_norm, k_norm)) = *qk_norm {
            let weight = self.bound.weights.vector(if is_query { q_norm } else { k_norm });
            self.with_scratch(head_dim, |normed| {
                norm::rms_norm(self.isa, values, weight, *eps, normed);
                values.copy_from_slice(normed);
            });
        }
        rope::apply(self.isa, values, self.row(table, row));
        if !is_query {
            let (position, tile) = self.slot(row, *layer, index, layout);
            let value = &self.row(v, row)[index * head_dim..][..head_dim];
            // SAFETY: the step was validated: the block is inside the cache, and no other token of the step has this
            // slot, so that the worker that took this (token, head) is its only user; no pass of the same epoch reads
            // the cache. `KvLayout` places the tile inside its block.
            unsafe { kv::store(layout.format(), self.cache.base, tile, position, values, value) };
        }
    }

    /// Some columns of a row, of a head that this worker has taken.
    #[allow(clippy::mut_from_ref)] // as `row_mut`
    fn columns_mut(&self, place: &Place, row: usize, first: usize, count: usize) -> &mut [f32] {
        debug_assert!(first + count <= place.columns);
        // SAFETY: as `row_mut`, for these columns only, which are inside the row: other workers take other heads, which
        // are other columns of the row.
        unsafe {
            std::slice::from_raw_parts_mut(self.row_address(place, row).cast::<f32>().add(first), count)
        }
    }

    /// A token's position, and the place of the tile that holds its key and value of one head.
    pub(super) fn slot(
        &self,
        row: usize,
        layer: usize,
        kv_head: usize,
        layout: &KvLayout,
    ) -> (usize, TilePlace) {
        let position = self.position(row) as usize;
        let table = self.step.block_table(self.step.sequence_of(row));
        let block = table[position / layout.block_tokens()] as usize;
        (position, layout.place(layer, block, kv_head, position))
    }
}
