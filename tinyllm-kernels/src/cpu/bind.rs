//! What `prepare` demands before kernels may lean on it: weights of this very program in the layout of this many threads,
//! and regions that lie in the arena, none where another lives at the same time.

use tinyllm_mem::{Buffer, Region};

use super::{CpuWeights, layout::ALIGN_BYTES, requirements};
use crate::{KernelError, Op, Program};

/// Checks everything that a prepared program is made of; `regions` are [`crate::Requirements::regions`], and `offsets` their
/// places.
///
/// # Errors
/// [`KernelError::Invalid`], naming what does not belong or is too small.
pub(super) fn check(
    program: &Program,
    threads: usize,
    weights: &CpuWeights,
    kv: &Buffer<u8>,
    arena: &Buffer<u8>,
    regions: &[Region],
    offsets: &[usize],
) -> Result<(), KernelError> {
    if !weights.is_for(program, threads) {
        return invalid("weights", "they were made for another program or number of threads".into());
    }
    if let Some(name) = weights.missing() {
        return invalid("weights", format!("{name} was not uploaded"));
    }
    // The queue of a turn counts what it hands out in halves of a word.
    let heads = program.query_heads() + program.kv().kv_heads();
    if program.limits().max_tokens.saturating_mul(heads) > u32::MAX as usize {
        return invalid("step", format!("{} tokens of {heads} heads", program.limits().max_tokens));
    }
    for (what, buffer) in [("KV cache", kv), ("arena", arena)] {
        if !(buffer.address() as usize).is_multiple_of(ALIGN_BYTES) {
            return invalid(what, format!("not aligned to {ALIGN_BYTES} bytes"));
        }
    }
    places(regions, offsets, arena.len())
}

/// Whether each region lies in the arena, and alone while it lives.
fn places(regions: &[Region], offsets: &[usize], arena_bytes: usize) -> Result<(), KernelError> {
    if regions.len() != offsets.len() {
        return invalid("arena", format!("{} offsets for {} regions", offsets.len(), regions.len()));
    }
    let mut placed: Vec<(usize, usize, &Region)> = Vec::with_capacity(regions.len());
    for (region, &start) in regions.iter().zip(offsets) {
        let end = start.checked_add(region.bytes).filter(|end| *end <= arena_bytes);
        match end {
            Some(end) if start.is_multiple_of(region.align_bytes) => placed.push((start, end, region)),
            _ => {
                let Region { name, bytes, .. } = region;
                return invalid("arena", format!("{name}: {bytes} bytes at {start} of {arena_bytes}"));
            }
        }
    }
    placed.sort_by_key(|(start, _, _)| *start);
    for (index, (_, end, region)) in placed.iter().enumerate() {
        let lives =
            |other: &Region| region.lifetime.0 <= other.lifetime.1 && other.lifetime.0 <= region.lifetime.1;
        let behind = placed[index + 1..].iter().take_while(|(start, _, _)| start < end);
        if let Some((_, _, other)) =
            behind.into_iter().find(|(start, end, other)| start < end && lives(other))
        {
            return invalid("arena", format!("{} and {} share bytes", region.name, other.name));
        }
    }
    Ok(())
}

/// Tokens that every embedding table of a program knows.
///
/// # Errors
/// [`KernelError::Invalid`] where there is no table: tokens cannot enter.
pub(super) fn vocab_size(program: &Program) -> Result<usize, KernelError> {
    let rows = program.ops().iter().filter_map(|op| match op {
        Op::Embed { table, .. } => Some(program.weights()[table.index()].n),
        _ => None,
    });
    match rows.min() {
        Some(rows) => Ok(rows),
        None => invalid("program", "no embedding: tokens cannot enter".into()),
    }
}

/// Where each region begins in the arena, and bytes from one of its rows to the next.
pub(super) fn strides(program: &Program, offsets: &[usize]) -> Vec<(usize, usize)> {
    offsets.iter().copied().zip(requirements::row_bytes(program)).collect()
}

fn invalid<T>(what: &'static str, problem: String) -> Result<T, KernelError> {
    Err(KernelError::Invalid { what, problem })
}
