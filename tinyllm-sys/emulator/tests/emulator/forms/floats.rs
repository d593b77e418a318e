//! Floating point: every form by what its words say. To nearest that is the processor's own arithmetic; in other directions, and
//! of halves, the exact result brought to the format; functions are held within the manual's bounds.

use num_rational::BigRational;
use num_traits::{One, Signed, ToPrimitive};

use super::{
    exact::{F32, F64, Format, format, two_sum},
    harness::{Form, Kind, form_within},
};

/// A form's words.
#[derive(Clone, Copy)]
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn opcode(self) -> &'a str {
        self.0.split('.').next().unwrap()
    }

    fn has(self, word: &str) -> bool {
        self.0.split('.').any(|other| other == word)
    }

    fn ty(self) -> &'a str {
        self.0.rsplit('.').next().unwrap()
    }

    fn rounding(self) -> &'a str {
        self.0.split('.').find(|word| matches!(*word, "rn" | "rz" | "rm" | "rp")).unwrap_or("rn")
    }
}

/// Whether a result is right, from bits of inputs of the format.
type Right = Box<dyn Fn([u64; 3], u64) -> bool>;

/// The form of a name.
pub(super) fn reference(name: &str) -> Form {
    let words = Words(name);
    let format = format(words.ty()).unwrap_or_else(|| panic!("{name} is of no format"));
    let (inputs, right) = match words.opcode() {
        "add" | "sub" | "mul" => (2, arithmetic(words, format)),
        "fma" | "mad" => (3, arithmetic(words, format)),
        "div" if words.has("approx") || words.has("full") => (2, quotient_within(words)),
        "div" => (2, arithmetic(words, format)),
        "rcp" | "sqrt" if !words.has("approx") => (1, arithmetic(words, format)),
        "min" | "max" => (2, extreme(words, format)),
        "abs" | "neg" => (1, sign(words, format)),
        "copysign" => (2, copied_sign(format)),
        "testp" => return property(words, format),
        _ => (1, function(words, format)),
    };
    let operands = ["{d}, {a};", "{d}, {a}, {b};", "{d}, {a}, {b}, {c};"][inputs - 1];
    let pair = words.ty().ends_with("x2");
    let kind = match (pair, format.name) {
        (true, "f16") => Kind::F16x2,
        (true, _) => Kind::Bf16x2,
        _ => format.kind,
    };
    form_within(format!("{name} {operands}"), kind, &[kind; 3][..inputs], move |values, got| match pair {
        true => [0, 16].iter().all(|shift| {
            let half = |bits: u64| bits >> shift & 0xffff;
            right(values.map(half), half(got))
        }),
        false => right(values, got),
    })
}

/// What `.sat` and `.relu` make of a result.
fn finished(words: Words<'_>, format: Format) -> impl Fn(u64) -> u64 + 'static {
    let (saturate, rectify) = (words.has("sat"), words.has("relu"));
    move |bits| {
        let bits = if saturate { format.saturated(bits) } else { bits };
        if rectify { format.rectified(bits) } else { bits }
    }
}

fn flushed(words: Words<'_>, format: Format) -> impl Fn(u64) -> u64 + 'static {
    let ftz = words.has("ftz");
    move |bits| if ftz { format.flushed(bits) } else { bits }
}

fn arithmetic(words: Words<'_>, format: Format) -> Right {
    let opcode = words.opcode().to_owned();
    let rounding = words.rounding().to_owned();
    let (flush, finish, ftz) = (flushed(words, format), finished(words, format), words.has("ftz"));
    Box::new(move |values, got| {
        let [a, b, c] = values.map(|bits| (format.value)(flush(bits)));
        let exact = exact(&opcode, format, [a, b, c]);
        let cancels = exact == (0.0, 0.0) && cancels(&opcode, [a, b, c]);
        let overflows = exact.0.is_infinite()
            && [a, b, c].iter().all(|value| value.is_finite())
            && !(opcode == "div" && b == 0.0 || opcode == "rcp" && a == 0.0);
        let expected = match (format.name, rounding.as_str()) {
            // What cancels is +0, and -0 downwards.
            _ if cancels && exact.0.is_finite() => {
                if rounding == "rm" {
                    format.negated(0)
                } else {
                    0
                }
            }
            // Only f64 gets here: the largest number, where the direction is not outwards.
            (_, "rz") if overflows => format.largest(exact.0),
            (_, "rm") if overflows && exact.0 > 0.0 => format.largest(exact.0),
            (_, "rp") if overflows && exact.0 < 0.0 => format.largest(exact.0),
            ("f32", "rn") => u64::from(single(&opcode, [a, b, c].map(|value| value as f32)).to_bits()),
            _ => format.rounded(exact.0, exact.1, &rounding),
        };
        if (format.value)(expected).is_nan() {
            // Of f64, which NaN it is depends on the operands.
            return match format.bits {
                64 => f64::from_bits(got).is_nan(),
                _ => finish(format.nan) == got,
            };
        }
        let expected = match ftz {
            true => format.flushed_result(expected, exact.0, exact.1, &rounding),
            false => expected,
        };
        finish(expected) == got
    })
}

/// f32 as the processor has it.
fn single(opcode: &str, [a, b, c]: [f32; 3]) -> f32 {
    match opcode {
        "add" => a + b,
        "sub" => a - b,
        "mul" => a * b,
        "div" => a / b,
        "rcp" => 1.0 / a,
        "sqrt" => a.sqrt(),
        _ => a.mul_add(b, c),
    }
}

/// The result in f64, and what that lost: of f64 itself, only on which side the exact one is.
fn exact(opcode: &str, format: Format, [a, b, c]: [f64; 3]) -> (f64, f64) {
    let quotient = |a: f64, b: f64| {
        let nearest = a / b;
        let within = nearest.is_finite() && nearest != 0.0 && b.is_finite();
        (nearest, if within { nearest.mul_add(-b, a) * b.signum() } else { 0.0 })
    };
    match opcode {
        _ if format.bits == 64 => side(opcode, [a, b, c]),
        "add" => two_sum(a, b),
        "sub" => two_sum(a, -b),
        "mul" => (a * b, 0.0),
        "div" => quotient(a, b),
        "rcp" => quotient(1.0, a),
        "sqrt" => {
            let root = a.sqrt();
            (root, if root > 0.0 && root.is_finite() { root.mul_add(-root, a) } else { 0.0 })
        }
        _ => two_sum(a * b, c),
    }
}

/// The nearest f64, and in fractions on which side of it the exact result is.
fn side(opcode: &str, [a, b, c]: [f64; 3]) -> (f64, f64) {
    let nearest = match opcode {
        "add" => a + b,
        "sub" => a - b,
        "mul" => a * b,
        "div" => a / b,
        "rcp" => 1.0 / a,
        "sqrt" => a.sqrt(),
        _ => a.mul_add(b, c),
    };
    let fraction = |value: f64| BigRational::from_float(value);
    let difference = || {
        let (near, a) = (fraction(nearest)?, fraction(a)?);
        let b = || fraction(b);
        Some(match opcode {
            "add" => a + b()? - near,
            "sub" => a - b()? - near,
            "mul" => a * b()? - near,
            "div" => (a - near * b()?) * b()?.signum(),
            "rcp" => (BigRational::one() - near * &a) * a.signum(),
            "sqrt" => a - &near * &near,
            _ => a * b()? + fraction(c)? - near,
        })
    };
    let rest = difference().map_or(0.0, |difference| difference.signum().to_f64().unwrap());
    (nearest, rest)
}

/// Whether a sum of 0 comes of addends of different signs.
fn cancels(opcode: &str, [a, b, c]: [f64; 3]) -> bool {
    let (first, second) = match opcode {
        "add" => (a, b),
        "sub" => (a, -b),
        // A product that is too small is none.
        "fma" | "mad" if a == 0.0 || b == 0.0 || a * b != 0.0 => (a * b, c),
        _ => return false,
    };
    first.is_sign_negative() != second.is_sign_negative()
}

fn extreme(words: Words<'_>, format: Format) -> Right {
    let smaller = words.opcode() == "min";
    let (nan, absolute) = (words.has("NaN"), words.has("xorsign"));
    let flush = flushed(words, format);
    Box::new(move |values, got| {
        let [a, b, _] = values.map(&flush);
        let negative = format.is_negative(a) != format.is_negative(b);
        let magnitude =
            |bits: u64| if absolute && format.is_negative(bits) { format.negated(bits) } else { bits };
        let (a, b) = (magnitude(a), magnitude(b));
        let (x, y) = ((format.value)(a), (format.value)(b));
        let picked = match (x.is_nan(), y.is_nan()) {
            (true, true) => return got == format.nan,
            (true, _) | (_, true) if nan => return got == format.nan,
            (true, false) => b,
            (false, true) => a,
            // Of two zeros, -0 is the smaller.
            _ if x == y => {
                if format.is_negative(a) == smaller {
                    a
                } else {
                    b
                }
            }
            _ => {
                if (x < y) == smaller {
                    a
                } else {
                    b
                }
            }
        };
        got == if absolute && negative { format.negated(picked) } else { picked }
    })
}

/// Of NaN, which NaN results is nobody's business.
fn sign(words: Words<'_>, format: Format) -> Right {
    let negate = words.opcode() == "neg";
    let flush = flushed(words, format);
    Box::new(move |[a, ..], got| {
        let a = flush(a);
        let expected = if negate || format.is_negative(a) { format.negated(a) } else { a };
        let is_nan = |bits| (format.value)(bits).is_nan();
        got == expected || (is_nan(expected) && is_nan(got))
    })
}

/// The sign of the first, the rest of the second.
fn copied_sign(format: Format) -> Right {
    Box::new(move |[a, b, _], got| {
        got == if format.is_negative(a) == format.is_negative(b) { b } else { format.negated(b) }
    })
}

fn property(words: Words<'_>, format: Format) -> Form {
    let name = words.0.split('.').nth(1).unwrap().to_owned();
    form_within(format!("{} {{d}}, {{a}};", words.0), Kind::Pred, &[format.kind], move |[a, ..], got| {
        let value = (format.value)(a);
        let subnormal = value != 0.0 && format.flushed(a) != a;
        let holds = match name.as_str() {
            "finite" => value.is_finite(),
            "infinite" => value.is_infinite(),
            "number" => !value.is_nan(),
            "notanumber" => value.is_nan(),
            "subnormal" => subnormal,
            // Zero counts as normal.
            _ => value.is_finite() && !subnormal,
        };
        got == u64::from(holds)
    })
}

/// Whether a result is as near as `units` of its last place, or `absolute`; where results are flushed, 0 stands for subnormal.
fn near(format: Format, expected: f64, got: u64, units: f64, absolute: f64, ftz: bool) -> bool {
    let value = (format.value)(got);
    if expected.is_nan() || value.is_nan() {
        return expected.is_nan() && got == format.nan;
    }
    let nearest = format.rounded(expected, 0.0, "rn");
    let magnitude = if format.is_negative(nearest) { format.negated(nearest) } else { nearest };
    if ftz && format.flushed(magnitude) == 0 {
        return value == 0.0;
    }
    if ftz && format.flushed(got) != got {
        return false;
    }
    let largest = (format.value)(magnitude).is_infinite() || value.is_infinite();
    if largest {
        return nearest == got || nearest.abs_diff(got) <= units as u64;
    }
    let place = (format.value)(magnitude + 1) - (format.value)(magnitude);
    let place =
        if place.is_finite() { place } else { (format.value)(magnitude) - (format.value)(magnitude - 1) };
    (value - expected).abs() <= (units * place).max(absolute)
        // A result that could as well be flushed.
        || (ftz && value == 0.0 && format.flushed(magnitude.saturating_sub(units as u64)) == 0)
}

/// Functions within the manual's bounds; units of halves are what rounding the f32 result leaves.
fn function(words: Words<'_>, format: Format) -> Right {
    let ftz = words.has("ftz");
    let small = format.bits == 16;
    type Function = (fn(f64) -> f64, f64, f64);
    let (exact, units, absolute): Function = match (words.opcode(), format.name) {
        ("rcp", "f64") | ("rsqrt", "f64") => return function_of_doubles(words),
        ("rcp", _) => (|a| 1.0 / a, 1.0, 0.0),
        ("sqrt", _) => (f64::sqrt, 1.0, 0.0),
        ("rsqrt", _) => (|a| 1.0 / a.sqrt(), 2.0, 0.0),
        ("ex2", _) => (f64::exp2, if small { 1.0 } else { 2.0 }, 0.0),
        ("tanh", "f16") => (f64::tanh, 0.0, 2f64.powf(-10.987)),
        ("tanh", "bf16") => (f64::tanh, 1.5, 2f64.powi(-8)),
        ("tanh", _) => (f64::tanh, 4096.0, 0.0),
        // Beyond (0.5, 2) the bound is one of the result's magnitude.
        ("lg2", _) => (f64::log2, 4.0, 2f64.powi(-22)),
        ("sin", _) => (f64::sin, 0.0, 2f64.powf(-20.9)),
        ("cos", _) => (f64::cos, 0.0, 2f64.powf(-20.9)),
        (opcode, ty) => panic!("no truth for {opcode} of {ty}"),
    };
    let circle = matches!(words.opcode(), "sin" | "cos");
    let flush = flushed(words, format);
    Box::new(move |[a, ..], got| {
        let a = (format.value)(flush(a));
        let value = (format.value)(got);
        match circle && a.abs() > std::f64::consts::PI {
            // The bound holds within one turn; beyond, it is some number of the range, and NaN of what is infinite.
            true if a.is_finite() => value.abs() <= 1.0,
            true => got == format.nan,
            false if circle && ftz && value == 0.0 => exact(a).abs() <= absolute,
            false => near(format, exact(a), got, units, absolute, ftz),
        }
    })
}

/// The upper half of an f64 is all that is computed: 20 bits.
fn function_of_doubles(words: Words<'_>) -> Right {
    let reciprocal = words.opcode() == "rcp";
    let flush = flushed(words, F64);
    Box::new(move |[a, ..], got| {
        let (a, got) = (f64::from_bits(flush(a)), f64::from_bits(got));
        let expected = if reciprocal { 1.0 / a } else { 1.0 / a.sqrt() };
        match expected.is_finite() && expected != 0.0 && !expected.is_subnormal() {
            true => ((got - expected) / expected).abs() <= 2f64.powi(-19),
            false => (expected.is_nan() && got.is_nan()) || expected == got || got == 0.0,
        }
    })
}

fn quotient_within(words: Words<'_>) -> Right {
    let (ftz, full) = (words.has("ftz"), words.has("full"));
    let flush = flushed(words, F32);
    Box::new(move |values, got| {
        let [a, b, _] = values.map(|bits| (F32.value)(flush(bits)));
        // `.approx` is 0 for divisors beyond 2^126, and NaN of an infinite dividend.
        if !full && b.is_finite() && b.abs() > 2f64.powi(126) {
            return match a.is_finite() {
                true => got & 0x7fff_ffff == 0,
                false => got == F32.nan,
            };
        }
        near(F32, a / b, got, 2.0, 0.0, ftz)
    })
}
