//! `cargo xtask memcheck`: the GPU tests, or any program, under the emulator's checks; and under `compute-sanitizer` where this
//! machine has a GPU and the tool. One finding a line; the status is 1 where there is any.

use std::{
    env,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, ensure};

use crate::{emulate, flags};

/// The emulator's checks; compute-sanitizer has tools for the first four.
const CHECKS: [&str; 6] = ["memcheck", "initcheck", "racecheck", "synccheck", "leak", "stream"];

/// Tests that run on the emulated device: package, test, filter.
const TESTS: [(&str, &str, &str); 2] =
    [("tinyllm-kernels", "gpu", ""), ("tinyllm-mem", "resources", "device::")];

pub(crate) fn run(options: flags::Memcheck) -> anyhow::Result<ExitCode> {
    let checks = checks(options.only.as_deref())?;
    if let Some(program) = options.program {
        let (memory, seed, only) = (None, None, Some(checks.join(",")));
        let (json, errors, args) = (options.json, false, options.args);
        return emulate::run(&flags::Emulate { memory, seed, only, json, errors, program, args });
    }
    let directory = tempfile::Builder::new().prefix("tinyllm-memcheck-").tempdir()?;
    let report = directory.path().join("findings.jsonl");
    let mut failed = false;
    for (package, test, filter) in TESTS {
        let mut cargo = cargo();
        cargo.args(["test", "--quiet", "--package", package, "--test", test, filter]);
        cargo.env("TINYLLM_EMULATOR_REPORT", &report).env("TINYLLM_EMULATOR_CHECK", checks.join(","));
        // What the tests print is no finding.
        let status = cargo.stdout(Stdio::from(std::io::stderr())).status().context("starting cargo")?;
        failed |= !status.success();
    }
    let mut found = emulate::print(&report, options.json)?;
    match sanitizer() {
        Some(tool) => found += sanitize(&tool, &checks, options.json)?,
        None => eprintln!("no compute-sanitizer here: only the emulated device was checked"),
    }
    Ok(ExitCode::from(u8::from(failed || found > 0)))
}

/// The checks of `--only`, all without it.
fn checks(only: Option<&str>) -> anyhow::Result<Vec<&'static str>> {
    let Some(list) = only else { return Ok(CHECKS.to_vec()) };
    list.split(',')
        .map(|name| {
            let known = CHECKS.iter().find(|known| **known == name.trim());
            known.copied().with_context(|| format!("--only {name}: the checks are {}", CHECKS.join(", ")))
        })
        .collect()
}

fn cargo() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The tool in the search path, or where the toolkit puts it; nothing without a GPU's device file.
fn sanitizer() -> Option<PathBuf> {
    if !Path::new("/dev/nvidia0").exists() {
        return None;
    }
    let path = env::var_os("PATH")?;
    let toolkit = PathBuf::from("/usr/local/cuda/bin");
    let mut candidates =
        env::split_paths(&path).chain([toolkit]).map(|directory| directory.join("compute-sanitizer"));
    candidates.find(|candidate| candidate.is_file())
}

/// Runs the GPU tests on this machine's GPU under each tool, and gives how many findings there were.
fn sanitize(tool: &Path, checks: &[&str], as_json: bool) -> anyhow::Result<usize> {
    let binary = gpu_tests()?;
    let mut found = 0;
    let leak = checks.contains(&"leak");
    for check in CHECKS[..4].iter().filter(|check| checks.contains(check) || (leak && **check == "memcheck"))
    {
        let mut command = Command::new(tool);
        command.args(["--tool", check, "--error-exitcode", "9"]);
        if *check == "memcheck" && leak {
            command.args(["--leak-check", "full"]);
        }
        let output = command
            .arg(&binary)
            .env("TINYLLM_TEST_GPU", "1")
            .output()
            .context("starting compute-sanitizer")?;
        let text = String::from_utf8_lossy(&output.stdout);
        // Findings are paragraphs whose first line has one space after the marks.
        for line in text.lines().filter_map(|line| line.strip_prefix("========= ")) {
            let is_finding =
                !line.starts_with(' ') && !line.contains("SUMMARY") && !line.starts_with("COMPUTE-SANITIZER");
            if is_finding && !line.trim().is_empty() {
                found += 1;
                match as_json {
                    true => println!("{}", serde_json::json!({ "tool": check, "text": line })),
                    false => println!("{check}: {line}"),
                }
            }
        }
        ensure!(
            output.status.success() || output.status.code() == Some(9),
            "{check}: the tests failed:\n{text}"
        );
    }
    Ok(found)
}

/// The GPU tests, built, and where they are.
fn gpu_tests() -> anyhow::Result<PathBuf> {
    let arguments =
        ["test", "--package", "tinyllm-kernels", "--test", "gpu", "--no-run", "--message-format=json"];
    let output = cargo().args(arguments).stderr(Stdio::inherit()).output().context("starting cargo")?;
    ensure!(output.status.success(), "the GPU tests do not build");
    let messages = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut paths = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(PathBuf::from(message.get("executable")?.as_str()?))
    });
    paths.next_back().context("cargo built no GPU tests")
}
