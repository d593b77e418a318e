//! Results of a test: as a table, CSV and JSON.

use std::{ops::Range, time::Duration};

use comfy_table::{Table, presets::ASCII_MARKDOWN};
use serde_json::{Value, json};

use super::{Kind, Test, limits::Limits, median, work::Work};

/// One test with one number of threads.
pub(super) struct Row {
    test: String,
    device: String,
    threads: usize,
    depth: usize,
    batch: usize,
    tokens_per_s: f64,
    stddev: f64,
    /// Prefill: time to the last token's logits.
    ttft_ms: Option<f64>,
    /// Decode: time of a step.
    tpot_ms: Option<f64>,
    bytes_per_token: f64,
    /// Decode: the read bandwidth, and the share of it that was reached.
    read_bandwidth_bytes_per_s: Option<f64>,
    bandwidth_fraction: Option<f64>,
    /// Prefill: the dot peak, and the share of it that was reached.
    dot_peak_ops_per_s: Option<f64>,
    dot_fraction: Option<f64>,
}

/// A timed segment of a run.
#[derive(Clone)]
pub(super) struct Segment {
    /// Which of a sequence's tokens.
    pub(super) tokens: Range<usize>,
    pub(super) time: Duration,
    /// The machine's limits just before and after.
    pub(super) limits: Limits,
}

impl Row {
    /// From runs of some segments each. Speeds are medians over runs; fractions are medians over segments, each
    /// relative to the limits measured around it.
    pub(super) fn new(
        test: &Test,
        (device, threads): (&str, usize),
        runs: &[Vec<Segment>],
        work: &Work,
    ) -> Self {
        let seconds = |run: &Vec<Segment>| run.iter().map(|segment| segment.time.as_secs_f64()).sum::<f64>();
        let speeds: Vec<f64> = runs.iter().map(|run| test.tokens() as f64 / seconds(run)).collect();
        let mean = speeds.iter().sum::<f64>() / speeds.len() as f64;
        let variance = speeds.iter().map(|speed| (speed - mean).powi(2)).sum::<f64>() / speeds.len() as f64;
        let tokens_per_s = median(speeds);
        // Of segments whose limits are known.
        let over = |of: &dyn Fn(&Segment) -> Option<f64>| {
            let known: Vec<f64> = runs.iter().flatten().filter_map(of).collect();
            (!known.is_empty()).then(|| median(known))
        };
        let row = Row {
            test: test.name(),
            device: device.to_owned(),
            threads,
            depth: test.depth,
            batch: test.batch,
            tokens_per_s,
            stddev: variance.sqrt(),
            ttft_ms: None,
            tpot_ms: None,
            bytes_per_token: 0.0,
            read_bandwidth_bytes_per_s: over(&|segment| segment.limits.read_bytes_per_s),
            bandwidth_fraction: None,
            dot_peak_ops_per_s: over(&|segment| segment.limits.dot_ops_per_s),
            dot_fraction: None,
        };
        match test.kind {
            Kind::Prefill(count) => Row {
                ttft_ms: Some(1e3 * count as f64 / tokens_per_s),
                bytes_per_token: work.step_bytes(0, 0.0) / count as f64,
                dot_fraction: over(&|segment| {
                    let ops = work.prompt_ops(count, test.depth);
                    Some(ops / segment.time.as_secs_f64() / segment.limits.dot_ops_per_s?)
                }),
                ..row
            },
            Kind::Decode(count) => {
                // On average half of the generated tokens are in the cache.
                let step_bytes = |tokens: &Range<usize>| {
                    let seen = test.depth as f64 + (tokens.start + tokens.end) as f64 / 2.0;
                    work.step_bytes(test.batch, seen)
                };
                Row {
                    tpot_ms: Some(1e3 * test.batch as f64 / tokens_per_s),
                    bytes_per_token: step_bytes(&(0..count)) / test.batch as f64,
                    bandwidth_fraction: over(&|segment| {
                        let bytes = step_bytes(&segment.tokens) * segment.tokens.len() as f64;
                        Some(bytes / segment.time.as_secs_f64() / segment.limits.read_bytes_per_s?)
                    }),
                    ..row
                }
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "test": self.test,
            "device": self.device,
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
            "dot_peak_ops_per_s": self.dot_peak_ops_per_s,
            "dot_fraction": self.dot_fraction,
        })
    }

    fn cells(&self) -> [String; 9] {
        let (limit, fraction) = match (self.ttft_ms, self.read_bandwidth_bytes_per_s, self.dot_peak_ops_per_s)
        {
            (None, Some(bytes), _) => (format!("moves {:.1} GB/s", bytes / 1e9), self.bandwidth_fraction),
            (Some(_), _, Some(ops)) => (format!("multiplies {:.0} GOP/s", ops / 1e9), self.dot_fraction),
            _ => (String::new(), None),
        };
        let latency = self.ttft_ms.or(self.tpot_ms).unwrap_or_default();
        [
            self.test.clone(),
            self.device.clone(),
            self.threads.to_string(),
            self.depth.to_string(),
            self.batch.to_string(),
            format!("{:.1} ± {:.1}", self.tokens_per_s, self.stddev),
            format!("{latency:.2}"),
            limit,
            fraction.map_or_else(String::new, |fraction| format!("{fraction:.2}")),
        ]
    }
}

const HEADER: [&str; 9] =
    ["test", "device", "threads", "depth", "batch", "tokens/s", "TTFT or TPOT ms", "the device", "of that"];

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
