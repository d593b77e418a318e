//! `cargo xtask memcheck`: the GPU tests, or any program, under the emulator's checks; and under `compute-sanitizer` where this
//! machine has a GPU and the tool. One finding a line; the status is 1 where there is any.

use std::{
    ffi::OsString,
    path::Path,
    process::{ExitCode, Stdio},
};

use anyhow::Context;

use crate::{
    cargo,
    emulate::{self, ALL, Checks},
    flags, sanitizer,
};

/// Tests that run on the emulated device: package, test, filter.
const TESTS: [(&str, &str, &str); 3] = [
    ("tinyllm-kernels", "gpu", ""),
    ("tinyllm-mem", "resources", "device::"),
    ("tinyllm-model", "devices", ""),
];

pub(crate) fn run(options: flags::Memcheck) -> anyhow::Result<ExitCode> {
    let checks = Checks::parse(options.only.as_deref(), ALL)?;
    if let Some(program) = options.program {
        let program = own_program(program)?;
        return emulate::run(&flags::Emulate {
            memory: None,
            seed: None,
            budget: None,
            only: Some(checks.list()),
            driver_version: None,
            json: options.json,
            format: None,
            output: None,
            suppressions: Vec::new(),
            gen_suppressions: false,
            errors: false,
            program: Some(program),
            would_load: Vec::new(),
            args: options.args,
        });
    }
    let directory = tempfile::Builder::new().prefix("tinyllm-memcheck-").tempdir()?;
    let report = directory.path().join("findings.jsonl");
    let mut failed = false;
    for (package, test, filter) in TESTS {
        let mut cargo = cargo::command();
        cargo.args(["test", "--quiet", "--package", package, "--test", test, filter]);
        cargo.env("TINYLLM_EMULATOR_REPORT", &report).env("TINYLLM_EMULATOR_CHECK", checks.list());
        // The tests' own output is not a finding.
        let status = cargo.stdout(Stdio::from(std::io::stderr())).status().context("starting cargo")?;
        failed |= !status.success();
    }
    let mut found = emulate::print(&report, &checks, options.json)?;
    match sanitizer::find() {
        Some(tool) => found += sanitize(&tool, &checks, options.json)?,
        None => eprintln!("no compute-sanitizer here: only the emulated device was checked"),
    }
    Ok(ExitCode::from(u8::from(failed || found > 0)))
}

/// This repository's program where it is named alone, built; any other as it is.
fn own_program(program: OsString) -> anyhow::Result<OsString> {
    if program != "tinyllm" {
        return Ok(program);
    }
    let built = ["build", "--release", "--package", "tinyllm-cli", "--bin", "tinyllm"];
    Ok(cargo::executable(&built)?.into_os_string())
}

/// Runs the GPU tests on this machine's GPU under each tool, and gives how many findings there were.
fn sanitize(tool: &Path, checks: &Checks, as_json: bool) -> anyhow::Result<usize> {
    let mut found = 0;
    let leak = checks.has("leak");
    for (package, test, filter) in TESTS {
        let tests = cargo::executable(&["test", "--package", package, "--test", test, "--no-run"])?;
        let wanted = |check: &&&str| checks.has(check) || (leak && **check == "memcheck");
        for check in sanitizer::TOOLS.iter().filter(wanted) {
            for line in sanitizer::run(tool, check, leak, &tests, filter)? {
                found += 1;
                match as_json {
                    true => println!("{}", serde_json::json!({ "tool": check, "text": line })),
                    false => println!("{check}: {line}"),
                }
            }
        }
    }
    Ok(found)
}
