//! Fields of a block, at places that the compiler checks.

use half::f16;

/// Elements to a block of the K types and IQ4_XS.
pub(super) const SUPER_BLOCK: usize = 256;

/// The `N` bytes at `AT` of a block; that they lie inside it is checked by the compiler.
#[inline(always)]
pub(super) fn field<const AT: usize, const N: usize, const BYTES: usize>(block: &[u8; BYTES]) -> &[u8; N] {
    const { assert!(AT + N <= BYTES) };
    block[AT..].first_chunk().unwrap_or(const { &[0; N] })
}

/// The half-precision number at `AT` of a block.
#[inline(always)]
pub(super) fn half_at<const AT: usize, const BYTES: usize>(block: &[u8; BYTES]) -> f32 {
    f16::from_le_bytes(*field::<AT, 2, BYTES>(block)).to_f32()
}

/// Cuts a block's output into `PARTS` arrays of `N`; that they cover it is checked by the compiler.
#[inline(always)]
pub(super) fn parts<const N: usize, const PARTS: usize, const ELEMS: usize>(
    out: &mut [f32; ELEMS],
) -> &mut [[f32; N]; PARTS] {
    const { assert!(N * PARTS == ELEMS) };
    bytemuck::must_cast_mut(out)
}
