//! Damage to bytes and to text.

use bolero::TypeGenerator;

/// One change to a sound file.
#[derive(Clone, Debug, TypeGenerator)]
pub(crate) struct Wound {
    at: u32,
    kind: u8,
    value: u64,
}

/// Numbers that readers trip over.
const EXTREMES: [u64; 8] = [0, 1, 31, 0x7fff_ffff, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX];

/// A copy of `sound` with wounds below `reach` bytes.
pub(crate) fn bytes(sound: &[u8], reach: usize, wounds: &[Wound]) -> Vec<u8> {
    let mut bytes = sound.to_vec();
    for wound in wounds.iter().take(6) {
        let at = wound.at as usize % reach.clamp(1, bytes.len().max(1));
        let count = wound.value as usize % 32;
        match wound.kind % 8 {
            0 if wound.value.is_multiple_of(4) => bytes.truncate(at),
            0 | 1 => bytes.insert(at.min(bytes.len()), wound.value as u8),
            2 => drop(bytes.drain(at.min(bytes.len())..(at + count).min(bytes.len()))),
            3 => {
                let piece = bytes[at.min(bytes.len())..(at + count).min(bytes.len())].to_vec();
                let to = wound.value as usize / 32 % (bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            4 | 5 => {
                let extreme = EXTREMES[wound.value as usize % EXTREMES.len()].to_le_bytes();
                let width = if wound.value & 8 == 0 { 4 } else { 8 };
                bytes.iter_mut().skip(at).zip(&extreme[..width]).for_each(|(byte, new)| *byte = *new);
            }
            _ => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << (wound.value % 8)),
        }
    }
    bytes
}

/// A copy of JSON with values replaced, by their order in the text: by other kinds, or by values of `foreign`.
pub(crate) fn json(
    sound: &serde_json::Value,
    wounds: &[Wound],
    foreign: &[serde_json::Value],
) -> serde_json::Value {
    let mut value = sound.clone();
    for wound in wounds.iter().take(4) {
        let mut left = wound.at as usize % count(&value).max(1);
        wound_value(&mut value, &mut left, wound, foreign);
    }
    value
}

fn count(value: &serde_json::Value) -> usize {
    1 + match value {
        serde_json::Value::Array(items) => items.iter().map(count).sum(),
        serde_json::Value::Object(map) => map.values().map(count).sum(),
        _ => 0,
    }
}

/// Replaces the value that comes `left` values later; whether it was found.
fn wound_value(
    value: &mut serde_json::Value,
    left: &mut usize,
    wound: &Wound,
    foreign: &[serde_json::Value],
) -> bool {
    use serde_json::json;
    if *left == 0 {
        let other = foreign.get(wound.value as usize % foreign.len().max(1));
        *value = match (wound.kind % 16, other) {
            (10..16, Some(other)) => other.clone(),
            (kind, _) => match kind % 10 {
                0 => json!(null),
                1 => json!(EXTREMES[wound.value as usize % EXTREMES.len()]),
                2 => json!(-(wound.value as i32 as i64)),
                3 => json!(f64::from_bits(wound.value)),
                4 => json!(""),
                5 => json!([]),
                6 => json!({}),
                7 => json!(wound.value.is_multiple_of(2)),
                8 => json!([value.take(), 1e300]),
                _ => json!("(a*)*\u{0}$\\p{Nd}".repeat(wound.value as usize % 9)),
            },
        };
        return true;
    }
    *left -= 1;
    match value {
        serde_json::Value::Array(items) => {
            items.iter_mut().any(|item| wound_value(item, left, wound, foreign))
        }
        serde_json::Value::Object(map) => {
            map.values_mut().any(|item| wound_value(item, left, wound, foreign))
        }
        _ => false,
    }
}
