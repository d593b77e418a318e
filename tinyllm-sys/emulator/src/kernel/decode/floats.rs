//! Floating-point arithmetic: f32, f64, and the 16-bit formats one by one and in pairs.

use super::{Decoded, body::Decoder, modifiers::Modifiers, unsupported};
use crate::{
    lanes::{LaneFn, lanes},
    numerics::*,
    ptx::ast::{Instruction, Type},
};

/// Bits of an instruction's constant for minima and maxima.
const NAN: u32 = 1;
const XORSIGN: u32 = 2;
const FTZ: u32 = 4;

fn is_float(ty: Type) -> bool {
    matches!(ty, Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2 | Type::F32 | Type::F64)
}

/// Subnormal numbers as 0 where the constant asks for it.
#[inline(always)]
fn flushed<T: HalfFloat>(a: u16, ftz: u32) -> u16 {
    if ftz != 0 { half_flush::<T>(a) } else { a }
}

/// A property by its number in an instruction's constant.
#[inline(always)]
fn property(index: u32) -> TestProperty {
    match index {
        0 => TestProperty::Finite,
        1 => TestProperty::Infinite,
        2 => TestProperty::Number,
        3 => TestProperty::NotANumber,
        4 => TestProperty::Normal,
        _ => TestProperty::Subnormal,
    }
}

/// A function of both halves of a register.
#[inline(always)]
fn both1(a: u32, run: impl Fn(u16) -> u16) -> u32 {
    u32::from(run(a as u16)) | u32::from(run((a >> 16) as u16)) << 16
}

#[inline(always)]
fn both2(a: u32, b: u32, run: impl Fn(u16, u16) -> u16) -> u32 {
    u32::from(run(a as u16, b as u16)) | u32::from(run((a >> 16) as u16, (b >> 16) as u16)) << 16
}

#[inline(always)]
fn both3(a: u32, b: u32, c: u32, run: impl Fn(u16, u16, u16) -> u16) -> u32 {
    u32::from(run(a as u16, b as u16, c as u16))
        | u32::from(run((a >> 16) as u16, (b >> 16) as u16, (c >> 16) as u16)) << 16
}

/// A function of 16-bit numbers for each of the four formats, with the instruction's constant.
macro_rules! halves {
    ($ty:expr, [$imm:ident] |$a:ident| $format:ident $body:expr) => {
        halves!(@ $ty, $format, $body, [$imm] ($a: u16), ($a: u32), both1)
    };
    ($ty:expr, [$imm:ident] |$a:ident, $b:ident| $format:ident $body:expr) => {
        halves!(@ $ty, $format, $body, [$imm] ($a: u16, $b: u16), ($a: u32, $b: u32), both2)
    };
    ($ty:expr, [$imm:ident] |$a:ident, $b:ident, $c:ident| $format:ident $body:expr) => {
        halves!(@ $ty, $format, $body, [$imm] ($a: u16, $b: u16, $c: u16), ($a: u32, $b: u32, $c: u32), both3)
    };
    (@ $ty:expr, $format:ident, $body:expr, [$imm:ident] ($($one:ident: u16),+), ($($two:ident: u32),+), $both:ident) => {
        match $ty {
            Type::F16 => { type $format = F16; lanes!([$imm] $($one: u16),+ => u16 { $body }) }
            Type::Bf16 => { type $format = Bf16; lanes!([$imm] $($one: u16),+ => u16 { $body }) }
            Type::F16x2 => { type $format = F16; lanes!([$imm] $($two: u32),+ => u32 { $both($($two),+, |$($one),+| $body) }) }
            _ => { type $format = Bf16; lanes!([$imm] $($two: u32),+ => u32 { $both($($two),+, |$($one),+| $body) }) }
        }
    };
}

fn sum(ty: Type, mode: Mode) -> LaneFn {
    match ty {
        Type::F32 if mode == Mode::default() => lanes!(a: f32, b: f32 => f32 { f32_add_rn(a, b) }),
        Type::F32 => lanes!([imm] a: f32, b: f32 => f32 { f32_add(a, b, Mode::unpack(imm)) }),
        Type::F64 => lanes!([imm] a: f64, b: f64 => f64 { f64_add(a, b, Mode::unpack(imm).rounding) }),
        ty => halves!(ty, [imm] |a, b| T half_add::<T>(a, b, Mode::unpack(imm))),
    }
}

fn difference(ty: Type, mode: Mode) -> LaneFn {
    match ty {
        Type::F32 if mode == Mode::default() => lanes!(a: f32, b: f32 => f32 { f32_sub_rn(a, b) }),
        Type::F32 => lanes!([imm] a: f32, b: f32 => f32 { f32_sub(a, b, Mode::unpack(imm)) }),
        Type::F64 => lanes!([imm] a: f64, b: f64 => f64 { f64_sub(a, b, Mode::unpack(imm).rounding) }),
        ty => halves!(ty, [imm] |a, b| T half_sub::<T>(a, b, Mode::unpack(imm))),
    }
}

fn product(ty: Type, mode: Mode) -> LaneFn {
    match ty {
        Type::F32 if mode == Mode::default() => lanes!(a: f32, b: f32 => f32 { f32_mul_rn(a, b) }),
        Type::F32 => lanes!([imm] a: f32, b: f32 => f32 { f32_mul(a, b, Mode::unpack(imm)) }),
        Type::F64 => lanes!([imm] a: f64, b: f64 => f64 { f64_mul(a, b, Mode::unpack(imm).rounding) }),
        ty => halves!(ty, [imm] |a, b| T half_mul::<T>(a, b, Mode::unpack(imm))),
    }
}

fn product_sum(ty: Type, mode: Mode) -> LaneFn {
    match ty {
        Type::F32 if mode == Mode::default() => lanes!(a: f32, b: f32, c: f32 => f32 { f32_fma_rn(a, b, c) }),
        Type::F32 => lanes!([imm] a: f32, b: f32, c: f32 => f32 { f32_fma(a, b, c, Mode::unpack(imm)) }),
        Type::F64 => {
            lanes!([imm] a: f64, b: f64, c: f64 => f64 { f64_fma(a, b, c, Mode::unpack(imm).rounding) })
        }
        ty => halves!(ty, [imm] |a, b, c| T half_fma::<T>(a, b, c, Mode::unpack(imm))),
    }
}

fn smaller(ty: Type) -> LaneFn {
    match ty {
        Type::F32 => lanes!([imm] a: f32, b: f32 => f32 {
            f32_min(a, b, imm & NAN != 0, imm & XORSIGN != 0, imm & FTZ != 0)
        }),
        Type::F64 => lanes!(a: f64, b: f64 => f64 { f64_min(a, b) }),
        ty => {
            halves!(ty, [imm] |a, b| T half_min::<T>(flushed::<T>(a, imm & FTZ), flushed::<T>(b, imm & FTZ), imm & NAN != 0, imm & XORSIGN != 0))
        }
    }
}

fn larger(ty: Type) -> LaneFn {
    match ty {
        Type::F32 => lanes!([imm] a: f32, b: f32 => f32 {
            f32_max(a, b, imm & NAN != 0, imm & XORSIGN != 0, imm & FTZ != 0)
        }),
        Type::F64 => lanes!(a: f64, b: f64 => f64 { f64_max(a, b) }),
        ty => {
            halves!(ty, [imm] |a, b| T half_max::<T>(flushed::<T>(a, imm & FTZ), flushed::<T>(b, imm & FTZ), imm & NAN != 0, imm & XORSIGN != 0))
        }
    }
}

impl Decoder<'_> {
    pub(super) fn floats(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>) -> Decoded {
        let Some(ty) = modifiers.types().first().copied().filter(|ty| is_float(*ty)) else { return Ok(None) };
        let opcode = instruction.opcode.as_str();
        let approximate = ["div", "rcp", "sqrt", "rsqrt", "sin", "cos", "lg2", "ex2", "tanh"];
        if approximate.contains(&opcode) && (modifiers.flag("approx") || modifiers.flag("full")) {
            return self.approximations(instruction, modifiers, ty);
        }
        match opcode {
            "add" | "sub" | "mul" | "fma" | "mad" | "div" | "rcp" | "sqrt" => {
                let mode = modifiers.mode();
                let imm = mode.pack();
                match (opcode, ty) {
                    ("add", _) => self.compute(instruction, sum(ty, mode), ty, &[ty; 2], imm),
                    ("sub", _) => self.compute(instruction, difference(ty, mode), ty, &[ty; 2], imm),
                    ("mul", _) => self.compute(instruction, product(ty, mode), ty, &[ty; 2], imm),
                    ("fma", _) | ("mad", Type::F32 | Type::F64) => {
                        self.compute(instruction, product_sum(ty, mode), ty, &[ty; 3], imm)
                    }
                    ("div", Type::F32) => {
                        let run = lanes!([imm] a: f32, b: f32 => f32 { f32_div(a, b, Mode::unpack(imm)) });
                        self.compute(instruction, run, ty, &[ty; 2], imm)
                    }
                    ("div", Type::F64) => {
                        let run =
                            lanes!([imm] a: f64, b: f64 => f64 { f64_div(a, b, Mode::unpack(imm).rounding) });
                        self.compute(instruction, run, ty, &[ty; 2], imm)
                    }
                    ("rcp", Type::F32) => {
                        let run = lanes!([imm] a: f32 => f32 { f32_rcp(a, Mode::unpack(imm)) });
                        self.compute(instruction, run, ty, &[ty], imm)
                    }
                    ("rcp", Type::F64) => {
                        let run = lanes!([imm] a: f64 => f64 { f64_rcp(a, Mode::unpack(imm).rounding) });
                        self.compute(instruction, run, ty, &[ty], imm)
                    }
                    ("sqrt", Type::F32) => {
                        let run = lanes!([imm] a: f32 => f32 { f32_sqrt(a, Mode::unpack(imm)) });
                        self.compute(instruction, run, ty, &[ty], imm)
                    }
                    ("sqrt", Type::F64) => {
                        let run = lanes!([imm] a: f64 => f64 { f64_sqrt(a, Mode::unpack(imm).rounding) });
                        self.compute(instruction, run, ty, &[ty], imm)
                    }
                    _ => Err(unsupported(instruction, "this type")),
                }
            }
            "min" | "max" => {
                let nan = modifiers.flag("NaN");
                let xorsign = modifiers.flag("xorsign");
                modifiers.flag("abs");
                let ftz = modifiers.flag("ftz");
                let bit = |set: bool, bit: u32| if set { bit } else { 0 };
                let imm = bit(nan, NAN) | bit(xorsign, XORSIGN) | bit(ftz, FTZ);
                let run = if opcode == "min" { smaller(ty) } else { larger(ty) };
                self.compute(instruction, run, ty, &[ty; 2], imm)
            }
            "abs" | "neg" => self.sign(instruction, modifiers, ty),
            "copysign" => {
                let run = match ty {
                    Type::F32 => lanes!(a: f32, b: f32 => f32 { f32_copysign(a, b) }),
                    Type::F64 => lanes!(a: f64, b: f64 => f64 { f64_copysign(a, b) }),
                    _ => return Err(unsupported(instruction, "this type")),
                };
                self.compute(instruction, run, ty, &[ty; 2], 0)
            }
            "testp" => self.test_property(instruction, modifiers, ty),
            _ => Ok(None),
        }
    }

    fn sign(&mut self, instruction: &Instruction, modifiers: &mut Modifiers<'_>, ty: Type) -> Decoded {
        let imm = u32::from(modifiers.flag("ftz"));
        let negate = instruction.opcode == "neg";
        let run = match (ty, negate) {
            (Type::F32, false) => lanes!([imm] a: f32 => f32 { f32_abs(a, imm != 0) }),
            (Type::F32, true) => lanes!([imm] a: f32 => f32 { f32_neg(a, imm != 0) }),
            (Type::F64, false) => lanes!(a: f64 => f64 { f64_abs(a) }),
            (Type::F64, true) => lanes!(a: f64 => f64 { f64_neg(a) }),
            (ty, false) => halves!(ty, [imm] |a| T half_abs(flushed::<T>(a, imm))),
            (ty, true) => halves!(ty, [imm] |a| T half_neg(flushed::<T>(a, imm))),
        };
        self.compute(instruction, run, ty, &[ty], imm)
    }

    fn approximations(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        ty: Type,
    ) -> Decoded {
        let imm = u32::from(modifiers.flag("ftz"));
        let full = modifiers.flag("full");
        let run = match (instruction.opcode.as_str(), ty) {
            ("div", Type::F32) => {
                let run = match full {
                    true => lanes!([imm] a: f32, b: f32 => f32 { div_full(a, b, imm != 0) }),
                    false => lanes!([imm] a: f32, b: f32 => f32 { div_approx(a, b, imm != 0) }),
                };
                return self.compute(instruction, run, ty, &[ty; 2], imm);
            }
            ("rcp", Type::F32) => lanes!([imm] a: f32 => f32 { rcp_approx(a, imm != 0) }),
            ("rcp", Type::F64) if imm != 0 => lanes!(a: f64 => f64 { rcp_approx_ftz_f64(a) }),
            ("rsqrt", Type::F32) => lanes!([imm] a: f32 => f32 { rsqrt_approx(a, imm != 0) }),
            ("rsqrt", Type::F64) if imm != 0 => lanes!(a: f64 => f64 { rsqrt_approx_ftz_f64(a) }),
            ("rsqrt", Type::F64) => lanes!(a: f64 => f64 { rsqrt_approx_f64(a) }),
            ("sqrt", Type::F32) => lanes!([imm] a: f32 => f32 { sqrt_approx(a, imm != 0) }),
            ("sin", Type::F32) => lanes!([imm] a: f32 => f32 { sin_approx(a, imm != 0) }),
            ("cos", Type::F32) => lanes!([imm] a: f32 => f32 { cos_approx(a, imm != 0) }),
            ("lg2", Type::F32) => lanes!([imm] a: f32 => f32 { lg2_approx(a, imm != 0) }),
            ("ex2", Type::F32) => lanes!([imm] a: f32 => f32 { ex2_approx(a, imm != 0) }),
            ("tanh", Type::F32) => lanes!(a: f32 => f32 { tanh_approx(a, false) }),
            ("ex2", Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2) => {
                halves!(ty, [imm] |a| T flushed::<T>(half_ex2::<T>(flushed::<T>(a, imm)), imm))
            }
            ("tanh", Type::F16 | Type::F16x2 | Type::Bf16 | Type::Bf16x2) => {
                halves!(ty, [_imm] |a| T half_tanh::<T>(a))
            }
            _ => return Err(unsupported(instruction, "this type")),
        };
        self.compute(instruction, run, ty, &[ty], imm)
    }

    fn test_property(
        &mut self,
        instruction: &Instruction,
        modifiers: &mut Modifiers<'_>,
        ty: Type,
    ) -> Decoded {
        let asked = modifiers.one_of(&[
            ("finite", TestProperty::Finite),
            ("infinite", TestProperty::Infinite),
            ("number", TestProperty::Number),
            ("notanumber", TestProperty::NotANumber),
            ("normal", TestProperty::Normal),
            ("subnormal", TestProperty::Subnormal),
        ]);
        let asked = asked.ok_or_else(|| unsupported(instruction, "no property"))?;
        let imm = asked as u32;
        let run = match ty {
            Type::F32 => lanes!([imm] a: f32 => bool { testp_f32(a, property(imm)) }),
            Type::F64 => lanes!([imm] a: f64 => bool { testp_f64(a, property(imm)) }),
            _ => return Err(unsupported(instruction, "this type")),
        };
        self.compute(instruction, run, Type::Pred, &[ty], imm)
    }
}
