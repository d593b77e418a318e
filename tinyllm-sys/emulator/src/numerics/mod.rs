//! What instructions compute, one value at a time: PTX's arithmetic, exactly.
//!
//! Rounding to nearest is the processor's own; the other directions are `rustc_apfloat`'s. A result that is NaN is the one that
//! GPUs give, whatever the inputs' bits.

mod approximate;
mod convert;
mod double;
mod half;
mod integer;
mod mode;
mod single;

pub use approximate::{
    cos_approx, div_approx, div_full, ex2_approx, lg2_approx, rcp_approx, rcp_approx_ftz_f64, rsqrt_approx,
    rsqrt_approx_f64, sin_approx, sqrt_approx, tanh_approx,
};
pub use convert::{
    f32_adjust, f32_round_integral, f32_to_f64, f32_to_tf32_rna, f64_round_integral, f64_to_f32,
    float_to_integer, half_from_f64, integer_to_f32, integer_to_f64, integer_to_half_bits,
};
pub use double::{
    f64_abs, f64_add, f64_copysign, f64_div, f64_fma, f64_max, f64_min, f64_mul, f64_neg, f64_rcp, f64_sqrt,
    f64_sub, testp_f64,
};
pub use half::{
    Bf16, F16, HalfFloat, half_abs, half_add, half_ex2, half_flush, half_fma, half_from_f32,
    half_from_f32_rn, half_max, half_min, half_mul, half_neg, half_sub, half_tanh, half_to_f32,
};
pub use integer::{
    PermuteMode, bfe_s32, bfe_s64, bfe_u32, bfe_u64, bfi_b32, bfi_b64, bfind_s32, bfind_s64, bfind_u32,
    bfind_u64, bmsk_clamp, bmsk_wrap, div_s16, div_s32, div_s64, div_u16, div_u32, div_u64, dp2a_hi, dp2a_lo,
    dp4a, fns, lop3, mad_sat_s32, mul_hi_s16, mul_hi_s32, mul_hi_s64, mul_hi_u16, mul_hi_u32, mul_hi_u64,
    mul24_hi_s32, mul24_hi_u32, mul24_lo_s32, mul24_lo_u32, prmt, rem_s16, rem_s32, rem_s64, rem_u16,
    rem_u32, rem_u64, shf_l_clamp, shf_l_wrap, shf_r_clamp, shf_r_wrap, shl_b16, shl_b32, shl_b64, shr_s16,
    shr_s32, shr_s64, shr_u16, shr_u32, shr_u64, szext_clamp_s32, szext_clamp_u32, szext_wrap_s32,
    szext_wrap_u32,
};
pub use mode::{Mode, Rounding, TestProperty};
pub use single::{
    f32_abs, f32_add, f32_add_rn, f32_copysign, f32_div, f32_flush, f32_fma, f32_fma_rn, f32_max, f32_min,
    f32_mul, f32_mul_rn, f32_neg, f32_rcp, f32_sqrt, f32_sub, f32_sub_rn, testp_f32,
};
