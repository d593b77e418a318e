//! Numbers for people (grouped digits, binary units) and for JSON (shortest decimal).

use serde_json::{Value, json};
use tinyllm_kernels::GroupSize;

/// A number with its digits in threes.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A size in the unit that leaves it one to three digits before the point: `92.1 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let (mut value, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        // What would be printed as 1024.0 is one of the next.
        if value < 1023.95 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}

/// A number in the fewest digits that identify it; an f32 as an f32: 0.8, not 0.800000011920929.
pub(crate) fn shortest(value: f64) -> Value {
    let single = value as f32;
    if f64::from(single) == value {
        return single.to_string().parse::<f64>().map_or(json!(value), |decimal| json!(decimal));
    }
    json!(value)
}

/// Weights that share a scale: how many, or `channel`.
pub(crate) fn group_size_json(group_size: GroupSize) -> Value {
    match group_size {
        GroupSize::Elements(elements) => json!(elements),
        GroupSize::Channel => json!("channel"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_one_digit_after_the_point() {
        for (bytes, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (96_612_345, "92.1 MiB"),
            ((1 << 30) - 1, "1.0 GiB"),
            (21 << 29, "10.5 GiB"),
            (u64::MAX, "16777216.0 TiB"),
        ] {
            assert_eq!(size(bytes), text);
        }
        assert_eq!(grouped(1_234_567), "1,234,567");
        assert_eq!(grouped(12), "12");
    }

    #[test]
    fn single_precision_adds_no_digits() {
        for (value, text) in [
            (f64::from(0.8f32), "0.8"),
            (f64::from(1e-5f32), "0.00001"),
            (1e-5, "0.00001"),
            (0.1, "0.1"),
            (1e6, "1000000.0"),
            (0.0, "0.0"),
            (1.0 / 3.0, "0.3333333333333333"),
        ] {
            let json = shortest(value).to_string();
            assert_eq!(json.parse::<f64>().unwrap(), text.parse::<f64>().unwrap());
            assert!(json.len() <= text.len(), "{json} {text}");
        }
    }
}
