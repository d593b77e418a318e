//! Integer arithmetic, in numbers of 128 bits.

use super::harness::{Form, Kind, form};

/// An integer type.
#[derive(Clone, Copy)]
pub(super) struct Int {
    pub(super) name: &'static str,
    pub(super) bits: u32,
    pub(super) signed: bool,
}

pub(super) const INTS: [Int; 6] = [
    Int { name: "u16", bits: 16, signed: false },
    Int { name: "s16", bits: 16, signed: true },
    Int { name: "u32", bits: 32, signed: false },
    Int { name: "s32", bits: 32, signed: true },
    Int { name: "u64", bits: 64, signed: false },
    Int { name: "s64", bits: 64, signed: true },
];

/// The integer type of a name.
pub(super) fn integer(name: &str) -> Option<Int> {
    let narrow = [Int { name: "u8", bits: 8, signed: false }, Int { name: "s8", bits: 8, signed: true }];
    INTS.into_iter().chain(narrow).find(|ty| ty.name == name)
}

impl Int {
    pub(super) fn kind(self) -> Kind {
        kind(self.bits)
    }

    /// The number that bits of the type are.
    pub(super) fn number(self, bits: u64) -> i128 {
        let shift = 128 - self.bits;
        let wide = u128::from(bits) << shift;
        if self.signed { wide as i128 >> shift } else { (wide >> shift) as i128 }
    }
}

pub(super) fn kind(bits: u32) -> Kind {
    match bits {
        16 => Kind::I16,
        32 => Kind::I32,
        _ => Kind::I64,
    }
}

pub(super) fn cut(value: i128, bits: u32) -> u64 {
    if bits == 64 { value as u64 } else { value as u64 & ((1 << bits) - 1) }
}

/// A form for each type that `types` lets through.
fn each(
    forms: &mut Vec<Form>,
    text: &str,
    inputs: usize,
    types: impl Fn(Int) -> bool,
    compute: fn(Int, [i128; 3]) -> i128,
) {
    for ty in INTS.into_iter().filter(|ty| types(*ty)) {
        let kinds = [ty.kind(); 3];
        forms.push(form(text.replace("{t}", ty.name), ty.kind(), &kinds[..inputs], move |values| {
            cut(compute(ty, values.map(|bits| ty.number(bits))), ty.bits)
        }));
    }
}

/// Forms whose result is twice as wide.
fn each_wide(forms: &mut Vec<Form>, text: &str, inputs: usize, compute: fn([i128; 3]) -> i128) {
    for ty in INTS.into_iter().filter(|ty| ty.bits < 64) {
        let wide = Int { bits: ty.bits * 2, ..ty };
        let kinds = [ty.kind(), ty.kind(), wide.kind()];
        forms.push(form(text.replace("{t}", ty.name), wide.kind(), &kinds[..inputs], move |[a, b, c]| {
            cut(compute([ty.number(a), ty.number(b), wide.number(c)]), wide.bits)
        }));
    }
}

pub(super) fn forms() -> Vec<Form> {
    let mut forms = Vec::new();
    let any = |_: Int| true;
    each(&mut forms, "add.{t} {d}, {a}, {b};", 2, any, |_, [a, b, _]| a + b);
    each(&mut forms, "sub.{t} {d}, {a}, {b};", 2, any, |_, [a, b, _]| a - b);
    each(&mut forms, "mul.lo.{t} {d}, {a}, {b};", 2, any, |_, [a, b, _]| a.wrapping_mul(b));
    each(&mut forms, "mul.hi.{t} {d}, {a}, {b};", 2, any, |ty, [a, b, _]| high(ty, a, b));
    each(&mut forms, "mad.lo.{t} {d}, {a}, {b}, {c};", 3, any, |_, [a, b, c]| {
        a.wrapping_mul(b).wrapping_add(c)
    });
    each(&mut forms, "mad.hi.{t} {d}, {a}, {b}, {c};", 3, any, |ty, [a, b, c]| high(ty, a, b) + c);
    each_wide(&mut forms, "mul.wide.{t} {d}, {a}, {b};", 2, |[a, b, _]| a * b);
    each_wide(&mut forms, "mad.wide.{t} {d}, {a}, {b}, {c};", 3, |[a, b, c]| a * b + c);
    // By 0 both are unspecified; Hopper gives all ones.
    each(&mut forms, "div.{t} {d}, {a}, {b};", 2, any, |_, [a, b, _]| if b == 0 { -1 } else { a / b });
    each(&mut forms, "rem.{t} {d}, {a}, {b};", 2, any, |_, [a, b, _]| if b == 0 { -1 } else { a % b });
    each(&mut forms, "min.{t} {d}, {a}, {b};", 2, any, |_, [a, b, _]| a.min(b));
    each(&mut forms, "max.{t} {d}, {a}, {b};", 2, any, |_, [a, b, _]| a.max(b));
    each(&mut forms, "sad.{t} {d}, {a}, {b}, {c};", 3, any, |_, [a, b, c]| c + (a - b).abs());
    each(&mut forms, "abs.{t} {d}, {a};", 1, |ty| ty.signed, |_, [a, ..]| a.abs());
    each(&mut forms, "neg.{t} {d}, {a};", 1, |ty| ty.signed, |_, [a, ..]| -a);
    let s32 = |ty: Int| ty.name == "s32";
    each(&mut forms, "add.sat.{t} {d}, {a}, {b};", 2, s32, |_, [a, b, _]| clamped(a + b));
    each(&mut forms, "sub.sat.{t} {d}, {a}, {b};", 2, s32, |_, [a, b, _]| clamped(a - b));
    each(&mut forms, "mad.hi.sat.{t} {d}, {a}, {b}, {c};", 3, s32, |ty, [a, b, c]| {
        clamped(high(ty, a, b) + c)
    });
    let words = |ty: Int| ty.bits == 32;
    each(&mut forms, "mul24.lo.{t} {d}, {a}, {b};", 2, words, |ty, [a, b, _]| low24(ty, a) * low24(ty, b));
    each(&mut forms, "mul24.hi.{t} {d}, {a}, {b};", 2, words, |ty, [a, b, _]| {
        (low24(ty, a) * low24(ty, b)) >> 16
    });
    each(&mut forms, "mad24.lo.{t} {d}, {a}, {b}, {c};", 3, words, |ty, [a, b, c]| {
        low24(ty, a) * low24(ty, b) + c
    });
    each(&mut forms, "mad24.hi.{t} {d}, {a}, {b}, {c};", 3, words, |ty, [a, b, c]| {
        ((low24(ty, a) * low24(ty, b)) >> 16) + c
    });
    carries(&mut forms);
    dot_products(&mut forms);
    forms
}

fn clamped(value: i128) -> i128 {
    value.clamp(i128::from(i32::MIN), i128::from(i32::MAX))
}

fn high(ty: Int, a: i128, b: i128) -> i128 {
    // Of u64, the product fills 128 bits and has no sign.
    if ty.name == "u64" { ((a as u128).wrapping_mul(b as u128) >> 64) as i128 } else { (a * b) >> ty.bits }
}

fn low24(ty: Int, value: i128) -> i128 {
    let cut = (value as u128) << 104;
    if ty.signed { cut as i128 >> 104 } else { (cut >> 104) as i128 }
}

/// Sums, differences and products with a carry: what they leave in the register, and what they carry.
fn carries(forms: &mut Vec<Form>) {
    for ty in INTS.into_iter().filter(|ty| ty.bits >= 32) {
        let (name, bits, kinds) = (ty.name, ty.bits, [ty.kind(); 3]);
        let scratch = if bits == 32 { "%r1" } else { "%rd1" };
        // The carry is of the bits, whatever their sign.
        let unsigned = Int { signed: false, ..ty };
        let number = move |value: u64| unsigned.number(value);
        let carry = format!("addc.{name} {{d}}, 0, 0;");
        // A borrow is all ones where there is one.
        let borrow = format!("subc.{name} {{d}}, 0, 0;");
        let mut push = |tested: &str, text: String, run: Box<dyn Fn([i128; 3]) -> i128>| {
            let run = move |values: [u64; 3]| cut(run(values.map(number)), bits);
            forms.push(form(text, ty.kind(), &kinds, run).named(tested));
        };
        for (op, sign) in [("add", 1), ("sub", -1)] {
            let first = move |[a, b, _]: [i128; 3]| a + sign * b;
            let carried = move |values: [i128; 3]| first(values) >> bits;
            let last = if op == "add" { &carry } else { &borrow };
            let set = format!("{op}.cc.{name} {scratch}, {{a}}, {{b}};");
            let cc = format!("{op}.cc.{name}");
            push(&cc, format!("{op}.cc.{name} {{d}}, {{a}}, {{b}};"), Box::new(first));
            push(&cc, format!("{set} {last}"), Box::new(carried));
            let sum = move |[a, b, c]: [i128; 3]| c + sign * a + carried([a, b, c]);
            for between in ["", ".cc"] {
                let tested = format!("{op}c{between}.{name}");
                push(&tested, format!("{set} {tested} {{d}}, {{c}}, {{a}};"), Box::new(sum));
            }
            let tested = format!("{op}c.cc.{name}");
            let text = format!("{set} {tested} {scratch}, {{c}}, {{a}}; {last}");
            push(&tested, text, Box::new(move |values| sum(values) >> bits));
        }
        for (half, shift) in [("lo", 0), ("hi", bits)] {
            let part = move |[a, b, _]: [i128; 3]| {
                let (a, b) = (ty.number(a as u64), ty.number(b as u64));
                let product =
                    if ty.name == "u64" { (a as u128).wrapping_mul(b as u128) } else { (a * b) as u128 };
                number(cut((product >> shift) as i128, bits))
            };
            let sum = move |values: [i128; 3]| part(values) + values[2];
            let cc = format!("mad.{half}.cc.{name}");
            push(&cc, format!("{cc} {{d}}, {{a}}, {{b}}, {{c}};"), Box::new(sum));
            let text = format!("{cc} {scratch}, {{a}}, {{b}}, {{c}}; {carry}");
            push(&cc, text, Box::new(move |values| sum(values) >> bits));
            // A carry first, of a + c.
            let set = format!("add.cc.{name} {scratch}, {{a}}, {{c}};");
            let more = move |[a, b, c]: [i128; 3]| sum([a, b, c]) + ((a + c) >> bits);
            for between in ["", ".cc"] {
                let tested = format!("madc.{half}{between}.{name}");
                push(&tested, format!("{set} {tested} {{d}}, {{a}}, {{b}}, {{c}};"), Box::new(more));
            }
            let tested = format!("madc.{half}.cc.{name}");
            let text = format!("{set} {tested} {scratch}, {{a}}, {{b}}, {{c}}; {carry}");
            push(&tested, text, Box::new(move |values| more(values) >> bits));
        }
    }
}

fn dot_products(forms: &mut Vec<Form>) {
    let byte = |word: u64, index: u32, signed: bool| {
        let byte = (word >> (8 * index)) as u8;
        if signed { i128::from(byte as i8) } else { i128::from(byte) }
    };
    let half = |word: u64, index: u32, signed: bool| {
        let half = (word >> (16 * index)) as u16;
        if signed { i128::from(half as i16) } else { i128::from(half) }
    };
    for (a_name, b_name) in [("u32", "u32"), ("u32", "s32"), ("s32", "u32"), ("s32", "s32")] {
        let (a_signed, b_signed) = (a_name == "s32", b_name == "s32");
        let kinds = [Kind::I32; 3];
        forms.push(form(
            format!("dp4a.{a_name}.{b_name} {{d}}, {{a}}, {{b}}, {{c}};"),
            Kind::I32,
            &kinds,
            move |[a, b, c]| {
                let sum: i128 = (0..4).map(|index| byte(a, index, a_signed) * byte(b, index, b_signed)).sum();
                cut(sum + i128::from(c), 32)
            },
        ));
        for (part, first) in [("lo", 0), ("hi", 2)] {
            let text = format!("dp2a.{part}.{a_name}.{b_name} {{d}}, {{a}}, {{b}}, {{c}};");
            forms.push(form(text, Kind::I32, &kinds, move |[a, b, c]| {
                let sum: i128 =
                    (0..2).map(|index| half(a, index, a_signed) * byte(b, first + index, b_signed)).sum();
                cut(sum + i128::from(c), 32)
            }));
        }
    }
}
