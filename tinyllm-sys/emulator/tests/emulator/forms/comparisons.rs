//! Comparisons and selections: every form by what its words say.

use std::cmp::Ordering;

use super::{
    exact::{Format, format},
    harness::{Form, Kind, form},
    integers::{Int, integer, kind},
};

/// What is compared.
#[derive(Clone, Copy)]
enum Compared {
    Integers(Int),
    Floats(Format),
}

impl Compared {
    /// The type of a name, bits as unsigned numbers.
    fn named(name: &str) -> Compared {
        let unsigned = name.replace('b', "u");
        match format(name) {
            Some(format) => Compared::Floats(format),
            None => Compared::Integers(integer(&unsigned).unwrap_or_else(|| panic!("no type {name}"))),
        }
    }

    /// How two numbers compare; not at all where one is NaN.
    fn order(self, a: u64, b: u64, ftz: bool) -> Option<Ordering> {
        match self {
            Compared::Integers(ty) => Some(ty.number(a).cmp(&ty.number(b))),
            Compared::Floats(format) => {
                let value = |bits| (format.value)(if ftz { format.flushed(bits) } else { bits });
                value(a).partial_cmp(&value(b))
            }
        }
    }
}

/// The register of a type's name.
fn register(name: &str) -> Kind {
    match name {
        "f32" => Kind::F32,
        "f64" => Kind::F64,
        "f16" => Kind::F16,
        "f16x2" => Kind::F16x2,
        "bf16" => Kind::Bf16,
        "bf16x2" => Kind::Bf16x2,
        name => kind(name[1..].parse().unwrap()),
    }
}

fn holds(name: &str, order: Option<Ordering>) -> bool {
    let Some(order) = order else { return name.len() == 3 && name != "num" };
    match name {
        "eq" | "equ" => order.is_eq(),
        "ne" | "neu" => order.is_ne(),
        "lt" | "lo" | "ltu" => order.is_lt(),
        "le" | "ls" | "leu" => order.is_le(),
        "gt" | "hi" | "gtu" => order.is_gt(),
        "ge" | "hs" | "geu" => order.is_ge(),
        name => name == "num",
    }
}

/// The forms of a name: of a comparison that gives two predicates, one for each.
pub(super) fn reference(name: &str) -> Vec<Form> {
    let words: Vec<&str> = name.split('.').collect();
    match words.as_slice() {
        ["setp", compare, .., ty] => set_predicates(name, compare, &words, ty),
        ["set", compare, .., to, from] => vec![set(name, compare, &words, to, from)],
        ["selp", ty] => {
            let kind = register(ty);
            let inputs = [kind, kind, Kind::Pred];
            vec![form(format!("{name} {{d}}, {{a}}, {{b}}, {{c}};"), kind, &inputs, |[a, b, c]| {
                if c == 1 { a } else { b }
            })]
        }
        ["slct", .., ty, chooser] => {
            let (kind, chooser, ftz) = (register(ty), Compared::named(chooser), words.contains(&"ftz"));
            let inputs = [kind, kind, register(words[words.len() - 1])];
            vec![form(format!("{name} {{d}}, {{a}}, {{b}}, {{c}};"), kind, &inputs, move |[a, b, c]| {
                if chooser.order(c, 0, ftz).is_some_and(Ordering::is_ge) { a } else { b }
            })]
        }
        _ => panic!("no truth for {name}"),
    }
}

/// How a comparison is joined with a predicate.
fn join(words: &[&str]) -> Option<fn(bool, bool) -> bool> {
    words.iter().find_map(|word| match *word {
        "and" => Some((|a, b| a & b) as fn(bool, bool) -> bool),
        "or" => Some(|a, b| a | b),
        "xor" => Some(|a, b| a ^ b),
        _ => None,
    })
}

fn set_predicates(name: &str, compare: &str, words: &[&str], ty: &str) -> Vec<Form> {
    let (compared, ftz, join) = (Compared::named(ty), words.contains(&"ftz"), join(words));
    let pair = ty.ends_with("x2");
    let inputs = [register(ty), register(ty), Kind::Pred];
    let third = if join.is_some() { ", {c}" } else { "" };
    // The second predicate is the upper half's of a pair, and else the opposite before it is joined. Single halves have none.
    let results = [("{d}", false), ("{d}|%p1", false), ("%p1|{d}", true)];
    let count = if matches!(ty, "f16" | "bf16") { 1 } else { 3 };
    results[..count]
        .iter()
        .map(|&(d, second)| {
            let compare = compare.to_owned();
            let text = format!("{name} {d}, {{a}}, {{b}}{third};");
            form(text, Kind::Pred, &inputs[..2 + usize::from(join.is_some())], move |[a, b, c]| {
                let half = |bits: u64| match (pair, second) {
                    (true, true) => bits >> 16,
                    (true, false) => bits & 0xffff,
                    _ => bits,
                };
                let found = holds(&compare, compared.order(half(a), half(b), ftz));
                let found = found != (second && !pair);
                u64::from(join.map_or(found, |join| join(found, c == 1)))
            })
        })
        .collect()
}

fn set(name: &str, compare: &str, words: &[&str], to: &str, from: &str) -> Form {
    let (compared, ftz, join) = (Compared::named(from), words.contains(&"ftz"), join(words));
    let inputs = [register(from), register(from), Kind::Pred];
    let third = if join.is_some() { ", {c}" } else { "" };
    let (d, compare, pair) = (register(to), compare.to_owned(), from.ends_with("x2"));
    // True is 1.0 of a float, all ones of an integer; of a pair's integer result, of each half.
    let yes = match (format(to), pair) {
        (Some(format), _) => format.one,
        (None, true) => 0xffff,
        (None, false) => u64::MAX >> (64 - d.bits()),
    };
    let text = format!("{name} {{d}}, {{a}}, {{b}}{third};");
    form(text, d, &inputs[..2 + usize::from(join.is_some())], move |[a, b, c]| {
        let one = |a: u64, b: u64| {
            let found = holds(&compare, compared.order(a, b, ftz));
            if join.map_or(found, |join| join(found, c == 1)) { yes } else { 0 }
        };
        if pair { one(a & 0xffff, b & 0xffff) | one(a >> 16, b >> 16) << 16 } else { one(a, b) }
    })
}
