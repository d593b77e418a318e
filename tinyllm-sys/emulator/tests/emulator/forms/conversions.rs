//! Moves and conversions: every `cvt` by what its words say.

use super::{
    exact::{Format, format},
    harness::{Form, Kind, form, form_within},
    integers::{Int, cut, integer},
};

/// The kind of register that holds an integer type: those of 8 bits live in wider ones.
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

pub(super) fn moves() -> Vec<Form> {
    let mut forms = Vec::new();
    for (name, kind) in [
        ("b16", Kind::I16),
        ("u16", Kind::I16),
        ("s16", Kind::I16),
        ("b32", Kind::I32),
        ("u32", Kind::I32),
        ("s32", Kind::I32),
        ("b64", Kind::I64),
        ("u64", Kind::I64),
        ("s64", Kind::I64),
        ("f32", Kind::F32),
        ("f64", Kind::F64),
        ("pred", Kind::Pred),
    ] {
        forms.push(form(format!("mov.{name} {{d}}, {{a}};"), kind, &[kind], |[a, ..]| a));
    }
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
    forms
}

/// What is said between `cvt` and its types.
#[derive(Clone)]
struct Mode {
    rounding: String,
    ftz: bool,
    saturate: bool,
    rectify: bool,
}

/// The form of a name.
pub(super) fn reference(name: &str) -> Form {
    let words: Vec<&str> = name.split('.').collect();
    let [_, modifiers @ .., to, from] = words.as_slice() else { panic!("{name} has no two types") };
    let has = |word: &str| modifiers.contains(&word);
    let rounding = modifiers.iter().find(|word| word.starts_with('r') && word.len() <= 3);
    let mode = Mode {
        rounding: rounding.copied().unwrap_or("rn").to_owned(),
        ftz: has("ftz"),
        saturate: has("sat"),
        rectify: has("relu"),
    };
    let text = format!("{name} {{d}}, {{a}};");
    if *to == "tf32" {
        return form(text, Kind::I32, &[Kind::F32], |[a, ..]| rounded_away(a));
    }
    if to.ends_with("x2") {
        let kind = if *to == "f16x2" { Kind::F16x2 } else { Kind::Bf16x2 };
        let to = format(to).unwrap();
        let convert = move |bits| between(&mode, to, format("f32").unwrap(), bits);
        let text = format!("{name} {{d}}, {{a}}, {{b}};");
        return form(text, kind, &[Kind::F32; 2], move |[a, b, _]| convert(b) | convert(a) << 16);
    }
    match (integer(to), integer(from), format(to), format(from)) {
        (Some(to), Some(from), ..) => form(text, register(to), &[register(from)], move |[a, ..]| {
            let (low, high) = limits(to);
            let number = from.number(a);
            held(if mode.saturate { number.clamp(low, high) } else { number }, to)
        }),
        (Some(to), _, _, Some(from)) => {
            form(text, register(to), &[from.kind], move |[a, ..]| to_integer(&mode, to, from, a))
        }
        (_, Some(from), Some(to), _) => {
            form(text, to.kind, &[register(from)], move |[a, ..]| from_integer(&mode, to, from.number(a)))
        }
        (_, _, Some(to), Some(from)) => {
            // Which NaN it is differs from form to form.
            let is_nan = move |bits| (to.value)(bits).is_nan();
            form_within(text, to.kind, &[from.kind], move |[a, ..], got| {
                let expected = between(&mode, to, from, a);
                got == expected || (is_nan(expected) && is_nan(got))
            })
        }
        _ => panic!("no truth for {name}"),
    }
}

/// Rounded to an integer as `.rni` and its kin say.
fn integral(rounding: &str, value: f64) -> f64 {
    match rounding {
        "rni" => value.round_ties_even(),
        "rzi" => value.trunc(),
        "rmi" => value.floor(),
        _ => value.ceil(),
    }
}

fn to_integer(mode: &Mode, to: Int, from: Format, bits: u64) -> u64 {
    let bits = if mode.ftz { from.flushed(bits) } else { bits };
    let number = integral(&mode.rounding, (from.value)(bits));
    let (low, high) = limits(to);
    if number.is_nan() {
        // 0, but for f64 and for results of 64 bits: those have their highest bit.
        let top = from.bits == 64 || to.bits == 64;
        return if top { held(1 << (to.bits - 1), to) } else { 0 };
    }
    // 128 bits hold every number that matters; larger ones are clamped by the conversion here.
    held((number as i128).clamp(low, high), to)
}

fn from_integer(mode: &Mode, to: Format, number: i128) -> u64 {
    let value = number as f64;
    let rest = (number - value as i128) as f64;
    finished(mode, to, to.rounded(value, rest, &mode.rounding))
}

fn finished(mode: &Mode, to: Format, bits: u64) -> u64 {
    let bits = if mode.saturate { to.saturated(bits) } else { bits };
    if mode.rectify { to.rectified(bits) } else { bits }
}

fn between(mode: &Mode, to: Format, from: Format, bits: u64) -> u64 {
    // To f16 Hopper flushes nothing: it shows where the smallest numbers are rounded up or down.
    let flushes = mode.ftz && from.name == "f32" && to.name != "f16";
    let value = (from.value)(if flushes { from.flushed(bits) } else { bits });
    let (value, rounding) = match mode.rounding.strip_suffix('i') {
        Some(_) => (integral(&mode.rounding, value), "rn"),
        None => (value, mode.rounding.as_str()),
    };
    let bits = to.rounded(value, 0.0, rounding);
    let flushes = mode.ftz && to.name == "f32";
    finished(mode, to, if flushes { to.flushed_result(bits, value, 0.0, rounding) } else { bits })
}

/// tf32: ties away from zero, half of a last place more and the rest cut off; of NaN, as Hopper has it, only cut off.
fn rounded_away(a: u64) -> u64 {
    let value = f32::from_bits(a as u32);
    match () {
        () if value.is_nan() || value.is_infinite() => a & !0x1fff,
        () => (a + 0x1000) & !0x1fff,
    }
}
