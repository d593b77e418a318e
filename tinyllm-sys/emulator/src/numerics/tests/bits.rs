//! Bit operations against the manual's definitions, one bit at a time.

use proptest::prelude::*;

use crate::numerics::*;

/// Words with few, many and clustered bits, and any.
fn words() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (any::<u64>(), 0_u32..64).prop_map(|(a, shift)| a >> shift),
        (0_u32..64).prop_map(|shift| 1 << shift),
        (0_u32..64).prop_map(|shift| u64::MAX << shift),
        proptest::sample::select(vec![0, 1, u64::MAX, 1 << 31, 1 << 63, 0x7fff_ffff, u64::MAX >> 1]),
    ]
}

/// Amounts around the widths, and any.
fn amounts() -> impl Strategy<Value = u32> {
    prop_oneof![3 => 0_u32..70, 1 => any::<u32>(), 1 => 250_u32..260]
}

fn bit(a: u64, index: u32) -> u64 {
    (a >> index) & 1
}

/// A position or length, as much as is read of it.
fn read(b: u32, msb: u32) -> u64 {
    u64::from(if msb == 31 { b & 0xff } else { b })
}

/// The manual's `bfe`.
fn bfe(a: u64, b: u32, c: u32, msb: u32, signed: bool) -> u64 {
    let (pos, len, msb) = (read(b, msb), read(c, msb), u64::from(msb));
    let bit = |index| bit(a, index as u32);
    let sign = if !signed || len == 0 { 0 } else { bit((pos + len - 1).min(msb)) };
    (0..=msb).fold(0, |d, i| d | (if i < len && pos + i <= msb { bit(pos + i) } else { sign }) << i)
}

/// The manual's `bfi`.
fn bfi(a: u64, b: u64, c: u32, d: u32, msb: u32) -> u64 {
    let (pos, len, msb) = (read(c, msb), read(d, msb), u64::from(msb));
    let mut f = b;
    let mut i = 0;
    while i < len && pos + i <= msb {
        f = (f & !(1 << (pos + i))) | bit(a, i as u32) << (pos + i);
        i += 1;
    }
    f
}

/// The manual's `bfind`.
fn bfind(a: u64, msb: u32, signed: bool, shiftamt: bool) -> u32 {
    let a = if signed && bit(a, msb) == 1 { !a } else { a };
    match (0..=msb).rev().find(|&i| bit(a, i) == 1) {
        Some(i) => {
            if shiftamt {
                msb - i
            } else {
                i
            }
        }
        None => 0xffff_ffff,
    }
}

/// The manual's `fns`.
fn fns_manual(mask: u32, base: u32, offset: i32) -> u32 {
    if offset == 0 {
        return if (mask >> base) & 1 == 1 { base } else { 0xffff_ffff };
    }
    let mut pos = i64::from(base);
    let mut count = i64::from(offset).abs() - 1;
    let step = if offset > 0 { 1 } else { -1 };
    while (0..32).contains(&pos) {
        if (mask >> pos) & 1 == 1 {
            if count == 0 {
                return pos as u32;
            }
            count -= 1;
        }
        pos += step;
    }
    0xffff_ffff
}

/// The manual's `bmsk`.
fn bmsk(a: u32, b: u32, clamp: bool) -> u32 {
    let shift = |n: u32| (u64::from(u32::MAX) << n) as u32;
    let (a1, b1) = (a & 31, b & 31);
    let position_overflow = clamp && a >= 32;
    let mask0 = if position_overflow { 0 } else { shift(a1) };
    let mask1 = if a1 + b1 >= 32 || position_overflow || (clamp && b >= 32) {
        0
    } else if b1 == 0 {
        u32::MAX
    } else {
        shift(a1 + b1)
    };
    mask0 & !mask1
}

/// `szext` by the manual's prose: an N-bit value, where N of 32 and above is 32 or wraps.
fn szext(a: u32, b: u32, clamp: bool, signed: bool) -> u32 {
    let n = if clamp { b.min(32) } else { b % 32 };
    if n == 0 {
        return 0;
    }
    let modulus = 1_i64 << n;
    let value = i64::from(a) % modulus;
    (if signed && value >= modulus / 2 { value - modulus } else { value }) as u32
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn bit_fields(a in words(), b in words(), pos in amounts(), len in amounts()) {
        prop_assert_eq!(u64::from(bfe_u32(a as u32, pos, len)), bfe(a, pos, len, 31, false));
        prop_assert_eq!(u64::from(bfe_s32(a as i32, pos, len) as u32), bfe(a, pos, len, 31, true));
        prop_assert_eq!(bfe_u64(a, pos, len), bfe(a, pos, len, 63, false));
        prop_assert_eq!(bfe_s64(a as i64, pos, len) as u64, bfe(a, pos, len, 63, true));
        let expected = bfi(a, b & 0xffff_ffff, pos, len, 31);
        prop_assert_eq!(u64::from(bfi_b32(a as u32, b as u32, pos, len)), expected);
        prop_assert_eq!(bfi_b64(a, b, pos, len), bfi(a, b, pos, len, 63));
    }

    #[test]
    fn finds(a in words(), shiftamt: bool) {
        prop_assert_eq!(bfind_u32(a as u32, shiftamt), bfind(a, 31, false, shiftamt));
        prop_assert_eq!(bfind_s32(a as i32, shiftamt), bfind(a, 31, true, shiftamt));
        prop_assert_eq!(bfind_u64(a, shiftamt), bfind(a, 63, false, shiftamt));
        prop_assert_eq!(bfind_s64(a as i64, shiftamt), bfind(a, 63, true, shiftamt));
    }

    #[test]
    fn counts(a in words()) {
        let word = a & 0xffff_ffff;
        let highest = |a: u64, width: u32| (0..width).take_while(|i| bit(a, width - 1 - i) == 0).count() as u32;
        prop_assert_eq!((clz_b32(a as u32), clz_b64(a)), (highest(word, 32), highest(a, 64)));
        let ones = |a: u64| (0..64).map(|i| bit(a, i)).sum::<u64>() as u32;
        prop_assert_eq!((popc_b32(a as u32), popc_b64(a)), (ones(word), ones(a)));
        let reverse = |a: u64, width: u32| (0..width).fold(0, |d, i| d | bit(a, i) << (width - 1 - i));
        prop_assert_eq!(u64::from(brev_b32(a as u32)), reverse(a, 32));
        prop_assert_eq!(brev_b64(a), reverse(a, 64));
    }

    #[test]
    fn shifts(a in words(), n in amounts()) {
        // Wide enough that nothing shifts out; amounts beyond that are as good as 100.
        let by = n.min(100);
        let left = |width: u32| if by >= width { 0 } else { (u128::from(a) << by) & ((1 << width) - 1) };
        prop_assert_eq!(u128::from(shl_b16(a as u16, n)), left(16));
        prop_assert_eq!(u128::from(shl_b32(a as u32, n)), left(32));
        prop_assert_eq!(u128::from(shl_b64(a, n)), left(64));
        prop_assert_eq!(u128::from(shr_u16(a as u16, n)), u128::from(a as u16) >> by);
        prop_assert_eq!(u128::from(shr_u32(a as u32, n)), u128::from(a as u32) >> by);
        prop_assert_eq!(u128::from(shr_u64(a, n)), u128::from(a) >> by);
        prop_assert_eq!(i128::from(shr_s16(a as i16, n)), i128::from(a as i16) >> by);
        prop_assert_eq!(i128::from(shr_s32(a as i32, n)), i128::from(a as i32) >> by);
        prop_assert_eq!(i128::from(shr_s64(a as i64, n)), i128::from(a as i64) >> by);
    }

    #[test]
    fn funnels(a: u32, b: u32, c in amounts()) {
        // The manual's formula, with shifts by 32 giving 0.
        let shl = |x: u32, n: u32| (u64::from(x) << n) as u32;
        let shr = |x: u32, n: u32| (u64::from(x) >> n) as u32;
        for (n, left, right) in
            [(c & 31, shf_l_wrap(a, b, c), shf_r_wrap(a, b, c)), (c.min(32), shf_l_clamp(a, b, c), shf_r_clamp(a, b, c))]
        {
            prop_assert_eq!(left, shl(b, n) | shr(a, 32 - n));
            prop_assert_eq!(right, shl(b, 32 - n) | shr(a, n));
        }
    }

    #[test]
    fn logic(a: u32, b: u32, c: u32, table in 0_u32..256) {
        let expected = (0..32).fold(0_u32, |d, i| {
            let index = ((a >> i) & 1) << 2 | ((b >> i) & 1) << 1 | ((c >> i) & 1);
            d | ((table >> index) & 1) << i
        });
        prop_assert_eq!(lop3(a, b, c, table), expected);
        // The manual derives a table by applying the function to these three constants.
        let f = |x: u32, y: u32, z: u32| (x & y) ^ !z;
        prop_assert_eq!(lop3(a, b, c, f(0xf0, 0xcc, 0xaa) & 0xff), f(a, b, c));
    }

    #[test]
    fn permutations(a: u32, b: u32, c: u32) {
        let bytes: Vec<u8> = a.to_le_bytes().into_iter().chain(b.to_le_bytes()).collect();
        let expected = (0..4).map(|i| {
            let selector = (c >> (4 * i)) & 0xf;
            let byte = bytes[(selector & 7) as usize];
            if selector < 8 { byte } else if byte >= 0x80 { 0xff } else { 0 }
        });
        let expected: Vec<u8> = expected.collect();
        prop_assert_eq!(prmt(a, b, c, PermuteMode::Default).to_le_bytes().to_vec(), expected);
    }

    #[test]
    fn nth_set_bits(mask in words(), base in 0_u32..32, offset in prop_oneof![-34_i32..35, any::<i32>()]) {
        prop_assert_eq!(fns(mask as u32, base, offset), fns_manual(mask as u32, base, offset));
    }

    #[test]
    fn masks_and_extensions(a in amounts(), b in amounts(), value: u32) {
        prop_assert_eq!((bmsk_clamp(a, b), bmsk_wrap(a, b)), (bmsk(a, b, true), bmsk(a, b, false)));
        prop_assert_eq!(szext_clamp_u32(value, b), szext(value, b, true, false));
        prop_assert_eq!(szext_wrap_u32(value, b), szext(value, b, false, false));
        prop_assert_eq!(szext_clamp_s32(value as i32, b) as u32, szext(value, b, true, true));
        prop_assert_eq!(szext_wrap_s32(value as i32, b) as u32, szext(value, b, false, true));
    }
}

/// The manual's table of the special modes: the source byte of each result byte, most significant first.
#[test]
fn special_permutations() {
    use PermuteMode::{B4e, Ecl, Ecr, F4e, Rc8, Rc16};
    let table = [
        (F4e, [[3, 2, 1, 0], [4, 3, 2, 1], [5, 4, 3, 2], [6, 5, 4, 3]]),
        (B4e, [[5, 6, 7, 0], [6, 7, 0, 1], [7, 0, 1, 2], [0, 1, 2, 3]]),
        (Rc8, [[0, 0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2], [3, 3, 3, 3]]),
        (Ecl, [[3, 2, 1, 0], [3, 2, 1, 1], [3, 2, 2, 2], [3, 3, 3, 3]]),
        (Ecr, [[0, 0, 0, 0], [1, 1, 1, 0], [2, 2, 1, 0], [3, 2, 1, 0]]),
        (Rc16, [[1, 0, 1, 0], [3, 2, 3, 2], [1, 0, 1, 0], [3, 2, 3, 2]]),
    ];
    // Each byte of the source names its own position.
    for (mode, rows) in table {
        for (selector, row) in rows.into_iter().enumerate() {
            let expected = u32::from_be_bytes(row);
            assert_eq!(prmt(0x0302_0100, 0x0706_0504, selector as u32 | 0xfffc, mode), expected, "{mode:?}");
        }
    }
}

/// The manual's examples of `fns`, `bmsk` and `szext`.
#[test]
fn examples_from_the_manual() {
    assert_eq!(fns(0xaaaa_aaaa, 3, 1), 3);
    assert_eq!(fns(0xaaaa_aaaa, 3, -1), 3);
    assert_eq!(fns(0xaaaa_aaaa, 2, 1), 3);
    assert_eq!(fns(0xaaaa_aaaa, 2, -1), 1);
    assert_eq!(bmsk_wrap(1, 2), 0x0000_0006);
    assert_eq!(szext_wrap_u32(0xffff_ffff, 0), 0);
    assert_eq!(fns(u32::MAX, 32, 1), u32::MAX);
}
