//! Integers: quotients, products' halves, fields, shifts, permutations.

/// Quotients and remainders as GPUs give them: a quotient by 0 is all ones, its remainder the dividend; the one quotient that
/// overflows wraps.
macro_rules! division {
    ($($div:ident $rem:ident $ty:ty, $ones:expr;)*) => {
        $(
            /// `a / b`, towards 0; all ones where `b` is 0.
            #[inline(always)]
            pub fn $div(a: $ty, b: $ty) -> $ty {
                if b == 0 { $ones } else { a.wrapping_div(b) }
            }

            /// `a - b * (a / b)`; `a` where `b` is 0.
            #[inline(always)]
            pub fn $rem(a: $ty, b: $ty) -> $ty {
                if b == 0 { a } else { a.wrapping_rem(b) }
            }
        )*
    };
}

division! {
    div_u16 rem_u16 u16, u16::MAX;
    div_s16 rem_s16 i16, -1;
    div_u32 rem_u32 u32, u32::MAX;
    div_s32 rem_s32 i32, -1;
    div_u64 rem_u64 u64, u64::MAX;
    div_s64 rem_s64 i64, -1;
}

/// Upper halves of products.
macro_rules! high {
    ($($name:ident $ty:ty, $wide:ty, $bits:literal;)*) => {
        $(
            /// The upper half of `a * b`.
            #[inline(always)]
            pub fn $name(a: $ty, b: $ty) -> $ty {
                ((<$wide>::from(a) * <$wide>::from(b)) >> $bits) as $ty
            }
        )*
    };
}

high! {
    mul_hi_u16 u16, u32, 16;
    mul_hi_s16 i16, i32, 16;
    mul_hi_u32 u32, u64, 32;
    mul_hi_s32 i32, i64, 32;
    mul_hi_u64 u64, u128, 64;
    mul_hi_s64 i64, i128, 64;
}

/// Bits 31 to 0 of the 48 of a product of 24-bit numbers.
#[inline(always)]
pub fn mul24_lo_u32(a: u32, b: u32) -> u32 {
    (a & 0xff_ffff).wrapping_mul(b & 0xff_ffff)
}

/// Bits 47 to 16 of them.
#[inline(always)]
pub fn mul24_hi_u32(a: u32, b: u32) -> u32 {
    ((u64::from(a & 0xff_ffff) * u64::from(b & 0xff_ffff)) >> 16) as u32
}

/// Bits 31 to 0 of the 48 of a product of signed 24-bit numbers.
#[inline(always)]
pub fn mul24_lo_s32(a: i32, b: i32) -> i32 {
    (a << 8 >> 8).wrapping_mul(b << 8 >> 8)
}

/// Bits 47 to 16 of them.
#[inline(always)]
pub fn mul24_hi_s32(a: i32, b: i32) -> i32 {
    ((i64::from(a << 8 >> 8) * i64::from(b << 8 >> 8)) >> 16) as i32
}

/// The upper half of `a * b`, plus `c`, stopped at the ends of the range.
#[inline(always)]
pub fn mad_sat_s32(a: i32, b: i32, c: i32) -> i32 {
    mul_hi_s32(a, b).saturating_add(c)
}

/// Shifts by more than the width leave nothing, or the sign.
macro_rules! shifts {
    ($($name:ident $ty:ty, $bits:literal, |$a:ident, $n:ident| $inside:expr, $outside:expr;)*) => {
        $(
            /// Shifts `a` by `n`; distances beyond its bits count as all of them.
            #[inline(always)]
            pub fn $name($a: $ty, $n: u32) -> $ty {
                if $n < $bits { $inside } else { $outside }
            }
        )*
    };
}

shifts! {
    shl_b16 u16, 16, |a, n| a << n, 0;
    shl_b32 u32, 32, |a, n| a << n, 0;
    shl_b64 u64, 64, |a, n| a << n, 0;
    shr_u16 u16, 16, |a, n| a >> n, 0;
    shr_u32 u32, 32, |a, n| a >> n, 0;
    shr_u64 u64, 64, |a, n| a >> n, 0;
    shr_s16 i16, 16, |a, n| a >> n, a >> 15;
    shr_s32 i32, 32, |a, n| a >> n, a >> 31;
    shr_s64 i64, 64, |a, n| a >> n, a >> 63;
}

#[inline(always)]
fn pair(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

/// The upper word of `b:a` shifted left, by `c` modulo 32.
#[inline(always)]
pub fn shf_l_wrap(a: u32, b: u32, c: u32) -> u32 {
    ((pair(a, b) << (c & 31)) >> 32) as u32
}

/// The upper word of `b:a` shifted left, by at most 32.
#[inline(always)]
pub fn shf_l_clamp(a: u32, b: u32, c: u32) -> u32 {
    ((pair(a, b) << c.min(32)) >> 32) as u32
}

/// The lower word of `b:a` shifted right, by `c` modulo 32.
#[inline(always)]
pub fn shf_r_wrap(a: u32, b: u32, c: u32) -> u32 {
    (pair(a, b) >> (c & 31)) as u32
}

/// The lower word of `b:a` shifted right, by at most 32.
#[inline(always)]
pub fn shf_r_clamp(a: u32, b: u32, c: u32) -> u32 {
    (pair(a, b) >> c.min(32)) as u32
}

/// A field of `len` bits from `pos`; what is beyond the word is 0.
#[inline(always)]
pub fn bfe_u32(a: u32, pos: u32, len: u32) -> u32 {
    bfe_u64(u64::from(a), pos, len) as u32
}

/// A field of `len` bits from `pos`; what is beyond the word is 0.
#[inline(always)]
pub fn bfe_u64(a: u64, pos: u32, len: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    let mask = if len >= 64 { u64::MAX } else { (1 << len) - 1 };
    shr_u64(a, pos) & mask
}

/// A field with its sign: the bit at the field's end, or the word's last where the field goes beyond it.
#[inline(always)]
pub fn bfe_s32(a: i32, pos: u32, len: u32) -> i32 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if len == 0 {
        return 0;
    }
    // As 64 bits with the sign in all the upper ones, the field is never beyond them.
    let shifted = shr_s64(i64::from(a), pos);
    let length = len.min(64);
    ((shifted << (64 - length)) >> (64 - length)) as i32
}

/// A field with its sign; as [`bfe_s32`].
#[inline(always)]
pub fn bfe_s64(a: i64, pos: u32, len: u32) -> i64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    if len == 0 {
        return 0;
    }
    let shifted = shr_s64(a, pos);
    let length = len.min(64);
    (shifted << (64 - length)) >> (64 - length)
}

/// `b` with the lowest `len` bits of `a` from `pos` on.
#[inline(always)]
pub fn bfi_b32(a: u32, b: u32, pos: u32, len: u32) -> u32 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    let field = if len >= 32 { u32::MAX } else { (1 << len) - 1 };
    let mask = shl_b32(field, pos);
    b & !mask | shl_b32(a, pos) & mask
}

/// `b` with the lowest `len` bits of `a` from `pos` on.
#[inline(always)]
pub fn bfi_b64(a: u64, b: u64, pos: u32, len: u32) -> u64 {
    let (pos, len) = (pos & 0xff, len & 0xff);
    let field = if len >= 64 { u64::MAX } else { (1 << len) - 1 };
    let mask = shl_b64(field, pos);
    b & !mask | shl_b64(a, pos) & mask
}

/// Place of the highest bit that is set, or with `shiftamt` how far it is from the top; all ones where there is none.
#[inline(always)]
pub fn bfind_u32(a: u32, shiftamt: bool) -> u32 {
    match (a, shiftamt) {
        (0, _) => u32::MAX,
        (a, true) => a.leading_zeros(),
        (a, false) => 31 - a.leading_zeros(),
    }
}

/// The same of the highest bit that differs from the sign.
#[inline(always)]
pub fn bfind_s32(a: i32, shiftamt: bool) -> u32 {
    bfind_u32((a ^ (a >> 31)) as u32, shiftamt)
}

/// As [`bfind_u32`].
#[inline(always)]
pub fn bfind_u64(a: u64, shiftamt: bool) -> u32 {
    match (a, shiftamt) {
        (0, _) => u32::MAX,
        (a, true) => a.leading_zeros(),
        (a, false) => 63 - a.leading_zeros(),
    }
}

/// As [`bfind_s32`].
#[inline(always)]
pub fn bfind_s64(a: i64, shiftamt: bool) -> u32 {
    bfind_u64((a ^ (a >> 63)) as u64, shiftamt)
}

/// How `prmt` reads its selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PermuteMode {
    /// Four selectors of four bits, the fourth for the sign.
    Default,
    /// Four bytes forward from one.
    F4e,
    /// Four bytes backward from one.
    B4e,
    /// One byte four times.
    Rc8,
    /// Bytes clamped from the left.
    Ecl,
    /// Bytes clamped from the right.
    Ecr,
    /// One half twice.
    Rc16,
}

/// Bytes of `b:a`, chosen by `c`.
#[inline(always)]
pub fn prmt(a: u32, b: u32, c: u32, mode: PermuteMode) -> u32 {
    let bytes = pair(a, b);
    let n = c & 3;
    let chosen = |index: u32| -> (u32, bool) {
        match mode {
            PermuteMode::Default => {
                let selector = c >> (4 * index);
                (selector & 7, selector & 8 != 0)
            }
            PermuteMode::F4e => (n + index, false),
            PermuteMode::B4e => ((n + 8 - index) & 7, false),
            PermuteMode::Rc8 => (n, false),
            PermuteMode::Ecl => (index.max(n), false),
            PermuteMode::Ecr => (index.min(n), false),
            PermuteMode::Rc16 => ((c & 1) * 2 + (index & 1), false),
        }
    };
    let mut result = 0;
    for index in 0..4 {
        let (byte, sign) = chosen(index);
        let value = (bytes >> (8 * byte)) as u8;
        let value = if sign { ((value as i8) >> 7) as u8 } else { value };
        result |= u32::from(value) << (8 * index);
    }
    result
}

/// Any function of three bits, by its truth table.
#[inline(always)]
pub fn lop3(a: u32, b: u32, c: u32, table: u32) -> u32 {
    let pick = |index: u32| 0u32.wrapping_sub(table >> index & 1);
    (pick(0) & !a & !b & !c)
        | (pick(1) & !a & !b & c)
        | (pick(2) & !a & b & !c)
        | (pick(3) & !a & b & c)
        | (pick(4) & a & !b & !c)
        | (pick(5) & a & !b & c)
        | (pick(6) & a & b & !c)
        | (pick(7) & a & b & c)
}

#[inline(always)]
fn byte(word: u32, index: u32, signed: bool) -> i32 {
    let byte = (word >> (8 * index)) as u8;
    if signed { i32::from(byte as i8) } else { i32::from(byte) }
}

/// Four products of bytes, and `c`.
#[inline(always)]
pub fn dp4a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    (0..4)
        .fold(c, |sum, index| sum.wrapping_add((byte(a, index, a_signed) * byte(b, index, b_signed)) as u32))
}

#[inline(always)]
fn dp2a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool, first: u32) -> u32 {
    let half = |index: u32| {
        let half = (a >> (16 * index)) as u16;
        if a_signed { i32::from(half as i16) } else { i32::from(half) }
    };
    (0..2).fold(c, |sum, index| sum.wrapping_add((half(index) * byte(b, first + index, b_signed)) as u32))
}

/// Two products of halves of `a` and the lower two bytes of `b`, and `c`.
#[inline(always)]
pub fn dp2a_lo(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    dp2a(a, b, c, a_signed, b_signed, 0)
}

/// The same with the upper two bytes of `b`.
#[inline(always)]
pub fn dp2a_hi(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    dp2a(a, b, c, a_signed, b_signed, 2)
}

/// Place of the `offset`-th bit that is set, counted from `base`, downwards where it is negative; all ones where there is none.
pub fn fns(mask: u32, base: u32, offset: i32) -> u32 {
    let is_set = |place: u32| mask >> place & 1 == 1;
    let base = base & 31;
    if offset == 0 {
        return if is_set(base) { base } else { u32::MAX };
    }
    let nth = offset.unsigned_abs() as usize - 1;
    let found = match offset > 0 {
        true => (base..32).filter(|place| is_set(*place)).nth(nth),
        false => (0..=base).rev().filter(|place| is_set(*place)).nth(nth),
    };
    found.unwrap_or(u32::MAX)
}

/// `b` ones from `a` on; both at most 32.
#[inline(always)]
pub fn bmsk_clamp(a: u32, b: u32) -> u32 {
    let ones = if b >= 32 { u32::MAX } else { (1 << b) - 1 };
    shl_b32(ones, a)
}

/// `b` ones from `a` on; both modulo 32.
#[inline(always)]
pub fn bmsk_wrap(a: u32, b: u32) -> u32 {
    ((1u32 << (b & 31)) - 1) << (a & 31)
}

/// The lowest `b` bits, at most 32.
#[inline(always)]
pub fn szext_clamp_u32(a: u32, b: u32) -> u32 {
    if b >= 32 { a } else { a & ((1 << b) - 1) }
}

/// The lowest `b` bits, modulo 32.
#[inline(always)]
pub fn szext_wrap_u32(a: u32, b: u32) -> u32 {
    szext_clamp_u32(a, b & 31)
}

/// The lowest `b` bits with their sign, at most 32.
#[inline(always)]
pub fn szext_clamp_s32(a: i32, b: u32) -> i32 {
    match b {
        0 => 0,
        1..=31 => a << (32 - b) >> (32 - b),
        _ => a,
    }
}

/// The lowest `b` bits with their sign, modulo 32.
#[inline(always)]
pub fn szext_wrap_s32(a: i32, b: u32) -> i32 {
    szext_clamp_s32(a, b & 31)
}
