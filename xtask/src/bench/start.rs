//! Time to first token, and peak memory. The runs of different cases are interleaved, so that a slow minute of the machine
//! affects all of them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use xshell::{Shell, cmd};

const PROMPT_TOKENS: usize = 8;

/// One way of running the program.
struct Case {
    name: &'static str,
    /// Which model: the one named, or the W8A16 directory made from it.
    is_quantized: bool,
    flags: &'static str,
}

/// The figures of one run.
struct Sample {
    wall: Duration,
    load_ms: f64,
    peak_anonymous_bytes: u64,
    peak_resident_bytes: u64,
    tracked_bytes: u64,
}

const CASES: [Case; 3] = [
    Case { name: "W8A16 file", is_quantized: true, flags: "-n 1 --ctx-size 1024" },
    Case { name: "W8A16 file, --mmap", is_quantized: true, flags: "-n 1 --ctx-size 1024 --mmap" },
    Case { name: "quantised while loading", is_quantized: false, flags: "-n 1 --ctx-size 1024" },
];

/// A row for each case.
pub(super) fn measure(shell: &Shell, program: &Path, model: &str, runs: u32) -> anyhow::Result<Vec<Value>> {
    let scratch = tempfile::tempdir()?;
    let quantized = &scratch.path().join("w8a16").display().to_string();
    cmd!(shell, "{program} quantize {model} {quantized}").ignore_stdout().run()?;
    let mut samples: Vec<Vec<Sample>> = CASES.iter().map(|_| Vec::new()).collect();
    for round in 0..runs {
        for (case, samples) in CASES.iter().zip(&mut samples) {
            eprintln!("start to first token, {} of {runs}: {}", round + 1, case.name);
            samples.push(sample(program, if case.is_quantized { quantized } else { model }, case)?);
        }
    }
    Ok(CASES.iter().zip(&samples).map(|(case, samples)| row(case, samples)).collect())
}

/// Runs the program once, watching its memory.
fn sample(program: &Path, model: &str, case: &Case) -> anyhow::Result<Sample> {
    let ids: Vec<String> = (0..PROMPT_TOKENS).map(|index| (1000 + index * 37 % 4000).to_string()).collect();
    let start = Instant::now();
    let mut child = Command::new(program)
        .args(["run", model, "--ids", &ids.join(","), "--temp", "0", "--ignore-eos", "--json"])
        .args(case.flags.split(' '))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let status = format!("/proc/{}/status", child.id());
    let (mut peak_anonymous_bytes, mut peak_resident_bytes) = (0, 0);
    let wall = loop {
        if child.try_wait()?.is_some() {
            break start.elapsed();
        }
        let text = fs::read_to_string(&status).unwrap_or_default();
        peak_anonymous_bytes = peak_anonymous_bytes.max(status_bytes(&text, "RssAnon:"));
        peak_resident_bytes = peak_resident_bytes.max(status_bytes(&text, "VmHWM:"));
        std::thread::sleep(Duration::from_millis(1));
    };
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{model}: the run failed");
    let answer: Value = serde_json::from_slice(&output.stdout)?;
    let categories = answer["memory"].as_object().context("memory by category")?;
    Ok(Sample {
        wall,
        load_ms: answer["timings"]["load_ms"].as_f64().context("the time that loading took")?,
        peak_anonymous_bytes,
        peak_resident_bytes,
        tracked_bytes: categories.values().filter_map(|usage| usage["peak_bytes"].as_u64()).sum(),
    })
}

/// A line of /proc/PID/status, in bytes.
fn status_bytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

fn row(case: &Case, samples: &[Sample]) -> Value {
    let spread = |of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let round = |value: f64| (value * 10.0).round() / 10.0;
        json!({"median": round(values[values.len() / 2]), "min": round(values[0]), "max": round(values[values.len() - 1])})
    };
    let most = |of: fn(&Sample) -> u64| samples.iter().map(of).max();
    json!({
        "test": case.name,
        "prompt_tokens": PROMPT_TOKENS,
        "arguments": case.flags,
        "wall_ms": spread(|sample| sample.wall.as_secs_f64() * 1e3),
        "load_ms": spread(|sample| sample.load_ms),
        "peak_anonymous_bytes": most(|sample| sample.peak_anonymous_bytes),
        "peak_resident_bytes": most(|sample| sample.peak_resident_bytes),
        "tracked_bytes": most(|sample| sample.tracked_bytes),
    })
}
