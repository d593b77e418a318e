//! What `run` prints about an answer: the JSON object, and the lines of `--verbose`.

use std::time::Duration;

use serde_json::json;
use tinyllm_mem::{Host, Tracking};
use tinyllm_model::{Engine, generation::Generation};

use crate::output;

fn per_second(tokens: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { tokens as f64 / time.as_secs_f64() }
}

/// The object that `--json` prints.
pub(super) fn json(
    prompt_ids: &[u32],
    answer: &Generation,
    engine: &Engine,
    tracking: &Tracking<Host>,
) -> serde_json::Value {
    let timings = answer.timings;
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    json!({
        "prompt_ids": prompt_ids,
        "ids": answer.ids,
        "text": answer.text,
        "finish_reason": answer.finish_reason.name(),
        "timings": {
            "load_ms": ms(engine.load_time()),
            "prefill_ms": ms(timings.prefill),
            "decode_ms": ms(timings.decode),
            "prefill_tokens_per_s": per_second(timings.prefilled_tokens, timings.prefill),
            "decode_tokens_per_s": per_second(timings.decoded_tokens, timings.decode),
        },
        "memory": output::memory_json(tracking),
    })
}

/// Speed, in a line.
pub(super) fn speed(answer: &Generation) -> String {
    let timings = answer.timings;
    format!(
        "prefill {} tokens, {:.1}/s; decode {} tokens, {:.1}/s; finish: {}",
        timings.prefilled_tokens,
        per_second(timings.prefilled_tokens, timings.prefill),
        timings.decoded_tokens,
        per_second(timings.decoded_tokens, timings.decode),
        answer.finish_reason.name(),
    )
}

/// Memory, a line a category.
pub(super) fn memory(tracking: &Tracking<Host>) -> String {
    let report = tracking.report();
    let mut text = String::new();
    for (category, usage) in &report.categories {
        text.push_str(&format!("{:<18}{:>14} bytes\n", category.name(), usage.peak_bytes));
    }
    text + &format!("{:<18}{:>14} bytes", "total", report.total.peak_bytes)
}
