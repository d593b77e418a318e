//! Logic, shifts, fields and permutations bit by bit; comparisons.

use super::{
    harness::{Form, Kind, form, form_within},
    integers::{INTS, Int, cut},
};

fn bit(word: u64, index: u32) -> u64 {
    if index < 64 { word >> index & 1 } else { 0 }
}

/// A word made of a function of places.
fn from_bits(bits: u32, at: impl Fn(u32) -> u64) -> u64 {
    (0..bits).map(|index| at(index) << index).sum()
}

pub(super) fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    for (name, bits, kind) in [("b16", 16, Kind::I16), ("b32", 32, Kind::I32), ("b64", 64, Kind::I64)] {
        let mask = cut(-1, bits);
        let mut push = |text: &str, inputs: &[Kind], run: fn([u64; 3]) -> u64| {
            forms.push(form(text.replace("{t}", name), kind, inputs, move |values| run(values) & mask));
        };
        push("and.{t} {d}, {a}, {b};", &[kind; 2], |[a, b, _]| a & b);
        push("or.{t} {d}, {a}, {b};", &[kind; 2], |[a, b, _]| a | b);
        push("xor.{t} {d}, {a}, {b};", &[kind; 2], |[a, b, _]| a ^ b);
        push("not.{t} {d}, {a};", &[kind], |[a, ..]| !a);
        push("cnot.{t} {d}, {a};", &[kind], |[a, ..]| u64::from(a == 0));
        push("shl.{t} {d}, {a}, {b};", &[kind, Kind::I32], |[a, b, _]| if b < 64 { a << b } else { 0 });
        push("shr.{t} {d}, {a}, {b};", &[kind, Kind::I32], |[a, b, _]| if b < 64 { a >> b } else { 0 });
    }
    for ty in INTS {
        let inputs = [ty.kind(), Kind::I32];
        forms.push(form(
            format!("shr.{} {{d}}, {{a}}, {{b}};", ty.name),
            ty.kind(),
            &inputs,
            move |[a, b, _]| cut(ty.number(a) >> b.min(100), ty.bits),
        ));
    }
    for (name, bits, kind) in [("b32", 32u32, Kind::I32), ("b64", 64, Kind::I64)] {
        forms.push(form(format!("popc.{name} {{d}}, {{a}};"), Kind::I32, &[kind], move |[a, ..]| {
            (0..bits).map(|index| bit(a, index)).sum()
        }));
        forms.push(form(format!("clz.{name} {{d}}, {{a}};"), Kind::I32, &[kind], move |[a, ..]| {
            (0..bits).rev().take_while(|index| bit(a, *index) == 0).count() as u64
        }));
        forms.push(form(format!("brev.{name} {{d}}, {{a}};"), kind, &[kind], move |[a, ..]| {
            from_bits(bits, |index| bit(a, bits - 1 - index))
        }));
        let text = format!("bfi.{name} {{d}}, {{a}}, {{b}}, {{c}}, 9;");
        forms.push(form(text, kind, &[kind, kind, Kind::I32], move |[a, b, c]| {
            let (pos, len) = (c as u32 & 0xff, 9);
            from_bits(bits, |index| {
                if (pos..pos + len).contains(&index) { bit(a, index - pos) } else { bit(b, index) }
            })
        }));
    }
    for ty in INTS.into_iter().filter(|ty| ty.bits >= 32) {
        fields(&mut forms, ty);
    }
    words(&mut forms);
    forms
}

/// The manual's own description of `bfe` and `bfind`.
fn fields(forms: &mut Vec<Form>, ty: Int) {
    let (bits, signed) = (ty.bits, ty.signed);
    let text = format!("bfe.{} {{d}}, {{a}}, {{b}}, {{c}};", ty.name);
    forms.push(form(text, ty.kind(), &[ty.kind(), Kind::I32, Kind::I32], move |[a, b, c]| {
        let (pos, len) = (b as u32 & 0xff, c as u32 & 0xff);
        let sign = match (signed, len) {
            (false, _) | (_, 0) => 0,
            _ => bit(a, (pos + len - 1).min(bits - 1)),
        };
        from_bits(bits, |index| if index < len && pos + index < bits { bit(a, pos + index) } else { sign })
    }));
    for (suffix, shift) in [("", false), (".shiftamt", true)] {
        let text = format!("bfind{suffix}.{} {{d}}, {{a}};", ty.name);
        forms.push(form(text, Kind::I32, &[ty.kind()], move |[a, ..]| {
            let a = if signed && bit(a, bits - 1) == 1 { cut(!i128::from(a), bits) } else { a };
            let found = (0..bits).rev().find(|index| bit(a, *index) == 1);
            match found {
                Some(index) => u64::from(if shift { bits - 1 - index } else { index }),
                None => 0xffff_ffff,
            }
        }));
    }
}

fn words(forms: &mut Vec<Form>) {
    let kinds = [Kind::I32; 3];
    for (direction, mode) in [("l", "wrap"), ("l", "clamp"), ("r", "wrap"), ("r", "clamp")] {
        let (left, wrap) = (direction == "l", mode == "wrap");
        let text = format!("shf.{direction}.{mode}.b32 {{d}}, {{a}}, {{b}}, {{c}};");
        forms.push(form(text, Kind::I32, &kinds, move |[a, b, c]| {
            let distance = if wrap { c as u32 & 31 } else { (c as u32).min(32) };
            let both = u128::from(a | b << 32);
            let shifted = if left { both << distance >> 32 } else { both >> distance };
            shifted as u64 & 0xffff_ffff
        }));
    }
    for table in [0x00u64, 0x80, 0x96, 0xca, 0xe8, 0xfe, 0x1b] {
        let text = format!("lop3.b32 {{d}}, {{a}}, {{b}}, {{c}}, {table:#x};");
        forms.push(form(text, Kind::I32, &kinds, move |[a, b, c]| {
            from_bits(32, |index| table >> (bit(a, index) << 2 | bit(b, index) << 1 | bit(c, index)) & 1)
        }));
    }
    for mode in ["", ".f4e", ".b4e", ".rc8", ".ecl", ".ecr", ".rc16"] {
        forms.push(form(
            format!("prmt.b32{mode} {{d}}, {{a}}, {{b}}, {{c}};"),
            Kind::I32,
            &kinds,
            move |[a, b, c]| {
                let all = a | b << 32;
                let byte = |index: u64| all >> (8 * index) & 0xff;
                let n = c & 3;
                // Rows of the manual's table, lowest byte first.
                let chosen = match mode {
                    "" => return permuted(all, c),
                    ".f4e" => [[0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 6]][n as usize],
                    ".b4e" => [[0, 7, 6, 5], [1, 0, 7, 6], [2, 1, 0, 7], [3, 2, 1, 0]][n as usize],
                    ".rc8" => [n; 4],
                    ".ecl" => [[0, 1, 2, 3], [1, 1, 2, 3], [2, 2, 2, 3], [3, 3, 3, 3]][n as usize],
                    ".ecr" => [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 2, 2], [0, 1, 2, 3]][n as usize],
                    _ => [[0, 1, 0, 1], [2, 3, 2, 3], [0, 1, 0, 1], [2, 3, 2, 3]][n as usize],
                };
                chosen.iter().rev().fold(0, |word, index| word << 8 | byte(*index))
            },
        ));
    }
    for (mode, clamp) in [("clamp", true), ("wrap", false)] {
        let text = format!("bmsk.{mode}.b32 {{d}}, {{a}}, {{b}};");
        forms.push(form(text, Kind::I32, &kinds[..2], move |[a, b, _]| {
            let (a, b) = if clamp { (a.min(32), b.min(32)) } else { (a & 31, b & 31) };
            (((1u128 << b) - 1) << a) as u64 & 0xffff_ffff
        }));
        for (name, signed) in [("u32", false), ("s32", true)] {
            let text = format!("szext.{mode}.{name} {{d}}, {{a}}, {{b}};");
            forms.push(form(text, Kind::I32, &kinds[..2], move |[a, b, _]| {
                let length = if clamp { b.min(32) } else { b & 31 } as u32;
                let sign = if signed && length > 0 { bit(a, length - 1) } else { 0 };
                from_bits(32, |index| if index < length { bit(a, index) } else { sign })
            }));
        }
    }
    forms.push(form_within("fns.b32 {d}, {a}, {b}, {c};", Kind::I32, &kinds, |[a, b, c], got| {
        // Beyond the word the base is unspecified.
        b > 31 || got == nth_set(a as u32, b as u32, c as i32)
    }));
}

/// The manual's own program for `fns`.
fn nth_set(mask: u32, base: u32, mut offset: i32) -> u64 {
    let mut position = base as i32;
    let step = match offset.signum() {
        0 => return u64::from(if mask >> base & 1 == 1 { base } else { u32::MAX }),
        sign => sign,
    };
    while (0..32).contains(&position) {
        offset -= if mask >> position & 1 == 1 { step } else { 0 };
        if offset == 0 {
            return position as u64;
        }
        position += step;
    }
    0xffff_ffff
}

fn permuted(all: u64, c: u64) -> u64 {
    (0..4).rev().fold(0, |word, index| {
        let selector = c >> (4 * index);
        let byte = all >> (8 * (selector & 7)) & 0xff;
        let byte = if selector & 8 == 0 { byte } else { (byte >> 7) * 0xff };
        word << 8 | byte
    })
}

/// Whether a comparison of ordered numbers holds.
fn holds(name: &str, order: std::cmp::Ordering) -> bool {
    match name {
        "eq" => order.is_eq(),
        "ne" => order.is_ne(),
        "lt" | "lo" => order.is_lt(),
        "le" | "ls" => order.is_le(),
        "gt" | "hi" => order.is_gt(),
        _ => order.is_ge(),
    }
}

/// Whether a comparison of floats holds.
fn holds_float(name: &str, a: f64, b: f64) -> bool {
    match (a.partial_cmp(&b), name) {
        (order, "num") => order.is_some(),
        (order, "nan") => order.is_none(),
        (Some(order), name) => {
            holds(name.strip_suffix('u').filter(|name| name.len() == 2).unwrap_or(name), order)
        }
        (None, name) => name.len() == 3,
    }
}

/// A number of a format.
type Value = fn(u64) -> f64;

pub(super) fn comparisons() -> Vec<Form> {
    let mut forms = Vec::new();
    for ty in INTS {
        let unsigned: &[&str] = &["eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs"];
        for name in if ty.signed { &unsigned[..6] } else { unsigned } {
            let text = format!("setp.{name}.{} {{d}}, {{a}}, {{b}};", ty.name);
            forms.push(form(text, Kind::Pred, &[ty.kind(); 2], move |[a, b, _]| {
                u64::from(holds(name, ty.number(a).cmp(&ty.number(b))))
            }));
        }
        let text = format!("selp.{} {{d}}, {{a}}, {{b}}, {{c}};", ty.name);
        forms.push(form(
            text,
            ty.kind(),
            &[ty.kind(), ty.kind(), Kind::Pred],
            |[a, b, c]| if c == 1 { a } else { b },
        ));
        let text = format!("set.lt.u32.{} {{d}}, {{a}}, {{b}};", ty.name);
        forms.push(form(text, Kind::I32, &[ty.kind(); 2], move |[a, b, _]| {
            if ty.number(a) < ty.number(b) { 0xffff_ffff } else { 0 }
        }));
        if ty.bits >= 32 {
            let text = format!("slct.{}.s32 {{d}}, {{a}}, {{b}}, {{c}};", ty.name);
            forms.push(form(text, ty.kind(), &[ty.kind(), ty.kind(), Kind::I32], |[a, b, c]| {
                if c as i32 >= 0 { a } else { b }
            }));
        }
    }
    let floats: [(&str, Kind, Value); 4] = [
        ("f32", Kind::F32, |bits| f64::from(f32::from_bits(bits as u32))),
        ("f64", Kind::F64, f64::from_bits),
        ("f16", Kind::F16, |bits| half::f16::from_bits(bits as u16).to_f64()),
        ("bf16", Kind::Bf16, |bits| half::bf16::from_bits(bits as u16).to_f64()),
    ];
    for (name, kind, value) in floats {
        for compare in
            ["eq", "ne", "lt", "le", "gt", "ge", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan"]
        {
            forms.push(form(
                format!("setp.{compare}.{name} {{d}}, {{a}}, {{b}};"),
                Kind::Pred,
                &[kind; 2],
                move |[a, b, _]| u64::from(holds_float(compare, value(a), value(b))),
            ));
        }
        forms.push(form(
            format!("set.gt.u32.{name} {{d}}, {{a}}, {{b}};"),
            Kind::I32,
            &[kind; 2],
            move |[a, b, _]| {
                if value(a) > value(b) { 0xffff_ffff } else { 0 }
            },
        ));
    }
    // Subnormal numbers equal 0 where they are flushed.
    forms.push(form("setp.eq.ftz.f32 {d}, {a}, {b};", Kind::Pred, &[Kind::F32; 2], |[a, b, _]| {
        let flushed = |bits: u64| {
            let value = f32::from_bits(bits as u32);
            if value.is_subnormal() { 0.0 } else { value }
        };
        u64::from(flushed(a) == flushed(b))
    }));
    for (join, run) in
        [("and", (|a, b| a & b) as fn(bool, bool) -> bool), ("or", |a, b| a | b), ("xor", |a, b| a ^ b)]
    {
        let inputs = [Kind::I32, Kind::I32, Kind::Pred];
        forms.push(form(
            format!("setp.lt.{join}.s32 {{d}}, {{a}}, {{b}}, {{c}};"),
            Kind::Pred,
            &inputs,
            move |[a, b, c]| u64::from(run((a as i32) < (b as i32), c == 1)),
        ));
        let second = format!("setp.lt.{join}.s32 %p1|{{d}}, {{a}}, {{b}}, {{c}};");
        forms.push(form(second, Kind::Pred, &inputs, move |[a, b, c]| {
            u64::from(run(a as i32 >= b as i32, c == 1))
        }));
        let predicates = format!("{join}.pred {{d}}, {{a}}, {{b}};");
        forms.push(form(predicates, Kind::Pred, &[Kind::Pred; 2], move |[a, b, _]| {
            u64::from(run(a == 1, b == 1))
        }));
    }
    forms.push(form("not.pred {d}, {a};", Kind::Pred, &[Kind::Pred], |[a, ..]| 1 - a));
    forms.push(form("set.lt.f32.s32 {d}, {a}, {b};", Kind::F32, &[Kind::I32; 2], |[a, b, _]| {
        if (a as i32) < (b as i32) { u64::from(1f32.to_bits()) } else { 0 }
    }));
    let pairs = |bits: u64| [half::f16::from_bits(bits as u16), half::f16::from_bits((bits >> 16) as u16)];
    forms.push(form(
        "set.lt.f16x2.f16x2 {d}, {a}, {b};",
        Kind::F16x2,
        &[Kind::F16x2; 2],
        move |[a, b, _]| {
            let ([low_a, high_a], [low_b, high_b]) = (pairs(a), pairs(b));
            let one = |yes: bool| if yes { 0x3c00u64 } else { 0 };
            one(low_a < low_b) | one(high_a < high_b) << 16
        },
    ));
    forms.push(form("setp.lt.f16x2 %p1|{d}, {a}, {b};", Kind::Pred, &[Kind::F16x2; 2], move |[a, b, _]| {
        u64::from(pairs(a)[1] < pairs(b)[1])
    }));
    forms
}
