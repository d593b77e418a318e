//! `cuda/peak.cu`.

use super::{Kernel, Queue, parameter};
use crate::KernelError;

const THREADS: u32 = 256;

/// Bytes that a block writes.
pub(in crate::cuda) const BLOCK_BYTES: usize = 4 * THREADS as usize;

/// Multiplications and additions of a block: `CHAINS` products of 16 × 8 × 32 a warp and round.
pub(in crate::cuda) fn block_ops(rounds: u32) -> f64 {
    f64::from(rounds) * f64::from(THREADS / 32) * 8.0 * f64::from(2 * 16 * 8 * 32)
}

/// Multiplies in so many blocks; `out` has [`BLOCK_BYTES`] for each.
///
/// # Errors
/// The driver's.
pub(in crate::cuda) fn int8(
    queue: &Queue<'_>,
    blocks: u32,
    out: u64,
    rounds: u32,
) -> Result<(), KernelError> {
    let params = [parameter(&out), parameter(&rounds)];
    // SAFETY: the kernel's parameters in their order; it writes `BLOCK_BYTES` a block, which its caller has there.
    unsafe { queue.launch(Kernel::Int8Peak, [blocks, 1, 1], THREADS, 0, &params) }
}
