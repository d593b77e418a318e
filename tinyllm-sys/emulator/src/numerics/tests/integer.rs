//! Integer arithmetic against the same in 128 bits.

use proptest::prelude::*;

use crate::numerics::*;

fn words() -> impl Strategy<Value = u64> {
    let edges = vec![
        0,
        1,
        2,
        u64::MAX,
        1 << 63,
        u64::MAX >> 1,
        0x8000_0000,
        0x7fff_ffff,
        0x8000,
        0x7fff,
        0xffff_ffff,
    ];
    prop_oneof![
        3 => any::<u64>(),
        1 => (any::<u64>(), 0_u32..64).prop_map(|(a, n)| a >> n),
        2 => proptest::sample::select(edges),
    ]
}

/// Truncated division in 128 bits, with the documented results for a zero divisor.
fn divide(a: i128, b: i128) -> (i128, i128) {
    if b == 0 { (-1, -1) } else { (a / b, a % b) }
}

macro_rules! check_width {
    ($a:ident, $b:ident, $c:ident, $u:ty, $s:ty: $mul_u:ident $mul_s:ident $sad_u:ident $sad_s:ident
     $div_u:ident $div_s:ident $rem_u:ident $rem_s:ident) => {
        let (x, y, z) = ($a as $u, $b as $u, $c as $u);
        let (p, q, r) = ($a as $s, $b as $s, $c as $s);
        // Products of two 64-bit numbers fit 128 bits when unsigned.
        prop_assert_eq!($mul_u(x, y), ((u128::from(x) * u128::from(y)) >> <$u>::BITS) as $u);
        prop_assert_eq!($mul_s(p, q), ((i128::from(p) * i128::from(q)) >> <$s>::BITS) as $s);
        prop_assert_eq!($sad_u(x, y, z), (i128::from(z) + (i128::from(x) - i128::from(y)).abs()) as $u);
        prop_assert_eq!($sad_s(p, q, r), (i128::from(r) + (i128::from(p) - i128::from(q)).abs()) as $s);
        let (quotient, remainder) = divide(i128::from(x), i128::from(y));
        prop_assert_eq!(($div_u(x, y), $rem_u(x, y)), (quotient as $u, remainder as $u));
        let (quotient, remainder) = divide(i128::from(p), i128::from(q));
        prop_assert_eq!(($div_s(p, q), $rem_s(p, q)), (quotient as $s, remainder as $s));
    };
}

/// Element `index` of `width` bits, sign- or zero-extended by arithmetic.
fn element(word: u32, index: u32, width: u32, signed: bool) -> i128 {
    let value = i128::from(word) / (1 << (width * index)) % (1 << width);
    if signed && value >= 1 << (width - 1) { value - (1 << width) } else { value }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn width_16(a in words(), b in words(), c in words()) {
        check_width!(a, b, c, u16, i16: mul_hi_u16 mul_hi_s16 sad_u16 sad_s16 div_u16 div_s16 rem_u16 rem_s16);
    }

    #[test]
    fn width_32(a in words(), b in words(), c in words()) {
        check_width!(a, b, c, u32, i32: mul_hi_u32 mul_hi_s32 sad_u32 sad_s32 div_u32 div_s32 rem_u32 rem_s32);
    }

    #[test]
    fn width_64(a in words(), b in words(), c in words()) {
        check_width!(a, b, c, u64, i64: mul_hi_u64 mul_hi_s64 sad_u64 sad_s64 div_u64 div_s64 rem_u64 rem_s64);
    }

    #[test]
    fn products_of_24_bits(a in words(), b in words()) {
        let (a, b) = (a as u32, b as u32);
        let product = element(a, 0, 24, false) * element(b, 0, 24, false);
        prop_assert_eq!((mul24_lo_u32(a, b), mul24_hi_u32(a, b)), (product as u32, (product >> 16) as u32));
        let product = element(a, 0, 24, true) * element(b, 0, 24, true);
        let (a, b) = (a as i32, b as i32);
        prop_assert_eq!((mul24_lo_s32(a, b), mul24_hi_s32(a, b)), (product as i32, (product >> 16) as i32));
    }

    #[test]
    fn dot_products(a in words(), b in words(), c in words(), a_signed: bool, b_signed: bool) {
        let (a, b, c) = (a as u32, b as u32, c as u32);
        let four: i128 =
            (0..4).map(|i| element(a, i, 8, a_signed) * element(b, i, 8, b_signed)).sum();
        prop_assert_eq!(dp4a(a, b, c, a_signed, b_signed), (i128::from(c) + four) as u32);
        let two = |first: u32| -> i128 {
            (0..2).map(|i| element(a, i, 16, a_signed) * element(b, first + i, 8, b_signed)).sum()
        };
        prop_assert_eq!(dp2a_lo(a, b, c, a_signed, b_signed), (i128::from(c) + two(0)) as u32);
        prop_assert_eq!(dp2a_hi(a, b, c, a_signed, b_signed), (i128::from(c) + two(2)) as u32);
    }

    #[test]
    fn saturation(a in words(), b in words(), c in words()) {
        let (a, b, c) = (a as i32, b as i32, c as i32);
        let wide = i128::from;
        let clamp = |value: i128| value.clamp(wide(i32::MIN), wide(i32::MAX)) as i32;
        prop_assert_eq!(add_sat_s32(a, b), clamp(wide(a) + wide(b)));
        prop_assert_eq!(sub_sat_s32(a, b), clamp(wide(a) - wide(b)));
        prop_assert_eq!(mad_sat_s32(a, b, c), clamp(((wide(a) * wide(b)) >> 32) + wide(c)));
    }
}

#[test]
fn smallest_by_minus_one_wraps() {
    assert_eq!((div_s32(i32::MIN, -1), rem_s32(i32::MIN, -1)), (i32::MIN, 0));
    assert_eq!((div_s64(i64::MIN, -1), rem_s64(i64::MIN, -1)), (i64::MIN, 0));
    assert_eq!((div_s16(i16::MIN, -1), rem_s16(i16::MIN, -1)), (i16::MIN, 0));
}
