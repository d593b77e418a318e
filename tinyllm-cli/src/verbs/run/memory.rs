//! What `run` says of memory afterwards: the report at the end, and memory over time as a Chrome trace.

use std::time::Duration;

use serde_json::{Map, Value, json};
use tinyllm_mem::{Host, Report, Tracking};
use tinyllm_model::{Engine, generation::Generation};

/// Allocations that the report names.
const LARGEST: usize = 10;

/// A line of what is held now: tracked, and resident in this process.
pub(super) fn line(phase: &str, tracking: &Tracking<Host>, tokens: usize, context: usize) -> String {
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    let resident =
        resident_bytes().map_or_else(String::new, |bytes| format!(", resident {:.1} MiB", mib(bytes)));
    format!(
        "[{phase}] memory {:.1} MiB{resident}, context {tokens} of {context} tokens",
        mib(tracking.report().total.live_bytes),
    )
}

/// Anonymous memory of this process, where the system says.
fn resident_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    line.trim().split(' ').next()?.parse::<usize>().ok().map(|kib| kib * 1024)
}

/// How long the phases of a run took; they follow one another.
pub(super) struct Spans([(&'static str, Duration); 3]);

impl Spans {
    pub(super) fn new(engine: &Engine, answer: &Generation) -> Self {
        let timings = answer.timings;
        Spans([("load", engine.load_time()), ("prefill", timings.prefill), ("decode", timings.decode)])
    }
}

/// Live, peak and count by category, the largest allocations, and what the engine did not free.
pub(super) fn report(before: &Report, after: &Report) -> String {
    let mut text = format!("{:<18}{:>16}{:>16}{:>8}\n", "memory", "live bytes", "peak bytes", "count");
    let rows = before.categories.iter().map(|(category, usage)| (category.name(), usage));
    for (name, usage) in rows.chain([("total", &before.total)]) {
        text.push_str(&format!(
            "{name:<18}{:>16}{:>16}{:>8}\n",
            usage.live_bytes, usage.peak_bytes, usage.count
        ));
    }
    text.push_str("largest allocations:\n");
    for (name, bytes) in before.live.iter().take(LARGEST) {
        text.push_str(&format!("  {name:<32}{bytes:>16}\n"));
    }
    if after.live.is_empty() {
        text.push_str("leaks: none");
    } else {
        text.push_str("leaks:");
        for (name, bytes) in &after.live {
            text.push_str(&format!("\n  {name:<32}{bytes:>16}"));
        }
    }
    text
}

/// The trace event format of Chrome: a counter track of live bytes by category, and the phases.
pub(super) fn trace(tracking: &Tracking<Host>, spans: &Spans) -> serde_json::Result<String> {
    let micros = |time: Duration| time.as_secs_f64() * 1e6;
    let mut events = Vec::new();
    for event in tracking.events() {
        let live: Map<String, Value> =
            event.live.iter().map(|(category, bytes)| (category.name().to_owned(), json!(bytes))).collect();
        let verb = if event.is_allocation { "allocate" } else { "free" };
        let (ts, pid) = (micros(event.at), 1);
        events.push(json!({"name": "live bytes", "ph": "C", "ts": ts, "pid": pid, "args": live}));
        let name = format!("{verb} {}", event.name);
        events.push(json!({"name": name, "ph": "i", "s": "p", "ts": ts, "pid": pid, "tid": 1, "args": {"bytes": event.bytes}}));
    }
    let mut start = Duration::ZERO;
    for (name, time) in spans.0 {
        events.push(
            json!({"name": name, "ph": "X", "ts": micros(start), "dur": micros(time), "pid": 1, "tid": 1}),
        );
        start += time;
    }
    serde_json::to_string(&json!({"traceEvents": events, "displayTimeUnit": "ms"}))
}
