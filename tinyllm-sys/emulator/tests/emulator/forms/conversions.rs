//! Moves and conversions.

use half::{bf16, f16};

use super::{
    floats::to_odd,
    harness::{Form, Kind, form},
    integers::{INTS, Int, cut},
};

/// Integer types of conversions: those of 8 bits too, which live in wider registers.
const NARROW: [Int; 2] =
    [Int { name: "u8", bits: 8, signed: false }, Int { name: "s8", bits: 8, signed: true }];

/// The kind of register that holds a type.
fn register(ty: Int) -> Kind {
    if ty.bits == 8 { Kind::I16 } else { ty.kind() }
}

fn limits(ty: Int) -> (i128, i128) {
    match ty.signed {
        true => (-(1 << (ty.bits - 1)), (1 << (ty.bits - 1)) - 1),
        false => (0, (1 << ty.bits) - 1),
    }
}

/// A number as its type's register holds it: extended.
fn held(value: i128, ty: Int) -> u64 {
    cut(ty.number(cut(value, ty.bits.min(64)) & (u64::MAX >> (64 - ty.bits))), register(ty).bits())
}

pub(super) fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    moves(&mut forms);
    let types = || INTS.into_iter().chain(NARROW);
    for from in types() {
        for to in types() {
            let text = |sat: &str| format!("cvt{sat}.{}.{} {{d}}, {{a}};", to.name, from.name);
            let number = move |bits: u64| from.number(bits);
            forms.push(form(text(""), register(to), &[register(from)], move |[a, ..]| held(number(a), to)));
            forms.push(form(text(".sat"), register(to), &[register(from)], move |[a, ..]| {
                let (low, high) = limits(to);
                held(number(a).clamp(low, high), to)
            }));
        }
    }
    floats_to_integers(&mut forms);
    integers_to_floats(&mut forms);
    floats(&mut forms);
    forms
}

fn moves(forms: &mut Vec<Form>) {
    for (name, kind) in
        [("b16", Kind::I16), ("b32", Kind::I32), ("b64", Kind::I64), ("f32", Kind::F32), ("u64", Kind::I64)]
    {
        forms.push(form(format!("mov.{name} {{d}}, {{a}};"), kind, &[kind], |[a, ..]| a));
    }
    forms.push(form("mov.pred {d}, {a};", Kind::Pred, &[Kind::Pred], |[a, ..]| a));
    forms.push(form("mov.b32 {d}, {{a}, {b}};", Kind::I32, &[Kind::I16; 2], |[a, b, _]| a | b << 16));
    forms.push(form("mov.b64 {d}, {{a}, {b}};", Kind::I64, &[Kind::I32; 2], |[a, b, _]| a | b << 32));
    forms.push(form("mov.b32 {%h1, {d}}, {a};", Kind::I16, &[Kind::I32], |[a, ..]| a >> 16));
    forms.push(form("mov.b64 {{d}, %r1}, {a};", Kind::I32, &[Kind::I64], |[a, ..]| a & 0xffff_ffff));
    forms.push(form("mov.b64 {%h1, %h2, {d}, %h3}, {a};", Kind::I16, &[Kind::I64], |[a, ..]| {
        a >> 32 & 0xffff
    }));
    forms.push(form("mov.b64 {d}, {{a}, {b}, {c}, {a}};", Kind::I64, &[Kind::I16; 3], |[a, b, c]| {
        a | b << 16 | c << 32 | a << 48
    }));
    forms.push(form("mov.u32 {d}, 0x12345678;", Kind::I32, &[], |_| 0x1234_5678));
    forms.push(form("mov.f32 {d}, 0f40490FDB;", Kind::F32, &[], |_| 0x4049_0fdb));
    forms.push(form("mov.u32 {d}, WARP_SZ;", Kind::I32, &[], |_| 32));
    forms.push(form("mov.u32 {d}, %ntid.x;", Kind::I32, &[], |_| 256));
}

type Rounding = (&'static str, fn(f64) -> f64);

const ROUNDINGS: [Rounding; 4] =
    [("rni", f64::round_ties_even), ("rzi", f64::trunc), ("rmi", f64::floor), ("rpi", f64::ceil)];

type Float = (&'static str, Kind, fn(u64) -> f64);

const FLOATS: [Float; 4] = [
    ("f32", Kind::F32, |bits| f64::from(f32::from_bits(bits as u32))),
    ("f64", Kind::F64, f64::from_bits),
    ("f16", Kind::F16, |bits| f16::from_bits(bits as u16).to_f64()),
    ("bf16", Kind::Bf16, |bits| bf16::from_bits(bits as u16).to_f64()),
];

fn floats_to_integers(forms: &mut Vec<Form>) {
    for (name, kind, value) in FLOATS {
        for (rounding, round) in ROUNDINGS {
            for to in INTS.into_iter().chain(NARROW) {
                // What is in the manual for bf16 stops at s32 and its kin of later targets; the interpreter has them all.
                let text = format!("cvt.{rounding}.{}.{name} {{d}}, {{a}};", to.name);
                forms.push(form(text, register(to), &[kind], move |[a, ..]| {
                    let number = round(value(a));
                    let (low, high) = limits(to);
                    if number.is_nan() {
                        // 0, but for f64 and for results of 64 bits: those have their highest bit.
                        let top = kind == Kind::F64 || to.bits == 64;
                        return if top { held(1 << (to.bits - 1), to) } else { 0 };
                    }
                    // 128 bits hold every number that matters; larger ones are clamped by the conversion here.
                    held((number as i128).clamp(low, high), to)
                }));
            }
        }
    }
}

fn integers_to_floats(forms: &mut Vec<Form>) {
    for from in INTS.into_iter().chain(NARROW) {
        let number = move |bits: u64| from.number(bits);
        forms.push(form(
            format!("cvt.rn.f32.{} {{d}}, {{a}};", from.name),
            Kind::F32,
            &[register(from)],
            move |[a, ..]| u64::from((number(a) as f32).to_bits()),
        ));
        forms.push(form(
            format!("cvt.rn.f64.{} {{d}}, {{a}};", from.name),
            Kind::F64,
            &[register(from)],
            move |[a, ..]| (number(a) as f64).to_bits(),
        ));
        for (direction, up) in [("rz", None), ("rm", Some(false)), ("rp", Some(true))] {
            let text = format!("cvt.{direction}.f32.{} {{d}}, {{a}};", from.name);
            forms.push(form(text, Kind::F32, &[register(from)], move |[a, ..]| {
                let exact = number(a);
                let nearest = exact as f32;
                let up = up.unwrap_or(exact < 0);
                let result = match (nearest as i128).cmp(&exact) {
                    std::cmp::Ordering::Greater if !up => nearest.next_down(),
                    std::cmp::Ordering::Less if up => nearest.next_up(),
                    _ => nearest,
                };
                u64::from(result.to_bits())
            }));
        }
        // Integers beyond 2^53 round once: what f64 loses is far below half of f16's last place, but for ties, where
        // the magnitude is beyond f16 anyway.
        forms.push(form(
            format!("cvt.rn.f16.{} {{d}}, {{a}};", from.name),
            Kind::F16,
            &[register(from)],
            move |[a, ..]| u64::from(f16::from_f64(number(a) as f64).to_bits()),
        ));
    }
}

fn floats(forms: &mut Vec<Form>) {
    let bits32 = |value: f32| if value.is_nan() { 0x7fff_ffff } else { u64::from(value.to_bits()) };
    let bits64 = |value: f64| if value.is_nan() { 0x7ff8_0000_0000_0000 } else { value.to_bits() };
    let flush = |value: f32| if value.is_subnormal() { 0f32.copysign(value) } else { value };
    let clamp = |value: f32| if value > 0.0 { value.min(1.0) } else { 0.0 };
    let single = |bits: u64| f32::from_bits(bits as u32);
    forms.push(form("cvt.f64.f32 {d}, {a};", Kind::F64, &[Kind::F32], move |[a, ..]| {
        bits64(f64::from(single(a)))
    }));
    forms.push(form("cvt.rn.f32.f64 {d}, {a};", Kind::F32, &[Kind::F64], move |[a, ..]| {
        bits32(f64::from_bits(a) as f32)
    }));
    for (direction, up) in [("rz", None), ("rm", Some(false)), ("rp", Some(true))] {
        forms.push(form(
            format!("cvt.{direction}.f32.f64 {{d}}, {{a}};"),
            Kind::F32,
            &[Kind::F64],
            move |[a, ..]| {
                let exact = f64::from_bits(a);
                let nearest = exact as f32;
                let up = up.unwrap_or(exact < 0.0);
                bits32(match f64::from(nearest).partial_cmp(&exact) {
                    Some(std::cmp::Ordering::Greater) if !up => nearest.next_down(),
                    Some(std::cmp::Ordering::Less) if up => nearest.next_up(),
                    _ => nearest,
                })
            },
        ));
    }
    forms.push(form("cvt.ftz.f64.f32 {d}, {a};", Kind::F64, &[Kind::F32], move |[a, ..]| {
        bits64(f64::from(flush(single(a))))
    }));
    forms.push(form("cvt.rn.sat.f32.f64 {d}, {a};", Kind::F32, &[Kind::F64], move |[a, ..]| {
        bits32(clamp(f64::from_bits(a) as f32))
    }));
    forms.push(form("cvt.sat.f32.f32 {d}, {a};", Kind::F32, &[Kind::F32], move |[a, ..]| {
        bits32(clamp(single(a)))
    }));
    for (rounding, round) in ROUNDINGS {
        let text = format!("cvt.{rounding}.f32.f32 {{d}}, {{a}};");
        forms.push(form(text, Kind::F32, &[Kind::F32], move |[a, ..]| {
            bits32(round(f64::from(single(a))) as f32)
        }));
        let text = format!("cvt.{rounding}.f64.f64 {{d}}, {{a}};");
        forms.push(form(text, Kind::F64, &[Kind::F64], move |[a, ..]| bits64(round(f64::from_bits(a)))));
        let text = format!("cvt.{rounding}.f16.f16 {{d}}, {{a}};");
        forms.push(form(text, Kind::F16, &[Kind::F16], move |[a, ..]| {
            let value = round(f16::from_bits(a as u16).to_f64());
            if value.is_nan() { 0x7fff } else { u64::from(f16::from_f64(value).to_bits()) }
        }));
    }
    type Half = (&'static str, Kind, Kind, fn(u16) -> f32, fn(f32) -> u16);
    let halves: [Half; 2] = [
        (
            "f16",
            Kind::F16,
            Kind::F16x2,
            |bits| f16::from_bits(bits).to_f32(),
            |value| f16::from_f32(value).to_bits(),
        ),
        (
            "bf16",
            Kind::Bf16,
            Kind::Bf16x2,
            |bits| bf16::from_bits(bits).to_f32(),
            |value| bf16::from_f32(value).to_bits(),
        ),
    ];
    for (name, kind, pair, to, from) in halves {
        let narrow = move |value: f32| if value.is_nan() { 0x7fff } else { u64::from(from(value)) };
        forms.push(form(format!("cvt.f32.{name} {{d}}, {{a}};"), Kind::F32, &[kind], move |[a, ..]| {
            bits32(to(a as u16))
        }));
        forms.push(form(format!("cvt.rn.{name}.f32 {{d}}, {{a}};"), kind, &[Kind::F32], move |[a, ..]| {
            narrow(single(a))
        }));
        forms.push(form(
            format!("cvt.rn.relu.{name}.f32 {{d}}, {{a}};"),
            kind,
            &[Kind::F32],
            move |[a, ..]| {
                let value = single(a);
                if value < 0.0 || narrow(value) == 0x8000 { 0 } else { narrow(value) }
            },
        ));
        forms.push(form(format!("cvt.rz.{name}.f32 {{d}}, {{a}};"), kind, &[Kind::F32], move |[a, ..]| {
            let nearest = narrow(single(a));
            let above = to(nearest as u16).abs() > single(a).abs();
            if above { nearest - 1 } else { nearest }
        }));
        forms.push(form(
            format!("cvt.rn.{name}x2.f32 {{d}}, {{a}}, {{b}};"),
            pair,
            &[Kind::F32; 2],
            move |[a, b, _]| narrow(single(b)) | narrow(single(a)) << 16,
        ));
    }
    forms.push(form("cvt.rn.f16.f64 {d}, {a};", Kind::F16, &[Kind::F64], |[a, ..]| {
        let value = f64::from_bits(a);
        if value.is_nan() { 0x7fff } else { u64::from(f16::from_f32(to_odd(value, 0.0)).to_bits()) }
    }));
    forms.push(form("cvt.f64.f16 {d}, {a};", Kind::F64, &[Kind::F16], move |[a, ..]| {
        bits64(f16::from_bits(a as u16).to_f64())
    }));
    forms.push(form("cvt.rna.tf32.f32 {d}, {a};", Kind::I32, &[Kind::F32], move |[a, ..]| {
        let value = single(a);
        if value.is_nan() {
            return 0x7fff_ffff;
        }
        // Ties away from zero: half of a last place more, the rest cut off.
        if value.is_infinite() { a } else { (a + 0x1000) & !0x1fff }
    }));
}
