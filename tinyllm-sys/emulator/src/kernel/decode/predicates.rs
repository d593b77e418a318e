//! Comparisons, what is chosen by them, and logic of predicates.

use super::{
    Decoded,
    body::{Decoder, Width},
    modifiers::Modifiers,
    operands::register_bits,
    unsupported,
};
use crate::{
    kernel::{LoadError, Op},
    lanes::{LaneFn, Operands, Slot, lanes},
    numerics::*,
    ptx::ast::{Instruction, Operand, Type},
};

/// A comparison. Those with `u` are true where an operand is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Equ,
    Neu,
    Ltu,
    Leu,
    Gtu,
    Geu,
    Num,
    Nan,
}

const COMPARISONS: [(&str, Compare); 18] = [
    ("eq", Compare::Eq),
    ("ne", Compare::Ne),
    ("lt", Compare::Lt),
    ("le", Compare::Le),
    ("gt", Compare::Gt),
    ("ge", Compare::Ge),
    ("lo", Compare::Lt),
    ("ls", Compare::Le),
    ("hi", Compare::Gt),
    ("hs", Compare::Ge),
    ("equ", Compare::Equ),
    ("neu", Compare::Neu),
    ("ltu", Compare::Ltu),
    ("leu", Compare::Leu),
    ("gtu", Compare::Gtu),
    ("geu", Compare::Geu),
    ("num", Compare::Num),
    ("nan", Compare::Nan),
];

/// How a comparison is joined with a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Join {
    And,
    Or,
    Xor,
}

/// Inputs of a comparison, and the predicate that it is joined with.
type Inputs = (Slot, Slot, Option<(Join, Slot)>);

/// Loops of integer comparisons.
macro_rules! integers {
    ($compare:expr, $ty:ty) => {
        match $compare {
            Compare::Eq => lanes!(a: $ty, b: $ty => bool { a == b }),
            Compare::Ne => lanes!(a: $ty, b: $ty => bool { a != b }),
            Compare::Lt => lanes!(a: $ty, b: $ty => bool { a < b }),
            Compare::Le => lanes!(a: $ty, b: $ty => bool { a <= b }),
            Compare::Gt => lanes!(a: $ty, b: $ty => bool { a > b }),
            Compare::Ge => lanes!(a: $ty, b: $ty => bool { a >= b }),
            _ => return None,
        }
    };
}

/// Loops of floating-point comparisons, of registers of `$ty` that `$value` makes floats of.
macro_rules! floats {
    ($compare:expr, $ty:ty, |$imm:ident, $x:ident| $value:expr) => {
        match $compare {
            Compare::Eq => floats!(@ $ty, |$imm, $x| $value, |a, b| a == b),
            Compare::Ne => floats!(@ $ty, |$imm, $x| $value, |a, b| a != b && !a.is_nan() && !b.is_nan()),
            Compare::Lt => floats!(@ $ty, |$imm, $x| $value, |a, b| a < b),
            Compare::Le => floats!(@ $ty, |$imm, $x| $value, |a, b| a <= b),
            Compare::Gt => floats!(@ $ty, |$imm, $x| $value, |a, b| a > b),
            Compare::Ge => floats!(@ $ty, |$imm, $x| $value, |a, b| a >= b),
            Compare::Equ => floats!(@ $ty, |$imm, $x| $value, |a, b| a == b || a.is_nan() || b.is_nan()),
            Compare::Neu => floats!(@ $ty, |$imm, $x| $value, |a, b| a != b),
            Compare::Ltu => floats!(@ $ty, |$imm, $x| $value, |a, b| !(a >= b)),
            Compare::Leu => floats!(@ $ty, |$imm, $x| $value, |a, b| !(a > b)),
            Compare::Gtu => floats!(@ $ty, |$imm, $x| $value, |a, b| !(a <= b)),
            Compare::Geu => floats!(@ $ty, |$imm, $x| $value, |a, b| !(a < b)),
            Compare::Num => floats!(@ $ty, |$imm, $x| $value, |a, b| !a.is_nan() && !b.is_nan()),
            Compare::Nan => floats!(@ $ty, |$imm, $x| $value, |a, b| a.is_nan() || b.is_nan()),
        }
    };
    (@ $ty:ty, |$imm:ident, $x:ident| $value:expr, |$p:ident, $q:ident| $test:expr) => {
        lanes!([$imm] a: $ty, b: $ty => bool {{
            let $p = { let $x = a; $value };
            let $q = { let $x = b; $value };
            $test
        }})
    };
}

#[allow(clippy::neg_cmp_op_on_partial_ord, clippy::nonminimal_bool, reason = "NaN makes the negation differ")]
fn comparison(ty: Type, compare: Compare) -> Option<LaneFn> {
    Some(match ty {
        Type::U16 | Type::B16 => integers!(compare, u16),
        Type::S16 => integers!(compare, i16),
        Type::U32 | Type::B32 => integers!(compare, u32),
        Type::S32 => integers!(compare, i32),
        Type::U64 | Type::B64 => integers!(compare, u64),
        Type::S64 => integers!(compare, i64),
        Type::F32 => floats!(compare, f32, |imm, x| if imm != 0 { f32_flush(x) } else { x }),
        Type::F64 => floats!(compare, f64, |_imm, x| x),
        Type::F16 => {
            floats!(compare, u16, |imm, x| half_to_f32::<F16>(if imm != 0 {
                half_flush::<F16>(x)
            } else {
                x
            }))
        }
        Type::Bf16 => floats!(compare, u16, |_imm, x| half_to_f32::<Bf16>(x)),
        _ => return None,
    })
}

impl Decoder<'_> {
    pub(super) fn predicates(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let types = modifiers.types().to_vec();
        match (instruction.opcode.as_str(), types.as_slice()) {
            ("setp", [ty]) => self.set_predicate(instruction, modifiers, *ty),
            ("set", [to, from]) => self.set_value(instruction, modifiers, *to, *from),
            ("selp", [ty]) => {
                let run = match register_bits(*ty) {
                    64 => lanes!(a: u64, b: u64, c: bool => u64 { if c { a } else { b } }),
                    _ => lanes!(a: u32, b: u32, c: bool => u32 { if c { a } else { b } }),
                };
                self.compute(instruction, run, *ty, &[*ty, *ty, Type::Pred], 0)
            }
            ("slct", [ty, chooser]) => self.select_by_sign(instruction, modifiers, *ty, *chooser),
            ("and", [Type::Pred]) => self.compute(
                instruction,
                lanes!(a: bool, b: bool => bool { a & b }),
                Type::Pred,
                &[Type::Pred; 2],
                0,
            ),
            ("or", [Type::Pred]) => self.compute(
                instruction,
                lanes!(a: bool, b: bool => bool { a | b }),
                Type::Pred,
                &[Type::Pred; 2],
                0,
            ),
            ("xor", [Type::Pred]) => self.compute(
                instruction,
                lanes!(a: bool, b: bool => bool { a ^ b }),
                Type::Pred,
                &[Type::Pred; 2],
                0,
            ),
            ("not", [Type::Pred]) => {
                self.compute(instruction, lanes!(a: bool => bool { !a }), Type::Pred, &[Type::Pred], 0)
            }
            _ => Ok(None),
        }
    }

    fn comparison_of(
        &self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
    ) -> Result<Compare, LoadError> {
        modifiers.one_of(&COMPARISONS).ok_or_else(|| unsupported(instruction, "no comparison"))
    }

    fn join_of(&self, modifiers: &mut Modifiers<'_>) -> Option<Join> {
        modifiers.one_of(&[("and", Join::And), ("or", Join::Or), ("xor", Join::Xor)])
    }

    /// Compares into a predicate of its own, joined with the instruction's third input where it has one.
    fn compared(
        &mut self,
        instruction: &Instruction,
        inputs: (Slot, Slot),
        run: LaneFn,
        imm: u32,
        join: Option<(Join, Slot)>,
    ) -> (Slot, Slot) {
        let direct = self.slot(Width::Predicate);
        let (a, b) = inputs;
        self.step(instruction, run, Operands { d: direct, a, b, imm, ..Operands::default() });
        let opposite = self.slot(Width::Predicate);
        let not = lanes!(a: bool => bool { !a });
        self.step(instruction, not, Operands { d: opposite, a: direct, ..Operands::default() });
        if let Some((join, c)) = join {
            let run = match join {
                Join::And => lanes!(a: bool, b: bool => bool { a & b }),
                Join::Or => lanes!(a: bool, b: bool => bool { a | b }),
                Join::Xor => lanes!(a: bool, b: bool => bool { a ^ b }),
            };
            for d in [direct, opposite] {
                self.step(instruction, run, Operands { d, a: d, b: c, ..Operands::default() });
            }
        }
        (direct, opposite)
    }

    fn set_predicate(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        ty: Type,
    ) -> Decoded {
        let compare = self.comparison_of(instruction, modifiers)?;
        let join = self.join_of(modifiers);
        let imm = u32::from(modifiers.flag("ftz"));
        if matches!(ty, Type::F16x2 | Type::Bf16x2) {
            return self.set_two_predicates(instruction, compare, join, ty, imm);
        }
        let run = comparison(ty, compare).ok_or_else(|| unsupported(instruction, "this type so compared"))?;
        let pair = matches!(instruction.operands.first(), Some(Operand::Pair(..)));
        if pair && matches!(ty, Type::F16 | Type::Bf16) {
            return Err(unsupported(instruction, "a comparison of halves gives one predicate"));
        }
        let simple = join.is_none() && matches!(instruction.operands.first(), Some(Operand::Name(_)));
        if simple {
            return self.compute(instruction, run, Type::Pred, &[ty, ty], imm);
        }
        let (a, b, join) = self.comparison_inputs(instruction, ty, join)?;
        let (direct, opposite) = self.compared(instruction, (a, b), run, imm, join);
        self.store_predicates(instruction, direct, opposite)
    }

    fn comparison_inputs(
        &mut self,
        instruction: &Instruction,
        ty: Type,
        join: Option<Join>,
    ) -> Result<Inputs, LoadError> {
        let count = 3 + usize::from(join.is_some());
        if instruction.operands.len() != count {
            let problem = format!("{} operands, this form has {count}", instruction.operands.len());
            return Err(unsupported(instruction, problem));
        }
        let a = self.source(instruction, &instruction.operands[1], ty)?;
        let b = self.source(instruction, &instruction.operands[2], ty)?;
        let join = match join {
            Some(join) => Some((join, self.predicate_slot(instruction, &instruction.operands[3])?)),
            None => None,
        };
        Ok((a, b, join))
    }

    /// The result `p`, or `p|q`.
    fn store_predicates(&mut self, instruction: &Instruction, first: Slot, second: Slot) -> Decoded {
        let copy = lanes!(a: bool => bool { a });
        let first_name = match &instruction.operands[0] {
            Operand::Pair(p, q) => {
                let d = self.destination(instruction, q, Type::Pred)?;
                self.step(instruction, copy, Operands { d, a: second, ..Operands::default() });
                p
            }
            single => single,
        };
        let d = self.destination(instruction, first_name, Type::Pred)?;
        Ok(Some(Op::lanes(copy, Operands { d, a: first, ..Operands::default() })))
    }

    /// Comparisons of both halves.
    fn compared_halves(
        &mut self,
        instruction: &Instruction,
        compare: Compare,
        join: Option<Join>,
        ty: Type,
        imm: u32,
    ) -> Result<(Slot, Slot), LoadError> {
        let half = if ty == Type::F16x2 { Type::F16 } else { Type::Bf16 };
        let run = comparison(half, compare).ok_or_else(|| unsupported(instruction, "this comparison"))?;
        let (a, b, join) = self.comparison_inputs(instruction, ty, join)?;
        let upper = lanes!(a: u32 => u32 { a >> 16 });
        let (high_a, high_b) = (self.slot(Width::W32), self.slot(Width::W32));
        self.step(instruction, upper, Operands { d: high_a, a, ..Operands::default() });
        self.step(instruction, upper, Operands { d: high_b, a: b, ..Operands::default() });
        let (low, _) = self.compared(instruction, (a, b), run, imm, join);
        let (high, _) = self.compared(instruction, (high_a, high_b), run, imm, join);
        Ok((low, high))
    }

    fn set_two_predicates(
        &mut self,
        instruction: &Instruction,
        compare: Compare,
        join: Option<Join>,
        ty: Type,
        imm: u32,
    ) -> Decoded {
        let (low, high) = self.compared_halves(instruction, compare, join, ty, imm)?;
        self.store_predicates(instruction, low, high)
    }

    /// `set`: all ones or 0, 1.0 or 0.
    fn set_value(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        to: Type,
        from: Type,
    ) -> Decoded {
        let compare = self.comparison_of(instruction, modifiers)?;
        let join = self.join_of(modifiers);
        let imm = u32::from(modifiers.flag("ftz"));
        let yes = match to {
            Type::U32 | Type::S32 => u32::MAX,
            Type::U16 | Type::S16 => 0xffff,
            Type::F32 => 1f32.to_bits(),
            Type::F16 | Type::F16x2 => u32::from(half::f16::ONE.to_bits()),
            Type::Bf16 | Type::Bf16x2 => u32::from(half::bf16::ONE.to_bits()),
            _ => return Err(unsupported(instruction, "a result of this type")),
        };
        let pair = matches!(from, Type::F16x2 | Type::Bf16x2);
        let d = self.destination(instruction, &instruction.operands[0], to)?;
        if pair {
            if !matches!(to, Type::F16x2 | Type::Bf16x2 | Type::U32 | Type::S32) {
                return Err(unsupported(instruction, "a result of this type"));
            }
            let (a, b) = self.compared_halves(instruction, compare, join, from, imm)?;
            let run = lanes!([imm] a: bool, b: bool => u32 {
                (if a { imm } else { 0 }) | (if b { imm << 16 } else { 0 })
            });
            let operands = Operands { d, a, b, imm: yes & 0xffff, ..Operands::default() };
            return Ok(Some(Op::lanes(run, operands)));
        }
        if matches!(to, Type::F16x2 | Type::Bf16x2) {
            return Err(unsupported(instruction, "a pair of one comparison"));
        }
        let run =
            comparison(from, compare).ok_or_else(|| unsupported(instruction, "this type so compared"))?;
        let (a, b, join) = self.comparison_inputs(instruction, from, join)?;
        let (a, _) = self.compared(instruction, (a, b), run, imm, join);
        let run = lanes!([imm] a: bool => u32 { if a { imm } else { 0 } });
        Ok(Some(Op::lanes(run, Operands { d, a, imm: yes, ..Operands::default() })))
    }

    fn select_by_sign(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        ty: Type,
        chooser: Type,
    ) -> Decoded {
        let imm = u32::from(modifiers.flag("ftz"));
        let run = match (register_bits(ty), chooser) {
            (64, Type::S32) => lanes!(a: u64, b: u64, c: i32 => u64 { if c >= 0 { a } else { b } }),
            (_, Type::S32) => lanes!(a: u32, b: u32, c: i32 => u32 { if c >= 0 { a } else { b } }),
            (64, Type::F32) => lanes!([imm] a: u64, b: u64, c: f32 => u64 {{
                let c = if imm != 0 { f32_flush(c) } else { c };
                if c >= 0.0 { a } else { b }
            }}),
            (_, Type::F32) => lanes!([imm] a: u32, b: u32, c: f32 => u32 {{
                let c = if imm != 0 { f32_flush(c) } else { c };
                if c >= 0.0 { a } else { b }
            }}),
            _ => return Err(unsupported(instruction, "a chooser of this type")),
        };
        self.compute(instruction, run, ty, &[ty, ty, chooser], imm)
    }
}
