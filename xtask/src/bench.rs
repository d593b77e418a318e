//! Measures the built program: prefill and decode at each number of threads, start to first token, peak memory. The
//! runs of different figures are interleaved, so that a slow minute of the machine touches all of them.

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use xshell::{Shell, cmd};

use crate::flags;

const PROMPT_TOKENS: usize = 512;
const NEW_TOKENS: usize = 128;
const DEFAULT_RUNS: u32 = 5;

/// One way of running the program.
struct Case {
    name: &'static str,
    /// Which model: the one named, or the W8A16 directory made from it.
    is_quantized: bool,
    prompt_tokens: usize,
    arguments: Vec<String>,
}

/// What one run showed.
struct Sample {
    wall: Duration,
    prefill_tokens_per_s: f64,
    decode_tokens_per_s: f64,
    load_ms: f64,
    peak_anonymous_bytes: u64,
    peak_resident_bytes: u64,
    tracked_bytes: u64,
}

pub(crate) fn run(options: &flags::Bench) -> anyhow::Result<()> {
    let shell = Shell::new()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    shell.change_dir(root);
    cmd!(shell, "cargo build --release --package tinyllm-cli").run()?;
    let program = root.join("target/release/tinyllm");
    let model = options.model.clone().unwrap_or_else(|| "smollm2".into());
    let scratch = tempfile::tempdir()?;
    let quantized = scratch.path().join("w8a16").display().to_string();
    let out = &quantized;
    cmd!(shell, "{program} quantize {model} {out}").ignore_stdout().run()?;

    let runs = options.runs.unwrap_or(DEFAULT_RUNS);
    let cases = cases();
    let mut samples: Vec<Vec<Sample>> = cases.iter().map(|_| Vec::new()).collect();
    for round in 0..runs {
        for (case, samples) in cases.iter().zip(&mut samples) {
            eprintln!("{} of {runs}: {}", round + 1, case.name);
            samples.push(measure(&program, if case.is_quantized { &quantized } else { &model }, case)?);
        }
    }
    let rows: Vec<Value> =
        cases.iter().zip(&samples).map(|(case, samples)| row(&model, case, samples)).collect();
    let commit = cmd!(shell, "git rev-parse --short HEAD").read()?;
    let result = json!({
        "command": format!("cargo xtask bench {model} --runs {runs}"),
        "date": cmd!(shell, "date -u +%Y-%m-%d").read()?,
        "commit": commit,
        "machine": machine(),
        "runs": runs,
        "rows": rows,
    });
    let path = match &options.out {
        Some(path) => path.clone(),
        None => {
            let seconds = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
            let name =
                Path::new(&model).file_stem().map_or_else(|| model.clone(), |n| n.to_string_lossy().into());
            root.join(format!("bench/results/{name}-{commit}-{seconds}.json"))
        }
    };
    fs::create_dir_all(path.parent().context("a folder for the results")?)?;
    fs::write(&path, serde_json::to_string_pretty(&result)? + "\n")?;
    for row in &rows {
        println!("{row}");
    }
    println!("{}", path.display());
    Ok(())
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let words = |text: String| text.split(' ').map(String::from).collect::<Vec<_>>();
    for threads in [1, 2] {
        let name =
            if threads == 1 { "prefill and decode, 1 thread" } else { "prefill and decode, 2 threads" };
        cases.push(Case {
            name,
            is_quantized: true,
            prompt_tokens: PROMPT_TOKENS,
            arguments: words(format!("-n {NEW_TOKENS} --threads {threads} --ctx-size 1024")),
        });
    }
    for (name, is_quantized, extra) in [
        ("start to first token, W8A16 file", true, ""),
        ("start to first token, W8A16 file, --mmap", true, " --mmap"),
        ("start to first token, quantised while loading", false, ""),
    ] {
        cases.push(Case {
            name,
            is_quantized,
            prompt_tokens: 8,
            arguments: words(format!("-n 1 --ctx-size 1024{extra}")),
        });
    }
    cases
}

/// Runs the program once, watching its memory.
fn measure(program: &Path, model: &str, case: &Case) -> anyhow::Result<Sample> {
    let ids: Vec<String> =
        (0..case.prompt_tokens).map(|index| (1000 + index * 37 % 4000).to_string()).collect();
    let start = Instant::now();
    let mut child = Command::new(program)
        .args(["run", model, "--ids", &ids.join(","), "--temp", "0", "--ignore-eos", "--json"])
        .args(&case.arguments)
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
    let timing = |name: &str| answer["timings"][name].as_f64().unwrap_or(f64::NAN);
    let categories = answer["memory"].as_object().context("memory by category")?;
    Ok(Sample {
        wall,
        prefill_tokens_per_s: timing("prefill_tokens_per_s"),
        decode_tokens_per_s: timing("decode_tokens_per_s"),
        load_ms: timing("load_ms"),
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

fn row(model: &str, case: &Case, samples: &[Sample]) -> Value {
    let spread = |of: fn(&Sample) -> f64| {
        let mut values: Vec<f64> = samples.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        let round = |value: f64| (value * 10.0).round() / 10.0;
        json!({"median": round(values[values.len() / 2]), "min": round(values[0]), "max": round(values[values.len() - 1])})
    };
    let most = |of: fn(&Sample) -> u64| samples.iter().map(of).max();
    let source = if case.is_quantized { format!("{model}, quantised") } else { model.to_owned() };
    let mut row = json!({
        "test": case.name,
        "model": source,
        "prompt_tokens": case.prompt_tokens,
        "arguments": case.arguments.join(" "),
    });
    if case.prompt_tokens == PROMPT_TOKENS {
        row["prefill_tokens_per_s"] = spread(|sample| sample.prefill_tokens_per_s);
        row["decode_tokens_per_s"] = spread(|sample| sample.decode_tokens_per_s);
    } else {
        row["wall_ms"] = spread(|sample| sample.wall.as_secs_f64() * 1e3);
    }
    row["load_ms"] = spread(|sample| sample.load_ms);
    row["peak_anonymous_bytes"] = json!(most(|sample| sample.peak_anonymous_bytes));
    row["peak_resident_bytes"] = json!(most(|sample| sample.peak_resident_bytes));
    row["tracked_bytes"] = json!(most(|sample| sample.tracked_bytes));
    row
}

/// The processor and how many of its cores there are.
fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores", name.trim_start_matches([' ', '\t', ':']))
}
