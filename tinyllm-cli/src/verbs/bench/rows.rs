//! What a test showed, for people and for programs.

use std::time::Duration;

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde_json::{Value, json};

use super::{Kind, Test};

/// One test with one number of threads.
pub(super) struct Row {
    test: String,
    threads: usize,
    depth: usize,
    batch: usize,
    tokens_per_s: f64,
    stddev: f64,
    /// Of a prompt: until its last token's logits.
    ttft_ms: Option<f64>,
    /// Of decoding: from one step to the next.
    tpot_ms: Option<f64>,
    bytes_per_token: f64,
    read_bandwidth_bytes_per_s: f64,
    /// Of decoding: bytes read a second over what the machine reads at most.
    bandwidth_fraction: Option<f64>,
}

impl Row {
    pub(super) fn new(
        test: &Test,
        threads: usize,
        times: &[Duration],
        weight_bytes: usize,
        kv_token_bytes: usize,
        read_bandwidth_bytes_per_s: f64,
    ) -> Self {
        let mut speeds: Vec<f64> =
            times.iter().map(|time| test.tokens() as f64 / time.as_secs_f64()).collect();
        speeds.sort_by(f64::total_cmp);
        let mean = speeds.iter().sum::<f64>() / speeds.len() as f64;
        let variance = speeds.iter().map(|speed| (speed - mean).powi(2)).sum::<f64>() / speeds.len() as f64;
        let tokens_per_s = speeds[speeds.len() / 2];
        let (name, count) = match test.kind {
            Kind::Prefill(count) => (format!("pp{count}"), count),
            Kind::Decode(count) => (format!("tg{count}"), count),
        };
        let is_decode = matches!(test.kind, Kind::Decode(_));
        // Half of what is generated is there on average.
        let seen = test.depth as f64 + if is_decode { count as f64 / 2.0 } else { 0.0 };
        let weights_per_token = weight_bytes as f64 / if is_decode { test.batch } else { count } as f64;
        let bytes_per_token = weights_per_token + if is_decode { kv_token_bytes as f64 * seen } else { 0.0 };
        let step_ms = 1e3 * test.batch as f64 / tokens_per_s;
        Row {
            test: name,
            threads,
            depth: test.depth,
            batch: test.batch,
            tokens_per_s,
            stddev: variance.sqrt(),
            ttft_ms: (!is_decode).then_some(1e3 * count as f64 / tokens_per_s),
            tpot_ms: is_decode.then_some(step_ms),
            bytes_per_token,
            read_bandwidth_bytes_per_s,
            bandwidth_fraction: is_decode
                .then_some(bytes_per_token * tokens_per_s / read_bandwidth_bytes_per_s),
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "test": self.test,
            "threads": self.threads,
            "depth": self.depth,
            "batch": self.batch,
            "tokens_per_s": self.tokens_per_s,
            "stddev": self.stddev,
            "ttft_ms": self.ttft_ms,
            "tpot_ms": self.tpot_ms,
            "bytes_per_token": self.bytes_per_token,
            "read_bandwidth_bytes_per_s": self.read_bandwidth_bytes_per_s,
            "bandwidth_fraction": self.bandwidth_fraction,
        })
    }

    fn cells(&self) -> [String; 8] {
        let fraction = self.bandwidth_fraction.map_or_else(String::new, |fraction| format!("{fraction:.2}"));
        let latency = self.ttft_ms.or(self.tpot_ms).unwrap_or_default();
        [
            self.test.clone(),
            self.threads.to_string(),
            self.depth.to_string(),
            self.batch.to_string(),
            format!("{:.1} ± {:.1}", self.tokens_per_s, self.stddev),
            format!("{latency:.2}"),
            format!("{:.1}", self.read_bandwidth_bytes_per_s / 1e9),
            fraction,
        ]
    }
}

const HEADER: [&str; 8] =
    ["test", "threads", "depth", "batch", "tokens/s", "TTFT or TPOT ms", "read GB/s", "of bandwidth"];

/// A table in Markdown; medians, with the standard deviation.
pub(super) fn table(model: &str, rows: &[Row]) -> String {
    let mut table = Table::new();
    table.load_preset(ASCII_MARKDOWN).set_header(HEADER);
    for row in rows {
        table.add_row(row.cells());
    }
    format!("{model}\n\n{table}\n")
}

/// Comma-separated values with a header, in the names of the JSON.
pub(super) fn csv(rows: &[Row]) -> String {
    let mut text = String::new();
    for (index, row) in rows.iter().enumerate() {
        let Value::Object(object) = row.json() else { continue };
        if index == 0 {
            text.push_str(&object.keys().cloned().collect::<Vec<_>>().join(","));
            text.push('\n');
        }
        let cell = |value: &Value| match value {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        text.push_str(&object.values().map(cell).collect::<Vec<_>>().join(","));
        text.push('\n');
    }
    text
}
