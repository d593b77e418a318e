//! What a program needs on the processor: the weights slab, the arena's regions, and scratch for each thread. A program's
//! sizes are bounded where it is built, so that nothing here overflows.

use tinyllm_mem::{Category, Region};

use super::{
    attention,
    layout::{ALIGN_BYTES, SlabLayout},
    products::ProductInputLayout,
};
use crate::{InputFormat, Op, Program, RegionSpec, Requirements};

/// Size of a row in one format.
fn format_bytes(columns: usize, format: Option<InputFormat>) -> usize {
    match format {
        Some(InputFormat::Int16 { pieces }) => ProductInputLayout { k: columns, pieces }.row_bytes(),
        Some(InputFormat::Float) | None => 4 * columns,
    }
}

/// Bytes from one row of each region to the next, by [`crate::RegionId::index`]: the largest of the formats that a row has in turn.
/// With short pieces a row converted in place is longer than it was.
pub(super) fn row_bytes(program: &Program) -> Vec<usize> {
    let spec_bytes = |spec: &RegionSpec| format_bytes(spec.columns, spec.input_format);
    let mut row_bytes: Vec<usize> = program.regions().iter().map(spec_bytes).collect();
    for op in program.ops() {
        if let Op::ConvertInPlace { region, format } = op {
            let converted = format_bytes(program.regions()[region.index()].columns, Some(*format));
            row_bytes[region.index()] = row_bytes[region.index()].max(converted);
        }
    }
    row_bytes
}

/// Scratch of one thread: a row of any region in any of its formats, and what attention takes.
pub(super) fn scratch_elems(program: &Program) -> usize {
    let columns = program.regions().iter().map(|region| region.columns);
    let rows = row_bytes(program).into_iter().map(|bytes| bytes.div_ceil(4));
    let widest = columns.chain(rows).max().unwrap_or(0);
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
        .zip(row_bytes(program))
        .map(|((spec, lifetime), row_bytes)| Region {
            name: spec.name.clone(),
            category: spec.category,
            bytes: (row_bytes * program.max_rows(spec)).next_multiple_of(ALIGN_BYTES),
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
