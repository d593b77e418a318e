//! What a program needs on the processor: the weights slab, the arena's regions, and scratch for each thread.

use tinyllm_mem::{Category, Region};

use super::{
    attention,
    layout::{ALIGN_BYTES, SlabLayout},
    products::ProductInputLayout,
};
use crate::{InputFormat, Program, RegionId, RegionSpec, Requirements};

/// Bytes from one row of a region to the next.
pub(super) fn row_bytes(spec: &RegionSpec) -> usize {
    match spec.input_format {
        Some(InputFormat::Int16 { piece }) => ProductInputLayout { k: spec.columns, piece }.row_bytes(),
        Some(InputFormat::Float) => 4 * spec.columns,
        // A row converted in place holds no more than it did; only a row of one element would not fit.
        None => 4 * spec.columns.max(2),
    }
}

/// Scratch of one thread: a row to normalise into, and what attention takes.
pub(super) fn scratch_elems(program: &Program) -> usize {
    let widest = program.regions().iter().map(|region| region.columns).max().unwrap_or(0);
    let heads = program.query_heads() / program.kv().kv_heads().max(1);
    widest.max(attention::scratch_elems(program.kv(), heads)).next_multiple_of(ALIGN_BYTES / 4)
}

/// Where fewer heads than this decode, the segments of their keys are shared out among `threads` threads.
pub(super) fn split_heads(threads: usize) -> usize {
    4 * threads
}

/// Segments that are computed before they are folded: of three heads and two threads those of 10,000 keys.
pub(super) fn splits(threads: usize) -> usize {
    64 * threads
}

/// f32 of the state of one query and the heads that share a kv head.
pub(super) fn split_elems(program: &Program) -> usize {
    let group = program.query_heads() / program.kv().kv_heads().max(1);
    attention::state_elems(program.kv().head_dim(), group)
}

/// f32 of workspace: each thread's scratch, and the states of segments and heads where those are shared out.
fn workspace_elems(program: &Program, threads: usize) -> usize {
    let slots = if threads > 1 { splits(threads) + split_heads(threads) } else { 0 };
    scratch_elems(program) * threads + split_elems(program) * slots
}

pub(super) fn requirements(program: &Program, threads: usize) -> Requirements {
    let last = program.ops().len().saturating_sub(1);
    let mut regions: Vec<Region> = program
        .regions()
        .iter()
        .zip(program.lifetimes())
        .enumerate()
        .map(|(index, (spec, lifetime))| Region {
            name: spec.name.clone(),
            category: spec.category,
            bytes: (row_bytes(spec) * program.max_rows(RegionId(index))).next_multiple_of(ALIGN_BYTES),
            align_bytes: ALIGN_BYTES,
            lifetime,
        })
        .collect();
    regions.push(Region {
        name: "workspace".into(),
        category: Category::Workspace,
        bytes: 4 * workspace_elems(program, threads),
        align_bytes: ALIGN_BYTES,
        lifetime: (0, last),
    });
    Requirements { weights: SlabLayout::of(program, threads).parts, regions, align_bytes: ALIGN_BYTES }
}
