//! Instructions that only compute: the same function for each of a warp's lanes, over registers, without memory or control.
//!
//! [`lanes!`] makes a loop over 32 lanes out of a scalar function, compiled for the processor's vectors and without them; both
//! give the same bits.

mod registers;

pub(crate) use registers::{Class, LANES, Lane, Registers, Slot};

/// Where a lane function reads and writes. What a function does not use is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Operands {
    /// The result.
    pub(crate) d: Slot,
    /// A second result.
    pub(crate) e: Slot,
    /// Inputs.
    pub(crate) a: Slot,
    pub(crate) b: Slot,
    pub(crate) c: Slot,
    /// A constant of the instruction: a truth table, a mode.
    pub(crate) imm: u32,
}

/// Which operands a lane function has, and what each is held in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) d: Option<Class>,
    pub(crate) e: Option<Class>,
    pub(crate) a: Option<Class>,
    pub(crate) b: Option<Class>,
    pub(crate) c: Option<Class>,
}

/// [`lanes!`] adds an operand by its name.
impl Signature {
    pub(crate) const NONE: Self = Signature { d: None, e: None, a: None, b: None, c: None };

    pub(crate) const fn d(self, class: Class) -> Self {
        Signature { d: Some(class), ..self }
    }

    pub(crate) const fn e(self, class: Class) -> Self {
        Signature { e: Some(class), ..self }
    }

    pub(crate) const fn a(self, class: Class) -> Self {
        Signature { a: Some(class), ..self }
    }

    pub(crate) const fn b(self, class: Class) -> Self {
        Signature { b: Some(class), ..self }
    }

    pub(crate) const fn c(self, class: Class) -> Self {
        Signature { c: Some(class), ..self }
    }
}

/// A loop over the lanes of a mask.
pub(crate) type LaneLoop = fn(&mut Registers, &Operands, u32);

/// One instruction's loop, as it is compiled.
#[derive(Clone, Copy)]
pub(crate) struct LaneFn {
    pub(crate) signature: Signature,
    pub(crate) portable: LaneLoop,
    #[cfg(target_arch = "x86_64")]
    pub(crate) avx2: unsafe fn(&mut Registers, &Operands, u32),
}

impl std::fmt::Debug for LaneFn {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("LaneFn")
    }
}

/// Whether this processor has what the wide loops are compiled for.
#[cfg(target_arch = "x86_64")]
pub(crate) fn is_wide() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("popcnt")
}

impl LaneFn {
    /// The loop for this processor.
    pub(crate) fn pick(self) -> LaneLoop {
        #[cfg(target_arch = "x86_64")]
        if is_wide() {
            // SAFETY: only how it may be called differs between the two types, and this processor has what it needs.
            return unsafe {
                std::mem::transmute::<unsafe fn(&mut Registers, &Operands, u32), LaneLoop>(self.avx2)
            };
        }
        self.portable
    }
}

/// `lanes!(a: u32, b: u32 => u32 { a.wrapping_add(b) })` is the [`LaneFn`] that does so in every lane. Inputs are named `a`, `b`,
/// `c`; `[imm]` in front names the instruction's constant; `=> (T, U)` gives two results.
macro_rules! lanes {
    (@body [$imm:ident] $($arg:ident: $ty:ty),* => ($d:ty, $e:ty) $body:block) => {
        const SIGNATURE: $crate::lanes::Signature = $crate::lanes::Signature::NONE
            $(.$arg(<$ty as $crate::lanes::Lane>::CLASS))*
            .d(<$d as $crate::lanes::Lane>::CLASS)
            .e(<$e as $crate::lanes::Lane>::CLASS);
        #[inline(always)]
        fn body(registers: &mut $crate::lanes::Registers, operands: &$crate::lanes::Operands, mask: u32) {
            use $crate::lanes::{LANES, Lane};
            #[allow(unused_variables, reason = "not every function has a constant")]
            let $imm = operands.imm;
            $(let $arg = <$ty as Lane>::read(registers, operands.$arg);)*
            let mut first = [<$d>::default(); LANES];
            let mut second = [<$e>::default(); LANES];
            for lane in 0..LANES {
                $(let $arg = $arg[lane];)*
                (first[lane], second[lane]) = $body;
            }
            <$d as Lane>::write(registers, operands.d, &first, mask);
            <$e as Lane>::write(registers, operands.e, &second, mask);
        }
    };
    (@body [$imm:ident] $($arg:ident: $ty:ty),* => $d:ty $body:block) => {
        const SIGNATURE: $crate::lanes::Signature = $crate::lanes::Signature::NONE
            $(.$arg(<$ty as $crate::lanes::Lane>::CLASS))*
            .d(<$d as $crate::lanes::Lane>::CLASS);
        #[inline(always)]
        fn body(registers: &mut $crate::lanes::Registers, operands: &$crate::lanes::Operands, mask: u32) {
            use $crate::lanes::{LANES, Lane};
            #[allow(unused_variables, reason = "not every function has a constant")]
            let $imm = operands.imm;
            $(let $arg = <$ty as Lane>::read(registers, operands.$arg);)*
            let mut out = [<$d>::default(); LANES];
            for lane in 0..LANES {
                $(let $arg = $arg[lane];)*
                out[lane] = $body;
            }
            <$d as Lane>::write(registers, operands.d, &out, mask);
        }
    };
    ([$imm:ident] $($arg:ident: $ty:ty),* => $d:tt $body:block) => {{
        lanes!(@body [$imm] $($arg: $ty),* => $d $body);
        fn portable(
            registers: &mut $crate::lanes::Registers,
            operands: &$crate::lanes::Operands,
            mask: u32,
        ) {
            body(registers, operands, mask);
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn avx2(registers: &mut $crate::lanes::Registers, operands: &$crate::lanes::Operands, mask: u32) {
            body(registers, operands, mask);
        }
        $crate::lanes::LaneFn {
            signature: SIGNATURE,
            portable,
            #[cfg(target_arch = "x86_64")]
            avx2,
        }
    }};
    ($($arg:ident: $ty:ty),* => $d:tt $body:block) => { lanes!([imm] $($arg: $ty),* => $d $body) };
}

pub(crate) use lanes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lanes_of_the_mask_change() {
        let add = lanes!(a: u32, b: u32 => u32 { a.wrapping_add(b) });
        let mut registers = Registers::new(4, 1);
        let [a, b, d] = [0, 1, 2].map(Slot);
        for lane in 0..LANES {
            registers.row_mut(a)[lane] = lane as u32;
            registers.row_mut(b)[lane] = u32::MAX;
        }
        let operands = Operands { d, a, b, ..Operands::default() };
        for run in [add.portable, add.pick()] {
            registers.row_mut(d).fill(7);
            run(&mut registers, &operands, 0b10);
            assert_eq!(registers.row(d)[..3], [7, 0, 7]);
            run(&mut registers, &operands, u32::MAX);
            assert_eq!(registers.row(d)[0], u32::MAX);
        }
        let less = lanes!(a: u32, b: u32 => (bool, u64) { (a < b, u64::from(a) << 32) });
        let operands = Operands { d: Slot(0), e: Slot(2), a, b, ..Operands::default() };
        less.pick()(&mut registers, &operands, u32::MAX);
        assert_eq!(registers.predicate(Slot(0)), u32::MAX);
        assert_eq!(registers.wide(Slot(2))[3], 3 << 32);
    }
}
