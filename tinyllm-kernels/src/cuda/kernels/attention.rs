//! Launches of `cuda/rope_cache.cu` and `cuda/attention.cu`.

use bytemuck::{Pod, Zeroable};

use super::{Kernel, Parameter, Queue, number_type, parameter, rows::RowCount};
use crate::{KernelError, KvFormat, VectorFormat};

const THREADS: u32 = 256;
const WARP: u32 = 32;

/// Query heads of a block at most.
const MAX_HEADS: u32 = 8;

/// A layer of the KV cache: `struct Cache` of `cuda/cache.cuh`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(in crate::cuda) struct Cache {
    pub(in crate::cuda) blocks: u64,
    pub(in crate::cuda) block_bytes: u64,
    /// Of the layer in a block.
    pub(in crate::cuda) layer_offset: u64,
    pub(in crate::cuda) block_tables: u64,
    pub(in crate::cuda) table_stride: u32,
    pub(in crate::cuda) block_tokens: u32,
    pub(in crate::cuda) kv_heads: u32,
    pub(in crate::cuda) head_dim: u32,
}

// SAFETY: `struct Cache`, without padding (`Pod`).
unsafe impl Parameter for Cache {}

/// q, k and v of a step's rows.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct RopeAndCacheWrite {
    pub(in crate::cuda) q: u64,
    pub(in crate::cuda) k: u64,
    pub(in crate::cuda) v: u64,
    pub(in crate::cuda) table: u64,
    pub(in crate::cuda) heads: u32,
    /// Weights of q's and k's norm; 0 without.
    pub(in crate::cuda) norms: [u64; 2],
    pub(in crate::cuda) norm_format: VectorFormat,
    pub(in crate::cuda) eps: f32,
    pub(in crate::cuda) row_sequences: u64,
    pub(in crate::cuda) row_positions: u64,
    pub(in crate::cuda) rows: RowCount,
}

impl RopeAndCacheWrite {
    pub(in crate::cuda) fn launch(
        &self,
        queue: &Queue<'_>,
        cache: &Cache,
        format: KvFormat,
    ) -> Result<(), KernelError> {
        let kernel = match format {
            KvFormat::F16 => Kernel::RopeCacheF16,
            KvFormat::F32 => Kernel::RopeCacheF32,
            KvFormat::Int8 => Kernel::RopeCacheInt8,
        };
        let norm_type = number_type(self.norm_format.into());
        let params = [
            parameter(&self.q),
            parameter(&self.k),
            parameter(&self.v),
            parameter(&self.table),
            parameter(&self.heads),
            parameter(&self.norms[0]),
            parameter(&self.norms[1]),
            parameter(&norm_type),
            parameter(&self.eps),
            parameter(&self.row_sequences),
            parameter(&self.row_positions),
            parameter(&self.rows.address),
            parameter(cache),
        ];
        let grid = [self.rows.most, self.heads + 2 * cache.kv_heads, 1];
        // SAFETY: the parameters of the kernel; every row's block is one of the cache, and no two rows write one place
        // (`Step::validate`).
        unsafe { queue.launch(kernel, grid, WARP, 4 * cache.head_dim, &params) }
    }
}

/// Rows of queries: `struct Rows` of `cuda/attention.cu`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
pub(in crate::cuda) struct Queries {
    pub(in crate::cuda) q: u64,
    pub(in crate::cuda) out: u64,
    /// 0: the same rows.
    pub(in crate::cuda) source_rows: u64,
    pub(in crate::cuda) rows: u64,
    pub(in crate::cuda) row_sequences: u64,
    pub(in crate::cuda) row_positions: u64,
    pub(in crate::cuda) group: u32,
    /// 0: all keys.
    pub(in crate::cuda) window: u32,
    /// Of scores, with log2(e).
    pub(in crate::cuda) scale: f32,
    pub(in crate::cuda) unused: u32,
}

// SAFETY: `struct Rows`, without padding (`Pod`).
unsafe impl Parameter for Queries {}

/// Partial results of segments, `[rows][heads][segments][head_dim + 2]`.
#[derive(Clone, Copy, Debug)]
pub(in crate::cuda) struct States {
    pub(in crate::cuda) address: u64,
    pub(in crate::cuda) segments: u32,
}

/// Attention of `rows` rows, split by segments where `states` are given.
pub(in crate::cuda) fn attention(
    queue: &Queue<'_>,
    queries: &Queries,
    rows: u32,
    cache: &Cache,
    format: KvFormat,
    states: Option<States>,
) -> Result<(), KernelError> {
    let heads_a_block = queries.group.min(MAX_HEADS);
    let shared = 4 * heads_a_block * (2 * cache.head_dim + 256 + 20);
    let blocks = [rows, cache.kv_heads * queries.group.div_ceil(MAX_HEADS), 1];
    let Some(states) = states else {
        let kernel = match format {
            KvFormat::F16 => Kernel::AttentionRowsF16,
            KvFormat::F32 => Kernel::AttentionRowsF32,
            KvFormat::Int8 => Kernel::AttentionRowsInt8,
        };
        // SAFETY: the parameters of the kernel; rows, their positions and blocks are the step's (`Step::validate`).
        return unsafe {
            queue.launch(kernel, blocks, THREADS, shared, &[parameter(queries), parameter(cache)])
        };
    };
    let kernel = match format {
        KvFormat::F16 => Kernel::AttentionSegmentsF16,
        KvFormat::F32 => Kernel::AttentionSegmentsF32,
        KvFormat::Int8 => Kernel::AttentionSegmentsInt8,
    };
    let params =
        [parameter(queries), parameter(cache), parameter(&states.address), parameter(&states.segments)];
    // SAFETY: as above; the workspace has a state for each row, head and segment (`passes::attention`).
    unsafe { queue.launch(kernel, [blocks[0], blocks[1], states.segments], THREADS, shared, &params)? };
    let params = [
        parameter(queries),
        parameter(&cache.head_dim),
        parameter(&states.address),
        parameter(&states.segments),
    ];
    let grid = [rows, cache.kv_heads * queries.group, 1];
    let threads = cache.head_dim.next_multiple_of(WARP).min(THREADS);
    // SAFETY: as above, of `attention_merge`.
    unsafe { queue.launch(Kernel::AttentionMerge, grid, threads, 0, &params) }
}
