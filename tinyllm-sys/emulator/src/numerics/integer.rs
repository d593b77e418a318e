//! Integer arithmetic that the language's own operators do not spell.

macro_rules! high_products {
    ($($name:ident: $narrow:ty as $wide:ty;)*) => {$(
        /// The upper half of the full product.
        #[inline(always)]
        #[must_use]
        pub fn $name(a: $narrow, b: $narrow) -> $narrow {
            ((<$wide>::from(a) * <$wide>::from(b)) >> <$narrow>::BITS) as $narrow
        }
    )*};
}

high_products! {
    mul_hi_u16: u16 as u32;
    mul_hi_s16: i16 as i32;
    mul_hi_u32: u32 as u64;
    mul_hi_s32: i32 as i64;
    mul_hi_u64: u64 as u128;
    mul_hi_s64: i64 as i128;
}

#[inline(always)]
fn low_24_u(a: u32) -> u64 {
    u64::from(a & 0x00ff_ffff)
}

#[inline(always)]
fn low_24_s(a: i32) -> i64 {
    i64::from((a << 8) >> 8)
}

/// `mul24.lo.u32`: bits 31..0 of the product of the low 24 bits.
#[inline(always)]
#[must_use]
pub fn mul24_lo_u32(a: u32, b: u32) -> u32 {
    (low_24_u(a) * low_24_u(b)) as u32
}

/// `mul24.hi.u32`: bits 47..16 of the product of the low 24 bits.
#[inline(always)]
#[must_use]
pub fn mul24_hi_u32(a: u32, b: u32) -> u32 {
    ((low_24_u(a) * low_24_u(b)) >> 16) as u32
}

/// `mul24.lo.s32`: bits 31..0 of the product of the low 24 bits, which are signed.
#[inline(always)]
#[must_use]
pub fn mul24_lo_s32(a: i32, b: i32) -> i32 {
    (low_24_s(a) * low_24_s(b)) as i32
}

/// `mul24.hi.s32`: bits 47..16 of the product of the low 24 bits, which are signed.
#[inline(always)]
#[must_use]
pub fn mul24_hi_s32(a: i32, b: i32) -> i32 {
    ((low_24_s(a) * low_24_s(b)) >> 16) as i32
}

macro_rules! absolute_differences {
    ($($name:ident: $type:ty;)*) => {$(
        /// The absolute difference of `a` and `b` added to `c`, wrapping.
        #[inline(always)]
        #[must_use]
        pub fn $name(a: $type, b: $type, c: $type) -> $type {
            c.wrapping_add(a.abs_diff(b) as $type)
        }
    )*};
}

absolute_differences! {
    sad_u16: u16;
    sad_u32: u32;
    sad_u64: u64;
    sad_s16: i16;
    sad_s32: i32;
    sad_s64: i64;
}

macro_rules! unsigned_divisions {
    ($($div:ident, $rem:ident: $type:ty;)*) => {$(
        /// The quotient. The manual leaves division by zero unspecified: here it gives all ones, as Hopper does.
        #[inline(always)]
        #[must_use]
        pub fn $div(a: $type, b: $type) -> $type {
            a.checked_div(b).unwrap_or(<$type>::MAX)
        }

        /// The remainder; by zero all ones too.
        #[inline(always)]
        #[must_use]
        pub fn $rem(a: $type, b: $type) -> $type {
            a.checked_rem(b).unwrap_or(<$type>::MAX)
        }
    )*};
}

unsigned_divisions! {
    div_u16, rem_u16: u16;
    div_u32, rem_u32: u32;
    div_u64, rem_u64: u64;
}

macro_rules! signed_divisions {
    ($($div:ident, $rem:ident: $type:ty;)*) => {$(
        /// The quotient, truncated. The smallest number by -1 wraps to itself. The manual leaves division by zero
        /// unspecified: here it gives -1, as Hopper does.
        #[inline(always)]
        #[must_use]
        pub fn $div(a: $type, b: $type) -> $type {
            if b == 0 { -1 } else { a.wrapping_div(b) }
        }

        /// The remainder with the sign of `a`; by zero -1 too.
        #[inline(always)]
        #[must_use]
        pub fn $rem(a: $type, b: $type) -> $type {
            if b == 0 { -1 } else { a.wrapping_rem(b) }
        }
    )*};
}

signed_divisions! {
    div_s16, rem_s16: i16;
    div_s32, rem_s32: i32;
    div_s64, rem_s64: i64;
}

/// Byte `index` of `word`, sign- or zero-extended.
#[inline(always)]
fn byte(word: u32, index: usize, signed: bool) -> i32 {
    let value = word.to_le_bytes()[index];
    if signed { i32::from(value.cast_signed()) } else { i32::from(value) }
}

/// 16-bit half `index` of `word`, sign- or zero-extended.
#[inline(always)]
fn half_word(word: u32, index: u32, signed: bool) -> i32 {
    let value = (word >> (16 * index)) as u16;
    if signed { i32::from(value.cast_signed()) } else { i32::from(value) }
}

/// `dp4a`: the dot product of four bytes, added to `c`, wrapping.
#[inline(always)]
#[must_use]
pub fn dp4a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    (0..4).fold(c, |sum, index| {
        let product = byte(a, index, a_signed) * byte(b, index, b_signed);
        sum.wrapping_add(product.cast_unsigned())
    })
}

#[inline(always)]
fn dp2a(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool, first: usize) -> u32 {
    (0..2).fold(c, |sum, index| {
        let product = half_word(a, index, a_signed) * byte(b, first + index as usize, b_signed);
        sum.wrapping_add(product.cast_unsigned())
    })
}

/// `dp2a.lo`: the dot product of both halves of `a` with bytes 0 and 1 of `b`, added to `c`, wrapping.
#[inline(always)]
#[must_use]
pub fn dp2a_lo(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    dp2a(a, b, c, a_signed, b_signed, 0)
}

/// `dp2a.hi`: the dot product of both halves of `a` with bytes 2 and 3 of `b`, added to `c`, wrapping.
#[inline(always)]
#[must_use]
pub fn dp2a_hi(a: u32, b: u32, c: u32, a_signed: bool, b_signed: bool) -> u32 {
    dp2a(a, b, c, a_signed, b_signed, 2)
}

/// `add.sat.s32`: the sum, clamped.
#[inline(always)]
#[must_use]
pub fn add_sat_s32(a: i32, b: i32) -> i32 {
    a.saturating_add(b)
}

/// `sub.sat.s32`: the difference, clamped.
#[inline(always)]
#[must_use]
pub fn sub_sat_s32(a: i32, b: i32) -> i32 {
    a.saturating_sub(b)
}

/// `mad.hi.sat.s32`: the upper half of `a * b`, plus `c`, clamped.
#[inline(always)]
#[must_use]
pub fn mad_sat_s32(a: i32, b: i32, c: i32) -> i32 {
    mul_hi_s32(a, b).saturating_add(c)
}
