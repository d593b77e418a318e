//! Other programs' tokens a second, from a file of `bench/peers/compare.py`, in the fields of `tinyllm bench`.

use std::{fs, path::Path};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

/// The rows of `model` that were measured in turns with tinyllm's default configuration.
pub(super) fn rows(path: &Path, model: &str) -> anyhow::Result<Vec<Value>> {
    let name = || path.display().to_string();
    let text = fs::read_to_string(path).with_context(name)?;
    let result: Value = serde_json::from_str(&text).with_context(name)?;
    let rows = result["rows"].as_array().with_context(|| format!("{}: no list named rows", name()))?;
    let is_peer =
        |row: &&Value| row["model"] == model && row["unit"] == "tokens/s" && row["against"] == "tinyllm";
    let peers: Vec<Value> = rows.iter().filter(is_peer).filter_map(peer).collect();
    ensure!(!peers.is_empty(), "{}: no rows of {model} in tokens/s against tinyllm", name());
    Ok(peers)
}

/// A row of one sequence: `pp512`, `tg128` or `tg32 @ d2048`.
fn peer(row: &Value) -> Option<Value> {
    let test = row["test"].as_str()?;
    let (test, depth) = match test.split_once(" @ d") {
        Some((test, depth)) => (test, depth.parse::<usize>().ok()?),
        None if test.contains(' ') => return None,
        None => (test, 0),
    };
    Some(json!({
        "contender": row["contender"],
        "test": test,
        "threads": row["threads"],
        "depth": depth,
        "tokens_per_s": row["median"],
        "ratio": row["ratio"],
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_single_sequences_beside_tinyllm_are_taken() {
        let row = |model: &str, test: &str, against: &str, unit: &str| {
            json!({"model": model, "test": test, "threads": 2, "contender": "other", "unit": unit,
                   "median": 10.5, "ratio": 1.5, "against": against})
        };
        let file = tempfile::NamedTempFile::new().unwrap();
        let write = |rows: Value| fs::write(file.path(), json!({ "rows": rows }).to_string()).unwrap();
        write(json!([
            row("m", "pp512", "tinyllm", "tokens/s"),
            row("m", "tg32 @ d2048", "tinyllm", "tokens/s"),
            row("m", "tg32, batch 8", "tinyllm", "tokens/s"),
            row("m", "tg128", "tinyllm-avx2", "tokens/s"),
            row("m", "first token", "tinyllm", "ms"),
            row("other", "tg128", "tinyllm", "tokens/s"),
        ]));
        let peer = |test: &str, depth: usize| json!({"contender": "other", "test": test, "threads": 2, "depth": depth, "tokens_per_s": 10.5, "ratio": 1.5});
        assert_eq!(rows(file.path(), "m").unwrap(), [peer("pp512", 0), peer("tg32", 2048)]);
        let error = rows(file.path(), "absent").unwrap_err().to_string();
        assert!(error.contains("no rows of absent"), "{error}");
    }
}
