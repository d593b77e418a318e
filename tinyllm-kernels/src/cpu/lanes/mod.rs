//! Sixteen virtual lanes of f32 and of exact integer sums, on each instruction set; kernels are written once over them.
//!
//! Integer sums are exact, so their order does not matter. Float operations are the same IEEE operations on each
//! instruction set, lane by lane; a sum over lanes is [`tree_sum`], in a fixed order. So every instruction set gives
//! the same bits.

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
mod x86_rows;
#[cfg(target_arch = "x86_64")]
mod x86_transpose;

use half::f16;

use crate::{Isa, ScaleType};

pub(crate) use portable::Portable;
#[cfg(target_arch = "x86_64")]
pub(crate) use x86::{Avx2, Avx512};

/// Lanes of a [`Lanes`] value.
pub(crate) const LANES: usize = 16;

/// Pairs that [`Lanes::transpose_pairs`] transposes at a time.
pub(crate) const TRANSPOSED_PAIRS: usize = 8;

/// Bytes of a cache line.
pub(crate) const CACHE_LINE_BYTES: usize = 64;

/// Sixteen lanes. Every method is unsafe because the processor must have the instructions; those that take an address
/// also need sixteen readable (or writable) elements there, at any alignment.
pub(crate) trait Lanes {
    /// Sixteen pairs of weights, converted to i16.
    type Pairs: Copy;
    /// Sixteen i32 sums.
    type Sums: Copy;
    /// Sixteen f32.
    type Floats: Copy;
    /// Rows of a matmul's tile whose sums stay in registers.
    const TILE_ROWS: usize;
    /// Whether loads convert weights without slowing the multiplications, so that converting a block once for many rows
    /// saves nothing.
    const LOADS_CONVERT: bool;
    /// Rows of attention's tile whose sums stay in registers.
    const FLOAT_ROWS: usize;

    unsafe fn zero_sums() -> Self::Sums;
    unsafe fn zero_floats() -> Self::Floats;
    /// 32 int8: `[16][2]`.
    unsafe fn load_pairs(values: *const i8) -> Self::Pairs;
    /// `sums + weights · (x0, x1)`, the inputs packed in an i32.
    unsafe fn dot(sums: Self::Sums, weights: Self::Pairs, inputs: i32) -> Self::Sums;
    /// [`Lanes::dot`] for `R` rows, whose inputs are `row_stride_bytes` apart.
    #[inline(always)]
    unsafe fn dot_rows<const R: usize>(
        sums: &mut [Self::Sums; R],
        weights: Self::Pairs,
        inputs: *const u8,
        row_stride_bytes: usize,
    ) {
        for (row, sum) in sums.iter_mut().enumerate() {
            // SAFETY: this method's contract, for each row.
            *sum = unsafe {
                let inputs = inputs.add(row * row_stride_bytes).cast::<i32>();
                Self::dot(*sum, weights, inputs.read_unaligned())
            };
        }
    }
    /// `a + b`, which must not overflow.
    unsafe fn add_sums(a: Self::Sums, b: Self::Sums) -> Self::Sums;
    /// `fma(f32(sums) * input_scale, weight_scales, accumulated)`.
    unsafe fn scale(
        sums: Self::Sums,
        input_scale: f32,
        weight_scales: Self::Floats,
        accumulated: Self::Floats,
    ) -> Self::Floats;
    unsafe fn load_scales(scales: *const u8, scale_type: ScaleType) -> Self::Floats;
    unsafe fn load_f16(values: *const f16) -> Self::Floats;
    unsafe fn load_f32(values: *const f32) -> Self::Floats;
    unsafe fn load_i8(values: *const i8) -> Self::Floats;
    /// `fma(weights, input, accumulated)`.
    unsafe fn fma(weights: Self::Floats, input: f32, accumulated: Self::Floats) -> Self::Floats;
    /// [`Lanes::fma`] of the same values for `R` rows, whose inputs are `row_stride` f32 apart.
    #[inline(always)]
    unsafe fn fma_rows<const R: usize>(
        sums: &mut [Self::Floats; R],
        values: Self::Floats,
        inputs: *const f32,
        row_stride: usize,
    ) {
        for (row, sum) in sums.iter_mut().enumerate() {
            // SAFETY: this method's contract, for each row.
            *sum = unsafe { Self::fma(values, inputs.add(row * row_stride).read(), *sum) };
        }
    }
    unsafe fn splat(value: f32) -> Self::Floats;
    unsafe fn add(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    unsafe fn sub(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    unsafe fn mul(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    unsafe fn div(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a > b ? a : b`, so that every instruction set agrees on NaN.
    unsafe fn max(a: Self::Floats, b: Self::Floats) -> Self::Floats;
    /// `a < b ? x : y`.
    unsafe fn select_less(a: Self::Floats, b: Self::Floats, x: Self::Floats, y: Self::Floats)
    -> Self::Floats;
    /// `fma(a, b, c)`.
    unsafe fn fma_lanes(a: Self::Floats, b: Self::Floats, c: Self::Floats) -> Self::Floats;
    /// The lowest nine bits of each lane, moved to sign and exponent: 2^(n - 127) for n from 1 to 254, 0 for 0.
    unsafe fn exponent(bits: Self::Floats) -> Self::Floats;
    unsafe fn store(floats: Self::Floats, out: &mut [f32; 16]);
    /// The larger magnitude, or NaN: bits without the sign, compared as integers, which are ordered as the floats are,
    /// then infinity, then NaN. `largest` has no signs.
    unsafe fn max_magnitude(largest: Self::Floats, x: Self::Floats) -> Self::Floats;
    /// Sixteen i16: `x` rounded, ties to even, within ±32767. `x` has no NaN.
    unsafe fn store_i16(x: Self::Floats, out: *mut i16);
    /// Transposes eight pairs of bytes of sixteen rows, `row_bytes` apart: for each pair those of the sixteen rows.
    /// Each byte is xored with `flipped`.
    unsafe fn transpose_pairs(
        rows: *const u8,
        row_bytes: usize,
        flipped: u8,
        out: &mut [[[u8; 2]; LANES]; TRANSPOSED_PAIRS],
    );
    /// Prefetches the cache line at `address` into L1.
    unsafe fn prefetch(address: *const u8);
    /// Prefetches the cache line into L2, for a later read: a core has more outstanding misses in L2 than in L1.
    unsafe fn prefetch_early(address: *const u8);
}

/// A kernel written over any lanes.
pub(crate) trait Kernel {
    /// The result.
    type Output;

    /// Runs on `L`. Implementations are `#[inline(always)]`, so that they compile with the instructions of the caller.
    ///
    /// # Safety
    /// The processor has the instructions of `L`; and the kernel's own contract.
    unsafe fn run<L: Lanes>(self) -> Self::Output;
}

/// Runs a kernel on the lanes of `isa`.
///
/// # Safety
/// The processor has `isa`; and the kernel's own contract.
pub(crate) unsafe fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    // SAFETY: this function's contract.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => on_avx512(kernel),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => on_avx2(kernel),
            _ => kernel.run::<Portable>(),
        }
    }
}

/// # Safety
/// The processor has [`Isa::Avx512`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,f16c")]
unsafe fn on_avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's contract.
    unsafe { kernel.run::<Avx512>() }
}

/// # Safety
/// The processor has [`Isa::Avx2`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn on_avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's contract.
    unsafe { kernel.run::<Avx2>() }
}

/// [`Lanes::prefetch_early`].
pub(crate) fn prefetch_early(isa: Isa, address: *const u8) {
    // SAFETY: every x86-64 processor has the instruction, and a prefetch never faults.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 | Isa::Avx2 => Avx2::prefetch_early(address),
            _ => Portable::prefetch_early(address),
        }
    }
}

/// The sum of sixteen lanes, as a tree: the upper half is added to the lower until one lane is left.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
pub(crate) unsafe fn tree_sum<L: Lanes>(floats: L::Floats) -> f32 {
    let mut lanes = [0.0f32; LANES];
    // SAFETY: the processor has `L` (this function's contract).
    unsafe { L::store(floats, &mut lanes) };
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Loads up to sixteen values, the rest `fill`.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
pub(crate) unsafe fn load_or<L: Lanes>(values: &[f32], fill: f32) -> L::Floats {
    // SAFETY: sixteen values are read from the slice where it has them, else from the stack.
    unsafe {
        if values.len() >= LANES {
            return L::load_f32(values.as_ptr());
        }
        let mut lanes = [fill; LANES];
        lanes[..values.len()].copy_from_slice(values);
        L::load_f32(lanes.as_ptr())
    }
}

/// Stores as many lanes as `out` has room for.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
pub(crate) unsafe fn store_to<L: Lanes>(floats: L::Floats, out: &mut [f32]) {
    // SAFETY: the processor has `L` (this function's contract).
    unsafe {
        if let Some(out) = out.first_chunk_mut::<LANES>() {
            return L::store(floats, out);
        }
        let mut lanes = [0.0f32; LANES];
        L::store(floats, &mut lanes);
        let count = out.len();
        out.copy_from_slice(&lanes[..count]);
    }
}
