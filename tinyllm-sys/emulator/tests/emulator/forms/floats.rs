//! Floating point: to nearest the processor's own, in other directions what brackets the exact result, functions within the
//! manual's bounds.

use half::{bf16, f16};

use super::harness::{Form, Kind, form, form_within};

fn single(bits: u64) -> f32 {
    f32::from_bits(bits as u32)
}

/// A result's bits: NaN is one.
fn bits32(value: f32) -> u64 {
    if value.is_nan() { 0x7fff_ffff } else { u64::from(value.to_bits()) }
}

fn bits64(value: f64) -> u64 {
    if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() }
}

fn flush(value: f32) -> f32 {
    if value.is_subnormal() { 0f32.copysign(value) } else { value }
}

fn saturate(value: f32) -> f32 {
    if value > 0.0 { value.min(1.0) } else { 0.0 }
}

/// The float next to an exact value (an f64 that stands for it, and on which side the rest is), in a direction.
fn directed(exact: f64, rest: f64, direction: &str) -> f32 {
    let nearest = exact as f32;
    if exact.is_nan() || exact.is_infinite() {
        return nearest;
    }
    let difference = f64::from(nearest) - exact;
    // Above the exact value, below it, or it.
    let above = difference > 0.0 || (difference == 0.0 && rest < 0.0);
    let below = difference < 0.0 || (difference == 0.0 && rest > 0.0);
    let down = direction == "rm" || (direction == "rz" && (exact > 0.0 || (exact == 0.0 && rest > 0.0)));
    match (down, above, below) {
        (true, true, _) => nearest.next_down(),
        (false, _, true) => nearest.next_up(),
        _ => nearest,
    }
}

/// An exact value as an f32 that rounds to fewer digits as the value does: cut off, with its last bit set where it is not exact.
pub(super) fn to_odd(exact: f64, rest: f64) -> f32 {
    let nearest = exact as f32;
    if exact.is_nan() || exact.is_infinite() {
        return nearest;
    }
    let difference = f64::from(nearest) - exact;
    if difference == 0.0 && rest == 0.0 {
        return nearest;
    }
    let cut = directed(exact, rest, "rz");
    f32::from_bits(cut.to_bits() | 1)
}

/// a + b in f64, and what that lost.
fn two_sum(a: f64, b: f64) -> (f64, f64) {
    let sum = a + b;
    let part = sum - a;
    let rest = (a - (sum - part)) + (b - part);
    (sum, if rest.is_nan() { 0.0 } else { rest })
}

pub(super) fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    singles(&mut forms);
    singles_directed(&mut forms);
    doubles(&mut forms);
    halves(&mut forms);
    extremes(&mut forms);
    functions(&mut forms);
    forms
}

/// A form that only changes the sign: which NaN it makes of NaN is nobody's business.
fn sign_form(
    text: impl Into<String>,
    kind: Kind,
    inputs: &[Kind],
    expected: impl Fn([u64; 3]) -> u64 + 'static,
) -> Form {
    let is_nan = move |bits: u64| match kind {
        Kind::F64 => f64::from_bits(bits).is_nan(),
        Kind::F32 => single(bits).is_nan(),
        Kind::F16 => f16::from_bits(bits as u16).is_nan(),
        _ => bf16::from_bits(bits as u16).is_nan(),
    };
    let half = move |bits: u64, index: u32| bits >> (16 * index) & 0xffff;
    form_within(text, kind, inputs, move |values, got| {
        let expected = expected(values);
        match kind {
            Kind::F16x2 => (0..2).all(|index| {
                let (expected, got) = (half(expected, index) as u16, half(got, index) as u16);
                expected == got || (f16::from_bits(expected).is_nan() && f16::from_bits(got).is_nan())
            }),
            Kind::Bf16x2 => (0..2).all(|index| {
                let (expected, got) = (half(expected, index) as u16, half(got, index) as u16);
                expected == got || (bf16::from_bits(expected).is_nan() && bf16::from_bits(got).is_nan())
            }),
            _ => expected == got || (is_nan(expected) && is_nan(got)),
        }
    })
}

type Binary = fn(f32, f32) -> f32;
type Property = fn(f32) -> bool;
type BinaryDouble = fn(f64, f64) -> f64;
type UnaryDouble = fn(f64) -> f64;

fn singles(forms: &mut Vec<Form>) {
    let two = [Kind::F32; 2];
    let binary: [(&str, Binary); 3] = [("add", |a, b| a + b), ("sub", |a, b| a - b), ("mul", |a, b| a * b)];
    for (name, run) in binary {
        for rounding in ["", ".rn"] {
            let text = |suffix: &str| format!("{name}{rounding}{suffix}.f32 {{d}}, {{a}}, {{b}};");
            forms.push(form(text(""), Kind::F32, &two, move |[a, b, _]| bits32(run(single(a), single(b)))));
            forms.push(form(text(".ftz"), Kind::F32, &two, move |[a, b, _]| {
                bits32(flush(run(flush(single(a)), flush(single(b)))))
            }));
            forms.push(form(text(".sat"), Kind::F32, &two, move |[a, b, _]| {
                bits32(saturate(run(single(a), single(b))))
            }));
        }
    }
    forms.push(form("div.rn.f32 {d}, {a}, {b};", Kind::F32, &two, |[a, b, _]| bits32(single(a) / single(b))));
    forms.push(form("div.rn.ftz.f32 {d}, {a}, {b};", Kind::F32, &two, |[a, b, _]| {
        bits32(flush(flush(single(a)) / flush(single(b))))
    }));
    for name in ["fma.rn", "mad.rn"] {
        forms.push(form(
            format!("{name}.f32 {{d}}, {{a}}, {{b}}, {{c}};"),
            Kind::F32,
            &[Kind::F32; 3],
            |[a, b, c]| bits32(single(a).mul_add(single(b), single(c))),
        ));
    }
    forms.push(form("fma.rn.ftz.f32 {d}, {a}, {b}, {c};", Kind::F32, &[Kind::F32; 3], |[a, b, c]| {
        bits32(flush(flush(single(a)).mul_add(flush(single(b)), flush(single(c)))))
    }));
    forms.push(form("fma.rn.sat.f32 {d}, {a}, {b}, {c};", Kind::F32, &[Kind::F32; 3], |[a, b, c]| {
        bits32(saturate(single(a).mul_add(single(b), single(c))))
    }));
    let one = [Kind::F32];
    forms.push(form("sqrt.rn.f32 {d}, {a};", Kind::F32, &one, |[a, ..]| bits32(single(a).sqrt())));
    forms.push(form("rcp.rn.f32 {d}, {a};", Kind::F32, &one, |[a, ..]| bits32(1.0 / single(a))));
    forms.push(sign_form("abs.f32 {d}, {a};", Kind::F32, &one, |[a, ..]| bits32(single(a).abs())));
    forms.push(sign_form("neg.f32 {d}, {a};", Kind::F32, &one, |[a, ..]| bits32(-single(a))));
    forms.push(sign_form("abs.ftz.f32 {d}, {a};", Kind::F32, &one, |[a, ..]| bits32(flush(single(a)).abs())));
    forms.push(sign_form("neg.ftz.f32 {d}, {a};", Kind::F32, &one, |[a, ..]| bits32(-flush(single(a)))));
    forms.push(form("copysign.f32 {d}, {a}, {b};", Kind::F32, &two, |[a, b, _]| {
        a & 0x8000_0000 | b & 0x7fff_ffff
    }));
    let properties: [(&str, Property); 6] = [
        ("finite", |a| a.is_finite()),
        ("infinite", |a| a.is_infinite()),
        ("number", |a| !a.is_nan()),
        ("notanumber", |a| a.is_nan()),
        // Zero counts as normal.
        ("normal", |a| a.is_normal() || a == 0.0),
        ("subnormal", |a| a.is_subnormal()),
    ];
    for (name, run) in properties {
        let text = format!("testp.{name}.f32 {{d}}, {{a}};");
        forms.push(form(text, Kind::Pred, &one, move |[a, ..]| u64::from(run(single(a)))));
    }
}

fn singles_directed(forms: &mut Vec<Form>) {
    for direction in ["rz", "rm", "rp"] {
        let two = [Kind::F32; 2];
        forms.push(form(
            format!("add.{direction}.f32 {{d}}, {{a}}, {{b}};"),
            Kind::F32,
            &two,
            move |[a, b, _]| {
                let (a, b) = (f64::from(single(a)), f64::from(single(b)));
                let (sum, rest) = two_sum(a, b);
                // What cancels is -0 downwards.
                let cancels = sum == 0.0 && rest == 0.0 && a != 0.0;
                bits32(if cancels && direction == "rm" {
                    -0.0
                } else {
                    zero_sum(a, b, direction).unwrap_or(directed(sum, rest, direction))
                })
            },
        ));
        forms.push(form(
            format!("mul.{direction}.f32 {{d}}, {{a}}, {{b}};"),
            Kind::F32,
            &two,
            move |[a, b, _]| bits32(directed(f64::from(single(a)) * f64::from(single(b)), 0.0, direction)),
        ));
        // r = a / b rounded: r * b, which is exact in f64, is on the right side of a, and the next one is not.
        forms.push(form_within(
            format!("div.{direction}.f32 {{d}}, {{a}}, {{b}};"),
            Kind::F32,
            &two,
            move |[a, b, _], got| {
                let (a, b) = (f64::from(single(a)), f64::from(single(b)));
                let quotient = a / b;
                if !quotient.is_finite() || quotient == 0.0 {
                    return got == bits32(quotient as f32);
                }
                let rest = quotient.mul_add(-b, a) * b.signum();
                got == bits32(directed(quotient, rest, direction))
            },
        ));
        forms.push(form(
            format!("sqrt.{direction}.f32 {{d}}, {{a}};"),
            Kind::F32,
            &[Kind::F32],
            move |[a, ..]| {
                let a = f64::from(single(a));
                let root = a.sqrt();
                let rest = if root > 0.0 && root.is_finite() { root.mul_add(-root, a) } else { 0.0 };
                bits32(if root == 0.0 || root.is_nan() {
                    root as f32
                } else {
                    directed(root, rest, direction)
                })
            },
        ));
        forms.push(form(
            format!("rcp.{direction}.f32 {{d}}, {{a}};"),
            Kind::F32,
            &[Kind::F32],
            move |[a, ..]| {
                let a = f64::from(single(a));
                let quotient = 1.0 / a;
                let rest = if quotient.is_finite() && a.is_finite() {
                    quotient.mul_add(-a, 1.0) * a.signum()
                } else {
                    0.0
                };
                bits32(if a.is_infinite() { quotient as f32 } else { directed(quotient, rest, direction) })
            },
        ));
        // A product of two f32 is exact in f64, and its sum with a third is a sum of two f64.
        forms.push(form(
            format!("fma.{direction}.f32 {{d}}, {{a}}, {{b}}, {{c}};"),
            Kind::F32,
            &[Kind::F32; 3],
            move |[a, b, c]| {
                let (product, c) = (f64::from(single(a)) * f64::from(single(b)), f64::from(single(c)));
                let (sum, rest) = two_sum(product, c);
                let cancels = sum == 0.0 && rest == 0.0 && product != 0.0;
                bits32(if cancels && direction == "rm" {
                    -0.0
                } else {
                    zero_sum(product, c, direction).unwrap_or(directed(sum, rest, direction))
                })
            },
        ));
    }
}

/// The sum of two zeros of different signs.
fn zero_sum(a: f64, b: f64, direction: &str) -> Option<f32> {
    let differ = a == 0.0 && b == 0.0 && a.is_sign_negative() != b.is_sign_negative();
    differ.then_some(if direction == "rm" { -0.0 } else { 0.0 })
}

fn doubles(forms: &mut Vec<Form>) {
    let two = [Kind::F64; 2];
    let value: fn(u64) -> f64 = f64::from_bits;
    let binary: [(&str, BinaryDouble); 4] = [
        ("add.rn", |a, b| a + b),
        ("sub.rn", |a, b| a - b),
        ("mul.rn", |a, b| a * b),
        ("div.rn", |a, b| a / b),
    ];
    for (name, run) in binary {
        let text = format!("{name}.f64 {{d}}, {{a}}, {{b}};");
        forms.push(form(text, Kind::F64, &two, move |[a, b, _]| bits64(run(value(a), value(b)))));
        if name != "div.rn" {
            let text = format!("{}.f64 {{d}}, {{a}}, {{b}};", &name[..3]);
            forms.push(form(text, Kind::F64, &two, move |[a, b, _]| bits64(run(value(a), value(b)))));
        }
        // In other directions: the nearest, or its neighbour on the side that the direction says.
        for direction in ["rz", "rm", "rp"] {
            let text = format!("{}.{direction}.f64 {{d}}, {{a}}, {{b}};", &name[..3]);
            forms.push(form_within(text, Kind::F64, &two, move |[a, b, _], got| {
                let nearest = run(value(a), value(b));
                if nearest.is_nan() {
                    return got == bits64(nearest);
                }
                let got = value(got);
                match direction {
                    "rm" => got == nearest || got == nearest.next_down(),
                    "rp" => got == nearest || got == nearest.next_up(),
                    _ => {
                        got == nearest
                            || (got.abs() < nearest.abs()
                                && got == nearest.abs().next_down().copysign(nearest))
                    }
                }
            }));
        }
    }
    forms.push(form("fma.rn.f64 {d}, {a}, {b}, {c};", Kind::F64, &[Kind::F64; 3], move |[a, b, c]| {
        bits64(value(a).mul_add(value(b), value(c)))
    }));
    let one = [Kind::F64];
    forms.push(form("sqrt.rn.f64 {d}, {a};", Kind::F64, &one, move |[a, ..]| bits64(value(a).sqrt())));
    forms.push(form("rcp.rn.f64 {d}, {a};", Kind::F64, &one, move |[a, ..]| bits64(1.0 / value(a))));
    forms.push(sign_form("abs.f64 {d}, {a};", Kind::F64, &one, move |[a, ..]| {
        value_or_nan(a, value(a).abs())
    }));
    forms.push(sign_form("neg.f64 {d}, {a};", Kind::F64, &one, move |[a, ..]| value_or_nan(a, -value(a))));
    let minimum = |a: f64, b: f64| if a == b { if a.is_sign_negative() { a } else { b } } else { a.min(b) };
    forms.push(form("min.f64 {d}, {a}, {b};", Kind::F64, &two, move |[a, b, _]| {
        bits64(minimum(value(a), value(b)))
    }));
    forms.push(form("max.f64 {d}, {a}, {b};", Kind::F64, &two, move |[a, b, _]| {
        bits64(-minimum(-value(a), -value(b)))
    }));
    forms
        .push(form("copysign.f64 {d}, {a}, {b};", Kind::F64, &two, |[a, b, _]| a & 1 << 63 | b & !(1 << 63)));
}

/// The sign of NaN is nobody's business: the manual leaves its bits open.
fn value_or_nan(input: u64, value: f64) -> u64 {
    if f64::from_bits(input).is_nan() { bits64(f64::NAN) } else { value.to_bits() }
}

/// Formats of 16 bits, as f64, and from f32 to nearest by the crate that everybody uses.
type Halves = (&'static str, Kind, Kind, fn(u16) -> f64, fn(f32) -> u16);

const HALVES: [Halves; 2] = [
    (
        "f16",
        Kind::F16,
        Kind::F16x2,
        |bits| f16::from_bits(bits).to_f64(),
        |value| f16::from_f32(value).to_bits(),
    ),
    (
        "bf16",
        Kind::Bf16,
        Kind::Bf16x2,
        |bits| bf16::from_bits(bits).to_f64(),
        |value| bf16::from_f32(value).to_bits(),
    ),
];

fn halves(forms: &mut Vec<Form>) {
    for (name, kind, pair, to, from) in HALVES {
        let exactly =
            move |exact: f64, rest: f64| if exact.is_nan() { 0x7fff } else { from(to_odd(exact, rest)) };
        let canonical = move |value: f64| exactly(value, 0.0);
        let run = move |operation: &str, values: [f64; 3]| -> (f64, f64) {
            let [a, b, c] = values;
            match operation {
                "add" => two_sum(a, b),
                "sub" => two_sum(a, -b),
                "mul" => (a * b, 0.0),
                _ => two_sum(a * b, c),
            }
        };
        for operation in ["add", "sub", "mul", "fma.rn"] {
            let inputs = if operation == "fma.rn" { 3 } else { 2 };
            let third = if inputs == 3 { ", {c}" } else { "" };
            let text = format!("{operation}.{name} {{d}}, {{a}}, {{b}}{third};");
            let check = move |values: [u16; 3], got: u16| {
                let (exact, rest) = run(operation, values.map(to));
                got == exactly(exact, rest)
            };
            forms.push(form_within(text, kind, &[kind; 3][..inputs], move |values, got| {
                check(values.map(|bits| bits as u16), got as u16)
            }));
            let text = format!("{operation}.{name}x2 {{d}}, {{a}}, {{b}}{third};");
            forms.push(form_within(text, pair, &[pair; 3][..inputs], move |values, got| {
                check(values.map(|bits| bits as u16), got as u16)
                    && check(values.map(|bits| (bits >> 16) as u16), (got >> 16) as u16)
            }));
        }
        for (operation, flip, keep) in [("neg", 0x8000u16, 0xffff), ("abs", 0, 0x7fff)] {
            let text = format!("{operation}.{name}x2 {{d}}, {{a}};");
            let one = move |bits: u16| if to(bits).is_nan() { 0x7fff } else { (bits ^ flip) & keep };
            forms.push(sign_form(text, pair, &[pair], move |[a, ..]| {
                u64::from(one(a as u16)) | u64::from(one((a >> 16) as u16)) << 16
            }));
            let text = format!("{operation}.{name} {{d}}, {{a}};");
            forms.push(sign_form(text, kind, &[kind], move |[a, ..]| u64::from(one(a as u16))));
        }
        for (operation, sign) in [("min", 1.0), ("max", -1.0)] {
            for (suffix, nan) in [("", false), (".NaN", true)] {
                let pick = move |a: u16, b: u16| -> u16 {
                    let (x, y) = (to(a) * sign, to(b) * sign);
                    match (x.is_nan(), y.is_nan()) {
                        (true, true) => 0x7fff,
                        (true, _) | (_, true) if nan => 0x7fff,
                        (true, false) => b,
                        (false, true) => a,
                        // Of two zeros, the one that the sign makes smaller.
                        _ if x == y => {
                            if x.is_sign_negative() {
                                a
                            } else {
                                b
                            }
                        }
                        _ => {
                            if x < y {
                                a
                            } else {
                                b
                            }
                        }
                    }
                };
                let text = format!("{operation}{suffix}.{name} {{d}}, {{a}}, {{b}};");
                forms
                    .push(form(text, kind, &[kind; 2], move |[a, b, _]| u64::from(pick(a as u16, b as u16))));
                let text = format!("{operation}{suffix}.{name}x2 {{d}}, {{a}}, {{b}};");
                forms.push(form(text, pair, &[pair; 2], move |[a, b, _]| {
                    u64::from(pick(a as u16, b as u16))
                        | u64::from(pick((a >> 16) as u16, (b >> 16) as u16)) << 16
                }));
            }
        }
        // Within a unit of the last place, which is far below the bounds of the manual.
        let tanh = format!("tanh.approx.{name} {{d}}, {{a}};");
        forms.push(form_within(tanh, kind, &[kind], move |[a, ..], got| {
            canonical(to(a as u16).tanh()).abs_diff(got as u16) <= 1
        }));
        let power = if name == "f16" { "ex2.approx.f16" } else { "ex2.approx.ftz.bf16" };
        forms.push(form_within(format!("{power} {{d}}, {{a}};"), kind, &[kind], move |[a, ..], got| {
            let expected = canonical(to(a as u16).exp2());
            let flushed = name == "bf16" && expected < 0x80 && got == 0;
            expected.abs_diff(got as u16) <= 1 || flushed
        }));
    }
    let clamp = |value: f64| if value > 0.0 { value.min(1.0) } else { 0.0 };
    forms.push(form("add.sat.f16 {d}, {a}, {b};", Kind::F16, &[Kind::F16; 2], move |[a, b, _]| {
        let (a, b) = (f16::from_bits(a as u16).to_f64(), f16::from_bits(b as u16).to_f64());
        u64::from(f16::from_f32(to_odd(clamp(a + b), 0.0)).to_bits())
    }));
    forms.push(form("fma.rn.relu.f16 {d}, {a}, {b}, {c};", Kind::F16, &[Kind::F16; 3], |values| {
        let [a, b, c] = values.map(|bits| f16::from_bits(bits as u16).to_f64());
        let (sum, rest) = two_sum(a * b, c);
        let bits = u64::from(f16::from_f32(to_odd(sum, rest)).to_bits());
        match sum.is_nan() {
            true => 0x7fff,
            false => {
                if bits & 0x8000 != 0 {
                    0
                } else {
                    bits
                }
            }
        }
    }));
}

fn extremes(forms: &mut Vec<Form>) {
    for (operation, sign) in [("min", 1f32), ("max", -1.0)] {
        for (suffix, nan, ftz, xorsign) in [
            ("", false, false, false),
            (".NaN", true, false, false),
            (".ftz", false, true, false),
            (".NaN.xorsign.abs", true, false, true),
            (".xorsign.abs", false, false, true),
        ] {
            let text = format!("{operation}{suffix}.f32 {{d}}, {{a}}, {{b}};");
            forms.push(form(text, Kind::F32, &[Kind::F32; 2], move |[a, b, _]| {
                let (a, b) = (single(a), single(b));
                let (a, b) = if ftz { (flush(a), flush(b)) } else { (a, b) };
                let negative = a.is_sign_negative() != b.is_sign_negative();
                let (a, b) = if xorsign { (a.abs(), b.abs()) } else { (a, b) };
                let (x, y) = (a * sign, b * sign);
                let picked = match (a.is_nan(), b.is_nan()) {
                    (true, true) => return 0x7fff_ffff,
                    (true, _) | (_, true) if nan => return 0x7fff_ffff,
                    (true, false) => b,
                    (false, true) => a,
                    _ if x == y => {
                        if x.is_sign_negative() {
                            a
                        } else {
                            b
                        }
                    }
                    _ => {
                        if x < y {
                            a
                        } else {
                            b
                        }
                    }
                };
                bits32(if xorsign && negative { -picked } else { picked })
            }));
        }
    }
}

fn functions(forms: &mut Vec<Form>) {
    /// Whether a result is as near as `units` of its last place, or `absolute`.
    fn near(expected: f64, got: u64, units: f64, absolute: f64) -> bool {
        let got = single(got);
        if expected.is_nan() || got.is_nan() {
            return expected.is_nan() && got.to_bits() == 0x7fff_ffff;
        }
        let nearest = expected as f32;
        if nearest.is_infinite() || got.is_infinite() {
            return nearest == got || (got - nearest).abs() <= f32::MAX / 1e6;
        }
        let place = f64::from(nearest.abs().next_up()) - f64::from(nearest.abs());
        (f64::from(got) - expected).abs() <= (units * place).max(absolute)
    }
    type Function = (&'static str, fn(f64) -> f64, f64, f64);
    let functions: [Function; 5] = [
        ("rcp.approx", |a| 1.0 / a, 1.0, 0.0),
        ("sqrt.approx", f64::sqrt, 1.0, 0.0),
        ("rsqrt.approx", |a| 1.0 / a.sqrt(), 2.0, 0.0),
        ("ex2.approx", f64::exp2, 2.0, 0.0),
        ("tanh.approx", f64::tanh, 4096.0, 0.0),
    ];
    for (name, exact, units, absolute) in functions {
        let text = format!("{name}.f32 {{d}}, {{a}};");
        forms.push(form_within(text, Kind::F32, &[Kind::F32], move |[a, ..], got| {
            near(exact(f64::from(single(a))), got, units, absolute)
        }));
        if name != "tanh.approx" {
            let text = format!("{name}.ftz.f32 {{d}}, {{a}};");
            forms.push(form_within(text, Kind::F32, &[Kind::F32], move |[a, ..], got| {
                let expected = exact(f64::from(flush(single(a))));
                near(expected, got, units, absolute)
                    || ((expected as f32).is_subnormal() && got & 0x7fff_ffff == 0)
            }));
        }
    }
    forms.push(form_within("lg2.approx.f32 {d}, {a};", Kind::F32, &[Kind::F32], |[a, ..], got| {
        near(f64::from(single(a)).log2(), got, 2.0, 2f64.powi(-22))
    }));
    // Bounds hold within [-pi, pi]; beyond, the result is some number of the range, or NaN of what is infinite.
    let circle: [(&str, UnaryDouble); 2] = [("sin", f64::sin), ("cos", f64::cos)];
    for (name, exact) in circle {
        forms.push(form_within(
            format!("{name}.approx.f32 {{d}}, {{a}};"),
            Kind::F32,
            &[Kind::F32],
            move |[a, ..], got| {
                let a = f64::from(single(a));
                match a.abs() <= std::f64::consts::PI {
                    true => near(exact(a), got, 0.0, 2f64.powf(-20.9)),
                    false if a.is_finite() => single(got).abs() <= 1.0,
                    false => got == 0x7fff_ffff,
                }
            },
        ));
    }
    let two = [Kind::F32; 2];
    forms.push(form_within("div.full.f32 {d}, {a}, {b};", Kind::F32, &two, |[a, b, _], got| {
        near(f64::from(single(a)) / f64::from(single(b)), got, 2.0, 0.0)
    }));
    forms.push(form_within("div.approx.f32 {d}, {a}, {b};", Kind::F32, &two, |[a, b, _], got| {
        let (a, b) = (single(a), single(b));
        let large = b.is_finite() && b.abs() > 2f32.powi(126);
        match (large, a.is_infinite()) {
            (true, true) => got == 0x7fff_ffff,
            (true, false) => a.is_nan() && got == 0x7fff_ffff || got & 0x7fff_ffff == 0,
            _ => near(f64::from(a) / f64::from(b), got, 2.0, 0.0),
        }
    }));
    forms.push(form_within("rcp.approx.ftz.f64 {d}, {a};", Kind::F64, &[Kind::F64], |[a, ..], got| {
        let (a, got) = (f64::from_bits(a), f64::from_bits(got));
        let expected = 1.0 / if a.is_subnormal() { 0f64.copysign(a) } else { a };
        match expected.is_finite() && expected != 0.0 && !expected.is_subnormal() {
            true => ((got - expected) / expected).abs() <= 2f64.powi(-19),
            false => (expected.is_nan() && got.is_nan()) || expected == got || got == 0.0,
        }
    }));
}
