//! `cargo xtask gpu-suite`: the checks that need a GPU. The tests on it, under compute-sanitizer too; whole models; the kernels'
//! bench, with torch's where there is one. The suite can be packed here and run on a machine without Rust; a dry run of what was
//! packed needs no GPU.

mod bench;
mod models;
mod pack;
mod tests;

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::{files, flags, sanitizer};

pub(crate) fn run(options: &flags::GpuSuite) -> anyhow::Result<ExitCode> {
    if let Some(directory) = &options.pack {
        pack::write(directory)?;
        println!("{0}/xtask gpu-suite --packed {0} --out FILE runs it", directory.display());
        return Ok(ExitCode::SUCCESS);
    }
    let device = if options.dry_run { json!({ "name": "emulated" }) } else { device()? };
    let unpacked;
    let packed = match &options.packed {
        Some(directory) => directory.clone(),
        None => {
            unpacked = tempfile::Builder::new().prefix("tinyllm-gpu-suite-").tempdir()?;
            pack::write(unpacked.path())?;
            unpacked.path().to_owned()
        }
    };
    let commit = pack::commit(&packed)?;

    let tests = tests::run(&packed, options.dry_run)?;
    let mut failed = tests.iter().any(|test| test["passed"] == false);
    let (sanitizer, found) = if options.dry_run { (Value::Null, 0) } else { sanitize(&packed)? };
    failed |= found > 0;
    let models = models::run(&packed, options.dry_run)?;
    let (rows, peers) = bench::run(&packed, options.dry_run)?;

    let out = match &options.out {
        Some(path) => env::current_dir()?.join(path),
        None if options.dry_run => packed.join("dry-run.json"),
        None => results(&device, &commit)?,
    };
    let result = json!({
        "command": "cargo xtask gpu-suite",
        "date": files::today()?,
        "commit": commit,
        "device": device,
        "tests": tests,
        "sanitizer": sanitizer,
        "models": models,
        "rows": rows,
        "peers": peers,
    });
    files::write(&out, &result)?;
    println!("{}", out.display());
    Ok(ExitCode::from(u8::from(failed)))
}

/// The first GPU, as its driver describes it.
fn device() -> anyhow::Result<Value> {
    let query =
        ["--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader", "--id=0"];
    let output =
        Command::new("nvidia-smi").args(query).output().context("nvidia-smi, which names the GPU")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "nvidia-smi finds no GPU: {}", text.trim());
    let fields: Vec<&str> = text.trim().split(", ").collect();
    let [name, driver, capability, memory] = fields[..] else { anyhow::bail!("nvidia-smi: {text}") };
    println!("{name}, compute capability {capability}, {memory}, driver {driver}");
    Ok(json!({ "name": name, "driver": driver, "compute_capability": capability, "memory": memory }))
}

/// The default path of results.
fn results(device: &Value, commit: &str) -> anyhow::Result<PathBuf> {
    let name = device["name"].as_str().unwrap_or("gpu").to_lowercase().replace("nvidia ", "");
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    let seconds = files::seconds()?;
    Ok(root.join(format!("bench/results/gpu-{}-{commit}-{seconds}.json", name.replace(' ', "-"))))
}

/// The findings of each of the sanitizer's tools in each test program, and their number.
fn sanitize(packed: &Path) -> anyhow::Result<(Value, usize)> {
    let Some(tool) = sanitizer::find() else {
        println!("no compute-sanitizer here: the tests ran without it only");
        return Ok((Value::Null, 0));
    };
    let (mut rows, mut count) = (Vec::new(), 0);
    for tests in pack::TESTS.iter().filter(|tests| tests.sanitized) {
        for check in sanitizer::TOOLS {
            let found = sanitizer::run(&tool, check, true, &packed.join(tests.name()), tests.filter)?;
            println!("compute-sanitizer {check}, {}: {} findings", tests.name(), found.len());
            found.iter().for_each(|line| println!("    {line}"));
            count += found.len();
            rows.push(json!({ "tool": check, "tests": tests.name(), "findings": found }));
        }
    }
    Ok((Value::Array(rows), count))
}
