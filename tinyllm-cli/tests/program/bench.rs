//! `bench`: the shape of its rows. What it measures is not a test's to judge.

use super::{austen, refusal, text};

#[test]
fn rows_have_the_documented_keys_in_every_format() {
    let model = austen();
    let model = model.to_str().unwrap();
    let flags = ["-p", "8", "-n", "4", "-d", "0,16", "-b", "1,2", "-r", "2", "-t", "1,2", "-o"];
    let run = |format: &str| text(&[&["bench", model], &flags[..], &[format]].concat());
    let rows: serde_json::Value = serde_json::from_str(&run("json")).unwrap();
    let rows = rows.as_array().unwrap();
    // For each of two thread counts and two depths: one prompt, two batches.
    assert_eq!(rows.len(), 2 * 2 * 3);
    let keys = [
        "test",
        "threads",
        "depth",
        "batch",
        "tokens_per_s",
        "stddev",
        "ttft_ms",
        "tpot_ms",
        "bytes_per_token",
        "read_bandwidth_bytes_per_s",
        "bandwidth_fraction",
    ];
    for row in rows {
        assert_eq!(row.as_object().unwrap().keys().collect::<Vec<_>>(), keys);
        assert!(row["tokens_per_s"].as_f64().unwrap() > 0.0);
        assert_eq!(row["bandwidth_fraction"].is_null(), row["test"] == "pp8");
    }
    let count = |key: &str, value: u64| rows.iter().filter(|row| row[key] == value).count();
    assert_eq!((count("threads", 2), count("depth", 16), count("batch", 2)), (6, 6, 4));
    assert!(run("csv").starts_with(&keys.join(",")));
    assert!(run("md").contains("| tg4"));
    assert!(refusal(&["bench", model, "-p", "0", "-n", "0"], b"").contains("nothing to measure"));
    assert!(refusal(&["run", model, "hi", "-t", "1,2"], b"").contains("one number"));
}
