//! Sixteen lanes on x86-64: one AVX-512 register, or two of AVX2.

use std::arch::x86_64::*;

use half::f16;

use super::{LANES, Lanes, TRANSPOSED_PAIRS, x86_rows, x86_transpose};
use crate::ScaleType;

/// AVX-512 with VNNI: one register holds sixteen lanes.
pub(crate) struct Avx512;

// SAFETY of the blocks below: callers run on a processor with AVX-512 F, BW, DQ, VL and VNNI (`Isa::is_available`),
// and give addresses with as many readable elements as the method's text says; loads take any alignment.
impl Lanes for Avx512 {
    type Pairs = __m512i;
    type Sums = __m512i;
    type Floats = __m512;
    const TILE_ROWS: usize = 12;
    const LOADS_CONVERT: bool = true;
    const FLOAT_ROWS: usize = 12;

    #[inline(always)]
    unsafe fn zero_sums() -> __m512i {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn zero_floats() -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_setzero_ps() }
    }

    #[inline(always)]
    unsafe fn load_pairs(values: *const i8) -> __m512i {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_cvtepi8_epi16(_mm256_loadu_si256(values.cast())) }
    }

    #[inline(always)]
    unsafe fn dot(sums: __m512i, weights: __m512i, inputs: i32) -> __m512i {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_dpwssd_epi32(sums, weights, _mm512_set1_epi32(inputs)) }
    }

    #[inline(always)]
    unsafe fn dot_rows<const R: usize>(
        sums: &mut [__m512i; R],
        weights: __m512i,
        inputs: *const u8,
        row_stride_bytes: usize,
    ) {
        // SAFETY: see the head of this impl.
        unsafe { x86_rows::dot(sums, weights, inputs, row_stride_bytes) }
    }

    #[inline(always)]
    unsafe fn fma_rows<const R: usize>(
        sums: &mut [__m512; R],
        values: __m512,
        inputs: *const f32,
        row_stride: usize,
    ) {
        // SAFETY: see the head of this impl.
        unsafe { x86_rows::fma(sums, values, inputs.cast(), 4 * row_stride) }
    }

    #[inline(always)]
    unsafe fn add_sums(a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    unsafe fn scale(sums: __m512i, input_scale: f32, weight_scales: __m512, accumulated: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe {
            let scaled = _mm512_mul_ps(_mm512_cvtepi32_ps(sums), _mm512_set1_ps(input_scale));
            _mm512_fmadd_ps(scaled, weight_scales, accumulated)
        }
    }

    #[inline(always)]
    unsafe fn load_scales(scales: *const u8, scale_type: ScaleType) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe {
            match scale_type {
                ScaleType::F16 => _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast())),
                ScaleType::Bf16 => {
                    let halves = _mm512_cvtepu16_epi32(_mm256_loadu_si256(scales.cast()));
                    _mm512_castsi512_ps(_mm512_slli_epi32::<16>(halves))
                }
                ScaleType::F32 => _mm512_loadu_ps(scales.cast()),
            }
        }
    }

    #[inline(always)]
    unsafe fn load_f16(values: *const f16) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(values.cast())) }
    }

    #[inline(always)]
    unsafe fn load_f32(values: *const f32) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_loadu_ps(values) }
    }

    #[inline(always)]
    unsafe fn load_i8(values: *const i8) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(values.cast()))) }
    }

    #[inline(always)]
    unsafe fn fma(weights: __m512, input: f32, accumulated: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_fmadd_ps(weights, _mm512_set1_ps(input), accumulated) }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn add(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn sub(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn mul(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn div(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn max(a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    unsafe fn select_less(a: __m512, b: __m512, x: __m512, y: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), y, x) }
    }

    #[inline(always)]
    unsafe fn fma_lanes(a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    unsafe fn exponent(bits: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<23>(_mm512_castps_si512(bits))) }
    }

    #[inline(always)]
    unsafe fn store(floats: __m512, out: &mut [f32; 16]) {
        // SAFETY: see the head of this impl; `out` is sixteen writable f32.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), floats) }
    }

    #[inline(always)]
    unsafe fn max_magnitude(largest: __m512, x: __m512) -> __m512 {
        // SAFETY: see the head of this impl.
        unsafe {
            let magnitude = _mm512_castps_si512(_mm512_abs_ps(x));
            _mm512_castsi512_ps(_mm512_max_epu32(_mm512_castps_si512(largest), magnitude))
        }
    }

    #[inline(always)]
    unsafe fn store_i16(x: __m512, out: *mut i16) {
        // SAFETY: see the head of this impl; `out` is sixteen writable i16.
        unsafe {
            let within = _mm512_min_ps(_mm512_max_ps(x, _mm512_set1_ps(-32767.0)), _mm512_set1_ps(32767.0));
            _mm256_storeu_si256(out.cast(), _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(within)));
        }
    }

    #[inline(always)]
    unsafe fn transpose_pairs(
        rows: *const u8,
        row_bytes: usize,
        flipped: u8,
        out: &mut [[[u8; 2]; LANES]; TRANSPOSED_PAIRS],
    ) {
        // SAFETY: see the head of this impl.
        unsafe { x86_transpose::pairs(rows, row_bytes, flipped, out) }
    }

    #[inline(always)]
    unsafe fn prefetch(address: *const u8) {
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn prefetch_early(address: *const u8) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }
}

/// AVX2 with FMA and F16C: two registers hold sixteen lanes.
pub(crate) struct Avx2;

// SAFETY of the blocks below: callers run on a processor with AVX2, FMA and F16C (`Isa::is_available`), and give
// addresses with as many readable elements as the method's text says; loads take any alignment. No closures here: a
// closure does not inherit the target features of the enclosing function, and would not be inlined.
impl Lanes for Avx2 {
    type Pairs = [__m256i; 2];
    type Sums = [__m256i; 2];
    type Floats = [__m256; 2];
    const TILE_ROWS: usize = 6;
    const LOADS_CONVERT: bool = false;
    const FLOAT_ROWS: usize = 6;

    #[inline(always)]
    unsafe fn zero_sums() -> [__m256i; 2] {
        // SAFETY: see the head of this impl.
        unsafe { [_mm256_setzero_si256(); 2] }
    }

    #[inline(always)]
    unsafe fn zero_floats() -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe { [_mm256_setzero_ps(); 2] }
    }

    #[inline(always)]
    unsafe fn load_pairs(values: *const i8) -> [__m256i; 2] {
        // SAFETY: see the head of this impl.
        unsafe {
            [
                _mm256_cvtepi8_epi16(_mm_loadu_si128(values.cast())),
                _mm256_cvtepi8_epi16(_mm_loadu_si128(values.add(16).cast())),
            ]
        }
    }

    #[inline(always)]
    unsafe fn dot(sums: [__m256i; 2], weights: [__m256i; 2], inputs: i32) -> [__m256i; 2] {
        // SAFETY: see the head of this impl.
        unsafe {
            let inputs = _mm256_set1_epi32(inputs);
            [
                _mm256_add_epi32(sums[0], _mm256_madd_epi16(weights[0], inputs)),
                _mm256_add_epi32(sums[1], _mm256_madd_epi16(weights[1], inputs)),
            ]
        }
    }

    #[inline(always)]
    unsafe fn add_sums(a: [__m256i; 2], b: [__m256i; 2]) -> [__m256i; 2] {
        // SAFETY: see the head of this impl.
        unsafe { [_mm256_add_epi32(a[0], b[0]), _mm256_add_epi32(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn scale(
        sums: [__m256i; 2],
        input_scale: f32,
        weight_scales: [__m256; 2],
        accumulated: [__m256; 2],
    ) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe {
            let input_scale = _mm256_set1_ps(input_scale);
            let low = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[0]), input_scale);
            let high = _mm256_mul_ps(_mm256_cvtepi32_ps(sums[1]), input_scale);
            [
                _mm256_fmadd_ps(low, weight_scales[0], accumulated[0]),
                _mm256_fmadd_ps(high, weight_scales[1], accumulated[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_scales(scales: *const u8, scale_type: ScaleType) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe {
            match scale_type {
                ScaleType::F16 => Self::load_f16(scales.cast()),
                ScaleType::Bf16 => {
                    let low = _mm256_cvtepu16_epi32(_mm_loadu_si128(scales.cast()));
                    let high = _mm256_cvtepu16_epi32(_mm_loadu_si128(scales.add(16).cast()));
                    [
                        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(low)),
                        _mm256_castsi256_ps(_mm256_slli_epi32::<16>(high)),
                    ]
                }
                ScaleType::F32 => Self::load_f32(scales.cast()),
            }
        }
    }

    #[inline(always)]
    unsafe fn load_f16(values: *const f16) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe {
            [
                _mm256_cvtph_ps(_mm_loadu_si128(values.cast())),
                _mm256_cvtph_ps(_mm_loadu_si128(values.add(8).cast())),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_f32(values: *const f32) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe { [_mm256_loadu_ps(values), _mm256_loadu_ps(values.add(8))] }
    }

    #[inline(always)]
    unsafe fn load_i8(values: *const i8) -> [__m256; 2] {
        // SAFETY: see the head of this impl; each half reads eight bytes.
        unsafe {
            [
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(values.cast()))),
                _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(values.add(8).cast()))),
            ]
        }
    }

    #[inline(always)]
    unsafe fn fma(weights: [__m256; 2], input: f32, accumulated: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe {
            let input = _mm256_set1_ps(input);
            [
                _mm256_fmadd_ps(weights[0], input, accumulated[0]),
                _mm256_fmadd_ps(weights[1], input, accumulated[1]),
            ]
        }
    }

    #[inline(always)]
    unsafe fn splat(value: f32) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe { [_mm256_set1_ps(value); 2] }
    }

    #[inline(always)]
    unsafe fn add(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn sub(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn mul(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn div(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn max(a: [__m256; 2], b: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }

    #[inline(always)]
    unsafe fn select_less(a: [__m256; 2], b: [__m256; 2], x: [__m256; 2], y: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe {
            let less = [_mm256_cmp_ps::<_CMP_LT_OQ>(a[0], b[0]), _mm256_cmp_ps::<_CMP_LT_OQ>(a[1], b[1])];
            [_mm256_blendv_ps(y[0], x[0], less[0]), _mm256_blendv_ps(y[1], x[1], less[1])]
        }
    }

    #[inline(always)]
    unsafe fn fma_lanes(a: [__m256; 2], b: [__m256; 2], c: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe { [_mm256_fmadd_ps(a[0], b[0], c[0]), _mm256_fmadd_ps(a[1], b[1], c[1])] }
    }

    #[inline(always)]
    unsafe fn exponent(bits: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe {
            [
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(bits[0]))),
                _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_castps_si256(bits[1]))),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store(floats: [__m256; 2], out: &mut [f32; 16]) {
        // SAFETY: see the head of this impl; `out` is sixteen writable f32.
        unsafe {
            _mm256_storeu_ps(out.as_mut_ptr(), floats[0]);
            _mm256_storeu_ps(out.as_mut_ptr().add(8), floats[1]);
        }
    }

    #[inline(always)]
    unsafe fn max_magnitude(largest: [__m256; 2], x: [__m256; 2]) -> [__m256; 2] {
        // SAFETY: see the head of this impl.
        unsafe {
            let larger = |largest, x| {
                let magnitude = _mm256_castps_si256(_mm256_andnot_ps(_mm256_set1_ps(-0.0), x));
                _mm256_castsi256_ps(_mm256_max_epu32(_mm256_castps_si256(largest), magnitude))
            };
            [larger(largest[0], x[0]), larger(largest[1], x[1])]
        }
    }

    #[inline(always)]
    unsafe fn store_i16(x: [__m256; 2], out: *mut i16) {
        // SAFETY: see the head of this impl; `out` is sixteen writable i16.
        unsafe {
            let integers = |x| {
                let within =
                    _mm256_min_ps(_mm256_max_ps(x, _mm256_set1_ps(-32767.0)), _mm256_set1_ps(32767.0));
                _mm256_cvtps_epi32(within)
            };
            // The pack instruction works on 128-bit halves, so the two middle quarters are swapped.
            let packed = _mm256_packs_epi32(integers(x[0]), integers(x[1]));
            _mm256_storeu_si256(out.cast(), _mm256_permute4x64_epi64::<0b11_01_10_00>(packed));
        }
    }

    #[inline(always)]
    unsafe fn transpose_pairs(
        rows: *const u8,
        row_bytes: usize,
        flipped: u8,
        out: &mut [[[u8; 2]; LANES]; TRANSPOSED_PAIRS],
    ) {
        // SAFETY: see the head of this impl.
        unsafe { x86_transpose::pairs(rows, row_bytes, flipped, out) }
    }

    #[inline(always)]
    unsafe fn prefetch(address: *const u8) {
        // SAFETY: a prefetch never faults, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
    }

    #[inline(always)]
    unsafe fn prefetch_early(address: *const u8) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(address.cast()) }
    }
}
