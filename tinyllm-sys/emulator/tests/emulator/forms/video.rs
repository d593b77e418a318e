//! Video instructions, in numbers of 128 bits: each form whole, and with parts of its operands.

use super::{
    harness::{Form, Kind, form},
    integers::cut,
};

/// A part of a word by its name (`b2`, `h1`; empty for all), as a number.
fn part(word: u64, name: &str, signed: bool) -> i128 {
    let (bits, index) = match name.split_at_checked(1) {
        Some(("b", index)) => (8, index.parse::<u32>().unwrap()),
        Some(("h", index)) => (16, index.parse::<u32>().unwrap()),
        _ => (32, 0),
    };
    let bytes = (i128::from(word as u32) >> (bits * index)) & ((1 << bits) - 1);
    if signed && bytes >> (bits - 1) == 1 { bytes - (1 << bits) } else { bytes }
}

fn width(name: &str) -> u32 {
    match name.chars().next() {
        Some('b') => 8,
        Some('h') => 16,
        _ => 32,
    }
}

fn clamped(value: i128, bits: u32, signed: bool) -> i128 {
    let (low, high) =
        if signed { (-(1i128 << (bits - 1)), (1 << (bits - 1)) - 1) } else { (0, (1 << bits) - 1) };
    value.max(low).min(high)
}

/// What an instruction of this name makes of two parts.
fn operation(words: &[&str], a: i128, b: i128) -> i128 {
    let has = |word: &str| words.contains(&word);
    match words[0].trim_end_matches(['2', '4']) {
        "vadd" => a + b,
        "vsub" => a - b,
        "vabsdiff" => (a - b).abs(),
        "vmin" => a.min(b),
        "vmax" => a.max(b),
        // The manual: (a + b + 1) >> 1 of what is not below 0, else (a + b) >> 1.
        "vavrg" => (a + b + i128::from(a + b >= 0)).div_euclid(2),
        "vshl" | "vshr" => {
            let count = if has("wrap") { b & 31 } else { b.min(32) };
            if words[0] == "vshl" { a * (1 << count) } else { a.div_euclid(1 << count) }
        }
        "vset" => i128::from(
            has("eq") && a == b
                || has("ne") && a != b
                || has("lt") && a < b
                || has("le") && a <= b
                || has("gt") && a > b
                || has("ge") && a >= b,
        ),
        name => panic!("no {name}"),
    }
}

/// Whether the result, `a` and `b` are signed.
fn signs(words: &[&str]) -> [bool; 3] {
    let types: Vec<bool> =
        words.iter().filter(|word| matches!(**word, "u32" | "s32")).map(|word| *word == "s32").collect();
    match types.as_slice() {
        [a, b] => [false, *a, *b],
        [d, a, b] => [*d, *a, *b],
        _ => panic!("{words:?}"),
    }
}

/// Forms of an instruction of the table, with different parts.
pub(super) fn reference(name: &str) -> Vec<Form> {
    let words: Vec<&str> = name.split('.').collect();
    match words[0] {
        "vmad" => products(name),
        opcode if opcode.ends_with('2') => packed(name, 'h', 2),
        opcode if opcode.ends_with('4') => packed(name, 'b', 4),
        _ => scalars(name),
    }
}

fn dotted(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(".{name}") }
}

fn scalars(name: &str) -> Vec<Form> {
    let second = ["add", "min", "max"].into_iter().find(|word| name.split('.').any(|found| found == *word));
    let wholes = [("", "", ""), ("", "b1", "h1"), ("", "h0", "b3")];
    let merged =
        [("b0", "", ""), ("b3", "h1", "b0"), ("h0", "b2", ""), ("h1", "b1", "h0"), ("b2", "b3", "b2")];
    let merged = if second.is_none() { &merged[..] } else { &[] };
    let parts = wholes.iter().chain(merged).copied();
    let forms = parts.map(|(d, a, b)| {
        let name = name.to_owned();
        let third = if second.is_some() || !d.is_empty() { ", {c}" } else { "" };
        let text = format!("{name} {{d}}{}, {{a}}{}, {{b}}{}{third};", dotted(d), dotted(a), dotted(b));
        form(text, Kind::I32, &[Kind::I32; 3], move |[x, y, z]| {
            let words: Vec<&str> = name.split('.').collect();
            let [d_signed, a_signed, b_signed] = signs(&words);
            let mut value = operation(&words, part(x, a, a_signed), part(y, b, b_signed));
            if words.contains(&"sat") {
                value = clamped(value, width(d), d_signed);
            }
            let (value, old) = (cut(value, 32), z & 0xffff_ffff);
            let number = |word: u64| part(word, "", d_signed);
            match second {
                Some("add") => cut(i128::from(value) + i128::from(old), 32),
                Some("min") => cut(number(value).min(number(old)), 32),
                Some(_) => cut(number(value).max(number(old)), 32),
                None if d.is_empty() => value,
                None => {
                    let index: u32 = d[1..].parse().unwrap();
                    let (bits, start) = (width(d), width(d) * index);
                    let mask = ((1u64 << bits) - 1) << start;
                    value << start & mask | old & !mask
                }
            }
        })
    });
    forms.collect()
}

fn packed(name: &str, letter: char, count: u32) -> Vec<Form> {
    // Parts of the result, of a, of b: the last digit is the lowest part.
    let parts: [(&str, &str, &str); 3] = match count {
        2 => [("", "", ""), ("1", "20", "31"), ("10", "33", "02")],
        _ => [("", "", ""), ("31", "7654", "0123"), ("210", "1471", "6035")],
    };
    let forms = parts.into_iter().map(|(mask, a, b)| {
        let name = name.to_owned();
        let named =
            |digits: &str| if digits.is_empty() { String::new() } else { format!(".{letter}{digits}") };
        let text = format!("{name} {{d}}{}, {{a}}{}, {{b}}{}, {{c}};", named(mask), named(a), named(b));
        form(text, Kind::I32, &[Kind::I32; 3], move |[x, y, z]| {
            let words: Vec<&str> = name.split('.').collect();
            let [d_signed, a_signed, b_signed] = signs(&words);
            let bits = 32 / count;
            // Parts 0 to count - 1 are those of a, the others those of b.
            let pick = |digits: &str, index: u32, own: u32, signed: bool| {
                let digit = digits.chars().rev().nth(index as usize).and_then(|digit| digit.to_digit(10));
                let digit = digit.unwrap_or(own + index);
                let word = if digit < count { x } else { y };
                part(word, &format!("{letter}{}", digit % count), signed)
            };
            let mut sum = i128::from(z);
            let mut merged = 0u64;
            for index in 0..count {
                let mut value =
                    operation(&words, pick(a, index, 0, a_signed), pick(b, index, count, b_signed));
                if words.contains(&"sat") {
                    value = clamped(value, bits, d_signed);
                }
                let set = mask.is_empty() || mask.contains(&index.to_string());
                if set {
                    sum += value;
                }
                let old = z >> (bits * index) & ((1 << bits) - 1);
                merged |= (if set { cut(value, bits) } else { old }) << (bits * index);
            }
            if words.contains(&"add") { cut(sum, 32) } else { merged }
        })
    });
    forms.collect()
}

fn products(name: &str) -> Vec<Form> {
    let plus_one = name.contains(".po");
    let all =
        [("", "", "", "", ""), ("", "b1", "", "h1", ""), ("-", "", "", "b2", ""), ("", "h0", "", "", "-")];
    let forms = all
        .into_iter()
        .filter(|(minus, _, _, _, c_minus)| !plus_one || (minus.is_empty() && c_minus.is_empty()));
    let forms = forms.map(|(a_minus, a, b_minus, b, c_minus)| {
        let name = name.to_owned();
        let text = format!(
            "{name} {{d}}, {a_minus}{{a}}{}, {b_minus}{{b}}{}, {c_minus}{{c}};",
            dotted(a),
            dotted(b)
        );
        form(text, Kind::I32, &[Kind::I32; 3], move |[x, y, z]| {
            let words: Vec<&str> = name.split('.').collect();
            let [_, a_signed, b_signed] = signs(&words);
            let signed = a_signed || b_signed || !a_minus.is_empty() || !c_minus.is_empty();
            let product = part(x, a, a_signed) * part(y, b, b_signed);
            let c = part(z, "", signed);
            let product = if a_minus.is_empty() { product } else { -product };
            let sum = product + if c_minus.is_empty() { c } else { -c } + i128::from(plus_one);
            let shift = if words.contains(&"shr7") {
                7
            } else if words.contains(&"shr15") {
                15
            } else {
                0
            };
            let scaled = sum.div_euclid(1 << shift);
            cut(if words.contains(&"sat") { clamped(scaled, 32, signed) } else { scaled }, 32)
        })
    });
    forms.collect()
}
