//! Integer arithmetic.

use super::{
    Decoded,
    body::{Decoder, Width},
    modifiers::Modifiers,
    unsupported,
};
use crate::{
    kernel::LoadError,
    lanes::{LaneFn, Operands, lanes},
    numerics::*,
    ptx::ast::{Instruction, Type},
};

/// Which half of a product.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Half {
    Low,
    High,
    Wide,
}

fn is_integer(ty: Type) -> bool {
    use Type::*;
    matches!(ty, B16 | B32 | B64 | U16 | U32 | U64 | S16 | S32 | S64)
}

/// The loop of one expression for each width and sign of integers.
macro_rules! each {
    ($ty:expr, |$($arg:ident),+| $body:expr) => {
        match $ty {
            Type::U16 | Type::B16 => lanes!($($arg: u16),+ => u16 { $body }),
            Type::S16 => lanes!($($arg: i16),+ => i16 { $body }),
            Type::U32 | Type::B32 => lanes!($($arg: u32),+ => u32 { $body }),
            Type::S32 => lanes!($($arg: i32),+ => i32 { $body }),
            Type::U64 | Type::B64 => lanes!($($arg: u64),+ => u64 { $body }),
            _ => lanes!($($arg: i64),+ => i64 { $body }),
        }
    };
}

/// The same for the signed types only.
macro_rules! each_signed {
    ($ty:expr, |$($arg:ident),+| $body:expr) => {
        match $ty {
            Type::S16 => Some(lanes!($($arg: i16),+ => i16 { $body })),
            Type::S32 => Some(lanes!($($arg: i32),+ => i32 { $body })),
            Type::S64 => Some(lanes!($($arg: i64),+ => i64 { $body })),
            _ => None,
        }
    };
}

fn product(ty: Type, half: Half) -> Option<LaneFn> {
    Some(match (half, ty) {
        (Half::Low, ty) => each!(ty, |a, b| a.wrapping_mul(b)),
        (Half::High, Type::U16) => lanes!(a: u16, b: u16 => u16 { mul_hi_u16(a, b) }),
        (Half::High, Type::S16) => lanes!(a: i16, b: i16 => i16 { mul_hi_s16(a, b) }),
        (Half::High, Type::U32) => lanes!(a: u32, b: u32 => u32 { mul_hi_u32(a, b) }),
        (Half::High, Type::S32) => lanes!(a: i32, b: i32 => i32 { mul_hi_s32(a, b) }),
        (Half::High, Type::U64) => lanes!(a: u64, b: u64 => u64 { mul_hi_u64(a, b) }),
        (Half::High, Type::S64) => lanes!(a: i64, b: i64 => i64 { mul_hi_s64(a, b) }),
        (Half::Wide, Type::U16) => lanes!(a: u16, b: u16 => u32 { u32::from(a) * u32::from(b) }),
        (Half::Wide, Type::S16) => lanes!(a: i16, b: i16 => i32 { i32::from(a) * i32::from(b) }),
        (Half::Wide, Type::U32) => lanes!(a: u32, b: u32 => u64 { u64::from(a) * u64::from(b) }),
        (Half::Wide, Type::S32) => lanes!(a: i32, b: i32 => i64 { i64::from(a) * i64::from(b) }),
        _ => return None,
    })
}

fn product_sum(ty: Type, half: Half) -> Option<LaneFn> {
    Some(match (half, ty) {
        (Half::Low, ty) => each!(ty, |a, b, c| a.wrapping_mul(b).wrapping_add(c)),
        (Half::High, Type::U32) => lanes!(a: u32, b: u32, c: u32 => u32 { mul_hi_u32(a, b).wrapping_add(c) }),
        (Half::High, Type::S32) => lanes!(a: i32, b: i32, c: i32 => i32 { mul_hi_s32(a, b).wrapping_add(c) }),
        (Half::High, Type::U16) => lanes!(a: u16, b: u16, c: u16 => u16 { mul_hi_u16(a, b).wrapping_add(c) }),
        (Half::High, Type::S16) => lanes!(a: i16, b: i16, c: i16 => i16 { mul_hi_s16(a, b).wrapping_add(c) }),
        (Half::High, Type::U64) => lanes!(a: u64, b: u64, c: u64 => u64 { mul_hi_u64(a, b).wrapping_add(c) }),
        (Half::High, Type::S64) => lanes!(a: i64, b: i64, c: i64 => i64 { mul_hi_s64(a, b).wrapping_add(c) }),
        (Half::Wide, Type::U16) => {
            lanes!(a: u16, b: u16, c: u32 => u32 { (u32::from(a) * u32::from(b)).wrapping_add(c) })
        }
        (Half::Wide, Type::S16) => {
            lanes!(a: i16, b: i16, c: i32 => i32 { (i32::from(a) * i32::from(b)).wrapping_add(c) })
        }
        (Half::Wide, Type::U32) => {
            lanes!(a: u32, b: u32, c: u64 => u64 { (u64::from(a) * u64::from(b)).wrapping_add(c) })
        }
        (Half::Wide, Type::S32) => {
            lanes!(a: i32, b: i32, c: i64 => i64 { (i64::from(a) * i64::from(b)).wrapping_add(c) })
        }
        _ => return None,
    })
}

/// The type that is twice as wide.
fn widened(ty: Type) -> Type {
    match ty {
        Type::U16 => Type::U32,
        Type::S16 => Type::S32,
        Type::U32 => Type::U64,
        _ => Type::S64,
    }
}

fn quotient(ty: Type) -> LaneFn {
    match ty {
        Type::U16 => lanes!(a: u16, b: u16 => u16 { div_u16(a, b) }),
        Type::S16 => lanes!(a: i16, b: i16 => i16 { div_s16(a, b) }),
        Type::U32 => lanes!(a: u32, b: u32 => u32 { div_u32(a, b) }),
        Type::S32 => lanes!(a: i32, b: i32 => i32 { div_s32(a, b) }),
        Type::U64 => lanes!(a: u64, b: u64 => u64 { div_u64(a, b) }),
        _ => lanes!(a: i64, b: i64 => i64 { div_s64(a, b) }),
    }
}

fn remainder(ty: Type) -> LaneFn {
    match ty {
        Type::U16 => lanes!(a: u16, b: u16 => u16 { rem_u16(a, b) }),
        Type::S16 => lanes!(a: i16, b: i16 => i16 { rem_s16(a, b) }),
        Type::U32 => lanes!(a: u32, b: u32 => u32 { rem_u32(a, b) }),
        Type::S32 => lanes!(a: i32, b: i32 => i32 { rem_s32(a, b) }),
        Type::U64 => lanes!(a: u64, b: u64 => u64 { rem_u64(a, b) }),
        _ => lanes!(a: i64, b: i64 => i64 { rem_s64(a, b) }),
    }
}

impl Decoder<'_> {
    pub(super) fn integers(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let Some(ty) = modifiers.types().first().copied().filter(|ty| is_integer(*ty)) else {
            return Ok(None);
        };
        let carry_out = modifiers.flag("cc");
        match instruction.opcode.as_str() {
            "add" if carry_out => self.with_carry(instruction, ty, false, false, true),
            "sub" if carry_out => self.with_carry(instruction, ty, true, false, true),
            "addc" => self.with_carry(instruction, ty, false, true, carry_out),
            "subc" => self.with_carry(instruction, ty, true, true, carry_out),
            "mad" if carry_out => self.product_with_carry(instruction, modifiers, ty, false, true),
            "madc" => self.product_with_carry(instruction, modifiers, ty, true, carry_out),
            _ if carry_out => Err(unsupported(instruction, "a carry here")),
            "add" | "sub" if modifiers.flag("sat") => {
                let run = match instruction.opcode.as_str() {
                    "add" => lanes!(a: i32, b: i32 => i32 { a.saturating_add(b) }),
                    _ => lanes!(a: i32, b: i32 => i32 { a.saturating_sub(b) }),
                };
                self.compute(instruction, run, ty, &[ty, ty], 0)
            }
            "add" => self.compute(instruction, each!(ty, |a, b| a.wrapping_add(b)), ty, &[ty, ty], 0),
            "sub" => self.compute(instruction, each!(ty, |a, b| a.wrapping_sub(b)), ty, &[ty, ty], 0),
            "mul" => {
                let half = self.half(instruction, modifiers)?;
                let run = product(ty, half).ok_or_else(|| unsupported(instruction, "this product"))?;
                let d = if half == Half::Wide { widened(ty) } else { ty };
                self.compute(instruction, run, d, &[ty, ty], 0)
            }
            "mad" => {
                let half = self.half(instruction, modifiers)?;
                if modifiers.flag("sat") {
                    let run = lanes!(a: i32, b: i32, c: i32 => i32 { mad_sat_s32(a, b, c) });
                    return self.compute(instruction, run, ty, &[ty, ty, ty], 0);
                }
                let run = product_sum(ty, half).ok_or_else(|| unsupported(instruction, "this product"))?;
                let wide = if half == Half::Wide { widened(ty) } else { ty };
                self.compute(instruction, run, wide, &[ty, ty, wide], 0)
            }
            "mul24" | "mad24" => self.product_of_24_bits(instruction, modifiers, ty),
            "div" => self.compute(instruction, quotient(ty), ty, &[ty, ty], 0),
            "rem" => self.compute(instruction, remainder(ty), ty, &[ty, ty], 0),
            "min" => self.compute(instruction, each!(ty, |a, b| a.min(b)), ty, &[ty, ty], 0),
            "max" => self.compute(instruction, each!(ty, |a, b| a.max(b)), ty, &[ty, ty], 0),
            "abs" => {
                let run = each_signed!(ty, |a| a.wrapping_abs());
                self.compute(
                    instruction,
                    run.ok_or_else(|| unsupported(instruction, "no sign"))?,
                    ty,
                    &[ty],
                    0,
                )
            }
            "neg" => {
                let run = each_signed!(ty, |a| a.wrapping_neg());
                self.compute(
                    instruction,
                    run.ok_or_else(|| unsupported(instruction, "no sign"))?,
                    ty,
                    &[ty],
                    0,
                )
            }
            "sad" => {
                let run = each!(ty, |a, b, c| c.wrapping_add(a.max(b).wrapping_sub(a.min(b))));
                self.compute(instruction, run, ty, &[ty, ty, ty], 0)
            }
            "dp4a" | "dp2a" => self.dot_product(instruction, modifiers),
            _ => self.bits(instruction, modifiers, ty),
        }
    }

    fn half(&self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Result<Half, LoadError> {
        modifiers
            .one_of(&[("lo", Half::Low), ("hi", Half::High), ("wide", Half::Wide)])
            .ok_or_else(|| unsupported(instruction, "neither .lo, .hi nor .wide"))
    }

    /// `add.cc`, `addc`, `sub.cc`, `subc`: the carry is a predicate of its own.
    fn with_carry(
        &mut self,
        instruction: &Instruction,
        ty: Type,
        subtract: bool,
        takes: bool,
        gives: bool,
    ) -> Decoded {
        let [d, a, b] = self.operands(instruction)?;
        let (a, b) = (self.source(instruction, a, ty)?, self.source(instruction, b, ty)?);
        let d = self.destination(instruction, d, ty)?;
        self.sum_with_carry(
            instruction,
            ty,
            Operands { d, a, b, ..Operands::default() },
            subtract,
            takes,
            gives,
        )
    }

    fn sum_with_carry(
        &mut self,
        instruction: &Instruction,
        ty: Type,
        operands: Operands,
        subtract: bool,
        takes: bool,
        gives: bool,
    ) -> Decoded {
        let wide = match ty {
            Type::U32 | Type::S32 | Type::B32 => false,
            Type::U64 | Type::S64 | Type::B64 => true,
            _ => return Err(unsupported(instruction, "a carry of 16 bits")),
        };
        let carry = self.carry();
        let none = match takes {
            true => carry,
            // A predicate that nobody sets.
            false => self.slot(Width::Predicate),
        };
        let e = if gives { carry } else { self.slot(Width::Predicate) };
        let run = match (wide, subtract) {
            (false, false) => lanes!(a: u32, b: u32, c: bool => (u32, bool) {{
                let sum = u64::from(a) + u64::from(b) + u64::from(c);
                (sum as u32, sum >> 32 != 0)
            }}),
            (false, true) => lanes!(a: u32, b: u32, c: bool => (u32, bool) {{
                let taken = u64::from(b) + u64::from(c);
                (a.wrapping_sub(taken as u32), u64::from(a) < taken)
            }}),
            (true, false) => lanes!(a: u64, b: u64, c: bool => (u64, bool) {{
                let sum = u128::from(a) + u128::from(b) + u128::from(c);
                (sum as u64, sum >> 64 != 0)
            }}),
            (true, true) => lanes!(a: u64, b: u64, c: bool => (u64, bool) {{
                let taken = u128::from(b) + u128::from(c);
                (a.wrapping_sub(taken as u64), u128::from(a) < taken)
            }}),
        };
        self.step(instruction, run, Operands { c: none, e, ..operands });
        Ok(Some(crate::kernel::Op::Nop))
    }

    /// `mad.cc` and `madc`: a product, then a sum.
    fn product_with_carry(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        ty: Type,
        takes: bool,
        gives: bool,
    ) -> Decoded {
        let half = self.half(instruction, modifiers)?;
        let run = product(ty, half).filter(|_| half != Half::Wide);
        let run = run.ok_or_else(|| unsupported(instruction, "this product"))?;
        let [d, a, b, c] = self.operands(instruction)?;
        let (a, b) = (self.source(instruction, a, ty)?, self.source(instruction, b, ty)?);
        let c = self.source(instruction, c, ty)?;
        let d = self.destination(instruction, d, ty)?;
        let product = self.slot(if ty.bytes() == 8 { Width::W64 } else { Width::W32 });
        self.step(instruction, run, Operands { d: product, a, b, ..Operands::default() });
        let operands = Operands { d, a: product, b: c, ..Operands::default() };
        self.sum_with_carry(instruction, ty, operands, false, takes, gives)
    }

    fn product_of_24_bits(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        ty: Type,
    ) -> Decoded {
        let half = self.half(instruction, modifiers)?;
        let sum = instruction.opcode == "mad24";
        let run = match (ty, half, sum) {
            (Type::U32, Half::Low, false) => lanes!(a: u32, b: u32 => u32 { mul24_lo_u32(a, b) }),
            (Type::U32, Half::High, false) => lanes!(a: u32, b: u32 => u32 { mul24_hi_u32(a, b) }),
            (Type::S32, Half::Low, false) => lanes!(a: i32, b: i32 => i32 { mul24_lo_s32(a, b) }),
            (Type::S32, Half::High, false) => lanes!(a: i32, b: i32 => i32 { mul24_hi_s32(a, b) }),
            (Type::U32, Half::Low, true) => {
                lanes!(a: u32, b: u32, c: u32 => u32 { mul24_lo_u32(a, b).wrapping_add(c) })
            }
            (Type::U32, Half::High, true) => {
                lanes!(a: u32, b: u32, c: u32 => u32 { mul24_hi_u32(a, b).wrapping_add(c) })
            }
            (Type::S32, Half::Low, true) => {
                lanes!(a: i32, b: i32, c: i32 => i32 { mul24_lo_s32(a, b).wrapping_add(c) })
            }
            (Type::S32, Half::High, true) => {
                lanes!(a: i32, b: i32, c: i32 => i32 { mul24_hi_s32(a, b).wrapping_add(c) })
            }
            _ => return Err(unsupported(instruction, "this product")),
        };
        let inputs = [ty; 3];
        self.compute(instruction, run, ty, &inputs[..2 + usize::from(sum)], 0)
    }

    fn dot_product(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let &[a, b] = modifiers.types() else { return Err(unsupported(instruction, "not two types")) };
        let signed = |ty| match ty {
            Type::S32 => Ok(true),
            Type::U32 => Ok(false),
            _ => Err(unsupported(instruction, "types that are not 32 bits")),
        };
        let imm = u32::from(signed(a)?) | u32::from(signed(b)?) << 1;
        let run = match instruction.opcode.as_str() {
            "dp4a" => {
                lanes!([imm] a: u32, b: u32, c: u32 => u32 { dp4a(a, b, c, imm & 1 == 1, imm & 2 == 2) })
            }
            _ => match modifiers.one_of(&[("lo", false), ("hi", true)]) {
                Some(false) => {
                    lanes!([imm] a: u32, b: u32, c: u32 => u32 { dp2a_lo(a, b, c, imm & 1 == 1, imm & 2 == 2) })
                }
                Some(true) => {
                    lanes!([imm] a: u32, b: u32, c: u32 => u32 { dp2a_hi(a, b, c, imm & 1 == 1, imm & 2 == 2) })
                }
                None => return Err(unsupported(instruction, "neither .lo nor .hi")),
            },
        };
        self.compute(instruction, run, Type::B32, &[Type::B32; 3], imm)
    }
}
