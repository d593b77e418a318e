//! Logic, shifts, fields and permutations bit by bit.

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
            let (pos, len) = (read(c, bits), 9);
            from_bits(bits, |index| {
                let inside = (pos..pos + len).contains(&u64::from(index));
                if inside { bit(a, index - pos as u32) } else { bit(b, index) }
            })
        }));
    }
    for ty in INTS.into_iter().filter(|ty| ty.bits >= 32) {
        fields(&mut forms, ty);
    }
    words(&mut forms);
    predicates(&mut forms);
    forms
}

fn predicates(forms: &mut Vec<Form>) {
    type Join = fn(u64, u64) -> u64;
    let joins: [(&str, Join); 3] = [("and", |a, b| a & b), ("or", |a, b| a | b), ("xor", |a, b| a ^ b)];
    for (name, run) in joins {
        let text = format!("{name}.pred {{d}}, {{a}}, {{b}};");
        forms.push(form(text, Kind::Pred, &[Kind::Pred; 2], move |[a, b, _]| run(a, b)));
        let text = format!("{name}.pred {{d}}, {{a}}, !{{b}};");
        forms.push(form(text, Kind::Pred, &[Kind::Pred; 2], move |[a, b, _]| run(a, 1 - b)));
    }
    forms.push(form("not.pred {d}, {a};", Kind::Pred, &[Kind::Pred], |[a, ..]| 1 - a));
}

/// A position or length of a field: the manual reads eight bits of it, and so does Hopper in operands of 32 bits. In those of 64
/// it reads all.
fn read(operand: u64, bits: u32) -> u64 {
    if bits == 32 { operand & 0xff } else { operand & 0xffff_ffff }
}

/// The manual's own description of `bfe` and `bfind`.
fn fields(forms: &mut Vec<Form>, ty: Int) {
    let (bits, signed) = (ty.bits, ty.signed);
    let text = format!("bfe.{} {{d}}, {{a}}, {{b}}, {{c}};", ty.name);
    forms.push(form(text, ty.kind(), &[ty.kind(), Kind::I32, Kind::I32], move |[a, b, c]| {
        let (pos, len) = (read(b, bits), read(c, bits));
        let last = u64::from(bits - 1);
        let sign = match (signed, len) {
            (false, _) | (_, 0) => 0,
            _ => bit(a, (pos + len - 1).min(last) as u32),
        };
        from_bits(bits, |index| {
            let from = pos + u64::from(index);
            if u64::from(index) < len && from <= last { bit(a, from as u32) } else { sign }
        })
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
        // Beyond the word the base is unspecified, and the least offset has no magnitude: Hopper finds bit 0.
        b > 31 || c as i32 == i32::MIN || got == nth_set(a as u32, b as u32, c as i32)
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
