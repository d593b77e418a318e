//! Sixteen lanes in plain Rust, for any processor.

use half::{bf16, f16};

use super::{LANES, Lanes, TRANSPOSED_PAIRS};
use crate::ScaleType;

/// Plain Rust.
pub(crate) struct Portable;

impl Lanes for Portable {
    type Pairs = [[i16; 2]; 16];
    type Sums = [i32; 16];
    type Floats = [f32; 16];
    const LOADS_CONVERT: bool = false;
    const TILE_ROWS: usize = 4;
    const FLOAT_ROWS: usize = 6;

    #[inline(always)]
    unsafe fn zero_sums() -> Self::Sums {
        [0; 16]
    }

    #[inline(always)]
    unsafe fn zero_floats() -> Self::Floats {
        [0.0; 16]
    }

    #[inline(always)]
    unsafe fn load_pairs(values: *const i8) -> Self::Pairs {
        // SAFETY: 32 bytes are readable (the contract of `Lanes`); `read_unaligned` takes any alignment.
        let bytes = unsafe { values.cast::<[[i8; 2]; 16]>().read_unaligned() };
        bytes.map(|pair| pair.map(i16::from))
    }

    #[inline(always)]
    unsafe fn dot(mut sums: Self::Sums, weights: Self::Pairs, inputs: i32) -> Self::Sums {
        let (x0, x1) = (i32::from(inputs as i16), inputs >> 16);
        for (sum, pair) in sums.iter_mut().zip(weights) {
            *sum += i32::from(pair[0]) * x0 + i32::from(pair[1]) * x1;
        }
        sums
    }

    #[inline(always)]
    unsafe fn add_sums(a: Self::Sums, b: Self::Sums) -> Self::Sums {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    unsafe fn scale(
        sums: Self::Sums,
        input_scale: f32,
        weight_scales: Self::Floats,
        mut accumulated: Self::Floats,
    ) -> Self::Floats {
        for ((acc, sum), weight_scale) in accumulated.iter_mut().zip(sums).zip(weight_scales) {
            *acc = (sum as f32 * input_scale).mul_add(weight_scale, *acc);
        }
        accumulated
    }

    #[inline(always)]
    unsafe fn load_scales(scales: *const u8, scale_type: ScaleType) -> Self::Floats {
        // SAFETY: sixteen scales of this type are readable (the contract of `Lanes`); `read_unaligned` takes any
        // alignment.
        unsafe {
            match scale_type {
                ScaleType::F16 => scales.cast::<[f16; 16]>().read_unaligned().map(f16::to_f32),
                ScaleType::Bf16 => scales.cast::<[bf16; 16]>().read_unaligned().map(bf16::to_f32),
                ScaleType::F32 => scales.cast::<[f32; 16]>().read_unaligned(),
            }
        }
    }

    #[inline(always)]
    unsafe fn load_f16(values: *const f16) -> Self::Floats {
        // SAFETY: sixteen values are readable (the contract of `Lanes`); `read_unaligned` takes any alignment.
        unsafe { values.cast::<[f16; 16]>().read_unaligned().map(f16::to_f32) }
    }

    #[inline(always)]
    unsafe fn load_f32(values: *const f32) -> Self::Floats {
        // SAFETY: as above.
        unsafe { values.cast::<[f32; 16]>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn load_i8(values: *const i8) -> Self::Floats {
        // SAFETY: as above.
        unsafe { values.cast::<[i8; 16]>().read_unaligned().map(f32::from) }
    }

    #[inline(always)]
    unsafe fn fma(weights: Self::Floats, input: f32, mut accumulated: Self::Floats) -> Self::Floats {
        for (acc, weight) in accumulated.iter_mut().zip(weights) {
            *acc = weight.mul_add(input, *acc);
        }
        accumulated
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> [f32; 16] {
        [value; 16]
    }

    #[inline(always)]
    unsafe fn add(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| a[lane] + b[lane])
    }

    #[inline(always)]
    unsafe fn sub(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| a[lane] - b[lane])
    }

    #[inline(always)]
    unsafe fn mul(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| a[lane] * b[lane])
    }

    #[inline(always)]
    unsafe fn div(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| a[lane] / b[lane])
    }

    #[inline(always)]
    unsafe fn max(a: [f32; 16], b: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| if a[lane] > b[lane] { a[lane] } else { b[lane] })
    }

    #[inline(always)]
    unsafe fn select_less(a: [f32; 16], b: [f32; 16], x: [f32; 16], y: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| if a[lane] < b[lane] { x[lane] } else { y[lane] })
    }

    #[inline(always)]
    unsafe fn fma_lanes(a: [f32; 16], b: [f32; 16], c: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| a[lane].mul_add(b[lane], c[lane]))
    }

    #[inline(always)]
    unsafe fn exponent(bits: [f32; 16]) -> [f32; 16] {
        bits.map(|bits| f32::from_bits(bits.to_bits() << 23))
    }

    #[inline(always)]
    unsafe fn store(floats: Self::Floats, out: &mut [f32; 16]) {
        *out = floats;
    }

    #[inline(always)]
    unsafe fn max_magnitude(largest: [f32; 16], x: [f32; 16]) -> [f32; 16] {
        std::array::from_fn(|lane| f32::from_bits(largest[lane].to_bits().max(x[lane].abs().to_bits())))
    }

    #[inline(always)]
    unsafe fn store_i16(x: [f32; 16], out: *mut i16) {
        let rounded = x.map(|x| x.round_ties_even().clamp(-32767.0, 32767.0) as i16);
        // SAFETY: sixteen values are writable (the contract of `Lanes`); `write_unaligned` takes any alignment.
        unsafe { out.cast::<[i16; 16]>().write_unaligned(rounded) }
    }

    /// Transposes four pairs of four rows at a time in four 64-bit words: fast on any processor.
    #[inline(always)]
    unsafe fn transpose_pairs(
        rows: *const u8,
        row_bytes: usize,
        flipped: u8,
        out: &mut [[[u8; 2]; LANES]; TRANSPOSED_PAIRS],
    ) {
        const EVEN: u64 = 0x0000_ffff_0000_ffff;
        const LOW: u64 = 0x0000_0000_ffff_ffff;
        let flipped = u64::from_ne_bytes([flipped; 8]);
        for (half, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let transposed: [[u64; 4]; 4] = std::array::from_fn(|group| {
                let row = |index: usize| {
                    let row = rows.wrapping_add((4 * group + index) * row_bytes + 8 * half);
                    // SAFETY: sixteen bytes of each row are readable (the contract of `Lanes`), of which these are
                    // eight; bytes need no alignment.
                    u64::from_le_bytes(unsafe { row.cast::<[u8; 8]>().read() }) ^ flipped
                };
                let (a, b, c, d) = (row(0), row(1), row(2), row(3));
                // Pairs 0 and 2 of two rows, and pairs 1 and 3.
                let (ab_even, ab_odd) = (a & EVEN | (b & EVEN) << 16, a >> 16 & EVEN | b & !EVEN);
                let (cd_even, cd_odd) = (c & EVEN | (d & EVEN) << 16, c >> 16 & EVEN | d & !EVEN);
                [
                    ab_even & LOW | cd_even << 32,
                    ab_odd & LOW | cd_odd << 32,
                    ab_even >> 32 | cd_even & !LOW,
                    ab_odd >> 32 | cd_odd & !LOW,
                ]
            });
            let out: &mut [[[u8; 8]; 4]; 4] = bytemuck::cast_mut(out);
            *out = std::array::from_fn(|pair| transposed.map(|group| group[pair].to_le_bytes()));
        }
    }

    #[inline(always)]
    unsafe fn prefetch(_address: *const u8) {}

    #[inline(always)]
    unsafe fn prefetch_early(_address: *const u8) {}
}
