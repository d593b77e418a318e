//! Shifts, bit fields, permutations and counts.

/// How `prmt` reads its selector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum PermuteMode {
    /// Four selectors of four bits; the top bit of each replicates the byte's sign.
    #[default]
    Default,
    /// Forward four extract.
    F4e,
    /// Backward four extract.
    B4e,
    /// Replicate one byte.
    Rc8,
    /// Edge clamp left.
    Ecl,
    /// Edge clamp right.
    Ecr,
    /// Replicate one 16-bit half.
    Rc16,
}

/// `prmt.b32`: four bytes of `{b, a}`, picked by the selector `c`.
#[inline(always)]
#[must_use]
pub fn prmt(a: u32, b: u32, c: u32, mode: PermuteMode) -> u32 {
    // The manual's table, one selector for each value of c's low two bits.
    let selectors = match mode {
        PermuteMode::Default => return permute(a, b, c),
        PermuteMode::F4e => [0x3210, 0x4321, 0x5432, 0x6543],
        PermuteMode::B4e => [0x5670, 0x6701, 0x7012, 0x0123],
        PermuteMode::Rc8 => [0x0000, 0x1111, 0x2222, 0x3333],
        PermuteMode::Ecl => [0x3210, 0x3211, 0x3222, 0x3333],
        PermuteMode::Ecr => [0x0000, 0x1110, 0x2210, 0x3210],
        PermuteMode::Rc16 => [0x1010, 0x3232, 0x1010, 0x3232],
    };
    permute(a, b, selectors[(c & 3) as usize])
}

#[inline(always)]
fn permute(a: u32, b: u32, selector: u32) -> u32 {
    // Words of 32 bits throughout: vectors have twice as many of them.
    let byte = |position: u32| {
        let select = selector >> (4 * position);
        let source = if select & 4 == 0 { a } else { b };
        let value = source >> (8 * (select & 3));
        let sign = ((value << 24).cast_signed() >> 31).cast_unsigned();
        ((if select & 8 == 0 { value } else { sign }) & 0xff) << (8 * position)
    };
    byte(0) | byte(1) | byte(2) | byte(3)
}

/// `lop3.b32`: the function of three bits whose truth table is the low byte of `table`.
#[inline(always)]
#[must_use]
pub fn lop3(a: u32, b: u32, c: u32, table: u32) -> u32 {
    // Bit i of the table selects the minterm a = i2, b = i1, c = i0.
    let term = |index: u32, minterm: u32| minterm & ((table >> index) & 1).wrapping_neg();
    term(0, !a & !b & !c)
        | term(1, !a & !b & c)
        | term(2, !a & b & !c)
        | term(3, !a & b & c)
        | term(4, a & !b & !c)
        | term(5, a & !b & c)
        | term(6, a & b & !c)
        | term(7, a & b & c)
}

// Of `pos` and `len` the manual reads eight bits; so does Hopper where the operand has 32 bits, of those of 64 it reads all.
macro_rules! bit_fields {
    ($unsigned:ty, $signed:ty, $read:expr, $bfe_u:ident, $bfe_s:ident, $bfi:ident) => {
        /// Extracts the unsigned bit field of `len` bits at bit `pos`.
        #[inline]
        #[must_use]
        pub fn $bfe_u(a: $unsigned, pos: u32, len: u32) -> $unsigned {
            let (pos, len) = (pos & $read, len & $read);
            let field = a.checked_shr(pos).unwrap_or(0);
            field & !<$unsigned>::MAX.checked_shl(len).unwrap_or(0)
        }

        /// Extracts the signed bit field of `len` bits at bit `pos`; beyond the operand its sign goes on.
        #[inline]
        #[must_use]
        pub fn $bfe_s(a: $signed, pos: u32, len: u32) -> $signed {
            let (pos, len) = (pos & $read, len & $read);
            if len == 0 {
                return 0;
            }
            let field = a >> pos.min(<$signed>::BITS - 1);
            // Moves the field's own sign bit to the top and back.
            let unused = <$signed>::BITS.saturating_sub(len);
            (field << unused) >> unused
        }

        /// Inserts the low `len` bits of `a` into `b` at bit `pos`.
        #[inline]
        #[must_use]
        pub fn $bfi(a: $unsigned, b: $unsigned, pos: u32, len: u32) -> $unsigned {
            let (pos, len) = (pos & $read, len & $read);
            let field = !<$unsigned>::MAX.checked_shl(len).unwrap_or(0);
            let mask = field.checked_shl(pos).unwrap_or(0);
            (b & !mask) | (a.checked_shl(pos).unwrap_or(0) & mask)
        }
    };
}

bit_fields!(u32, i32, 0xff, bfe_u32, bfe_s32, bfi_b32);
bit_fields!(u64, i64, u32::MAX, bfe_u64, bfe_s64, bfi_b64);

macro_rules! find {
    ($unsigned:ty, $signed:ty, $find_u:ident, $find_s:ident) => {
        /// The position of the most significant 1, or with `shiftamt` the shift that brings it to the top.
        /// Zero gives `0xffffffff`.
        #[inline]
        #[must_use]
        pub fn $find_u(a: $unsigned, shiftamt: bool) -> u32 {
            match (a, shiftamt) {
                (0, _) => u32::MAX,
                (_, true) => a.leading_zeros(),
                (_, false) => <$unsigned>::BITS - 1 - a.leading_zeros(),
            }
        }

        /// The position of the most significant bit that differs from the sign, or with `shiftamt` the shift that
        /// brings it to the top. 0 and -1 give `0xffffffff`.
        #[inline]
        #[must_use]
        pub fn $find_s(a: $signed, shiftamt: bool) -> u32 {
            $find_u((if a < 0 { !a } else { a }).cast_unsigned(), shiftamt)
        }
    };
}

find!(u32, i32, bfind_u32, bfind_s32);
find!(u64, i64, bfind_u64, bfind_s64);

macro_rules! counts {
    ($unsigned:ty, $clz:ident, $popc:ident, $brev:ident) => {
        /// The number of leading zeros; the operand's width for zero.
        #[inline(always)]
        #[must_use]
        pub fn $clz(a: $unsigned) -> u32 {
            a.leading_zeros()
        }

        /// The number of set bits.
        #[inline(always)]
        #[must_use]
        pub fn $popc(a: $unsigned) -> u32 {
            a.count_ones()
        }

        /// The bits in reverse order.
        #[inline(always)]
        #[must_use]
        pub fn $brev(a: $unsigned) -> $unsigned {
            a.reverse_bits()
        }
    };
}

counts!(u32, clz_b32, popc_b32, brev_b32);
counts!(u64, clz_b64, popc_b64, brev_b64);

macro_rules! shifts {
    ($unsigned:ty, $signed:ty, $shl:ident, $shr_u:ident, $shr_s:ident) => {
        /// Shifts left; amounts of the width and above give 0.
        #[inline(always)]
        #[must_use]
        pub fn $shl(a: $unsigned, n: u32) -> $unsigned {
            if n < <$unsigned>::BITS { a << n } else { 0 }
        }

        /// Shifts right, filling with zeros; amounts of the width and above give 0.
        #[inline(always)]
        #[must_use]
        pub fn $shr_u(a: $unsigned, n: u32) -> $unsigned {
            if n < <$unsigned>::BITS { a >> n } else { 0 }
        }

        /// Shifts right, filling with the sign, for any amount.
        #[inline(always)]
        #[must_use]
        pub fn $shr_s(a: $signed, n: u32) -> $signed {
            a >> n.min(<$signed>::BITS - 1)
        }
    };
}

shifts!(u16, i16, shl_b16, shr_u16, shr_s16);
shifts!(u32, i32, shl_b32, shr_u32, shr_s32);
shifts!(u64, i64, shl_b64, shr_u64, shr_s64);

#[inline(always)]
fn funnel(a: u32, b: u32) -> u64 {
    u64::from(b) << 32 | u64::from(a)
}

/// `shf.l.wrap.b32`: the upper word of `{b, a}` shifted left by `c & 31`.
#[inline(always)]
#[must_use]
pub fn shf_l_wrap(a: u32, b: u32, c: u32) -> u32 {
    ((funnel(a, b) << (c & 31)) >> 32) as u32
}

/// `shf.r.wrap.b32`: the lower word of `{b, a}` shifted right by `c & 31`.
#[inline(always)]
#[must_use]
pub fn shf_r_wrap(a: u32, b: u32, c: u32) -> u32 {
    (funnel(a, b) >> (c & 31)) as u32
}

/// `shf.l.clamp.b32`: the upper word of `{b, a}` shifted left by `min(c, 32)`.
#[inline(always)]
#[must_use]
pub fn shf_l_clamp(a: u32, b: u32, c: u32) -> u32 {
    ((funnel(a, b) << c.min(32)) >> 32) as u32
}

/// `shf.r.clamp.b32`: the lower word of `{b, a}` shifted right by `min(c, 32)`.
#[inline(always)]
#[must_use]
pub fn shf_r_clamp(a: u32, b: u32, c: u32) -> u32 {
    (funnel(a, b) >> c.min(32)) as u32
}

/// `fns.b32`: the position of the `offset`-th set bit of `mask` from `base`, downwards for a negative offset.
///
/// Offset 0 asks about the bit `base` itself. Nothing found, and a `base` above 31, give `0xffffffff`.
#[must_use]
pub fn fns(mask: u32, base: u32, offset: i32) -> u32 {
    if base > 31 {
        return u32::MAX;
    }
    // The candidates, with the bit to start from at the bottom or at the top.
    let count = offset.unsigned_abs().saturating_sub(1);
    if offset == 0 {
        return if (mask >> base) & 1 == 1 { base } else { u32::MAX };
    }
    if offset > 0 {
        let mut candidates = mask & (u32::MAX << base);
        for _ in 0..count.min(32) {
            candidates &= candidates.wrapping_sub(1);
        }
        if candidates == 0 { u32::MAX } else { candidates.trailing_zeros() }
    } else {
        let mut candidates = mask & (u32::MAX >> (31 - base));
        for _ in 0..count.min(32) {
            candidates &= !(0x8000_0000_u32.checked_shr(candidates.leading_zeros()).unwrap_or(0));
        }
        if candidates == 0 { u32::MAX } else { 31 - candidates.leading_zeros() }
    }
}

/// `bmsk.clamp.b32`: `b` ones from bit `a` on; a position beyond the word gives 0.
#[inline]
#[must_use]
pub fn bmsk_clamp(a: u32, b: u32) -> u32 {
    let ones = !u32::MAX.checked_shl(b).unwrap_or(0);
    ones.checked_shl(a).unwrap_or(0)
}

/// `bmsk.wrap.b32`: `b & 31` ones from bit `a & 31` on.
#[inline]
#[must_use]
pub fn bmsk_wrap(a: u32, b: u32) -> u32 {
    bmsk_clamp(a & 31, b & 31)
}

/// `szext.clamp.u32`: the low `min(b, 32)` bits of `a`.
#[inline]
#[must_use]
pub fn szext_clamp_u32(a: u32, b: u32) -> u32 {
    a & !u32::MAX.checked_shl(b).unwrap_or(0)
}

/// `szext.wrap.u32`: the low `b & 31` bits of `a`.
#[inline]
#[must_use]
pub fn szext_wrap_u32(a: u32, b: u32) -> u32 {
    szext_clamp_u32(a, b & 31)
}

/// `szext.clamp.s32`: the low `min(b, 32)` bits of `a` as a signed number; 0 for no bits.
#[inline]
#[must_use]
pub fn szext_clamp_s32(a: i32, b: u32) -> i32 {
    bfe_s32(a, 0, b.min(32))
}

/// `szext.wrap.s32`: the low `b & 31` bits of `a` as a signed number; 0 for no bits.
#[inline]
#[must_use]
pub fn szext_wrap_s32(a: i32, b: u32) -> i32 {
    bfe_s32(a, 0, b & 31)
}
