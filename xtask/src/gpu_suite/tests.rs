//! Runs test programs with the GPU enabled (some of their tests need none), each test in a process of its own: a fault ends
//! everything that its process has on the device.

use std::{path::Path, process::Command, sync::Mutex, time::Instant};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::pack::{TESTS, Tests};

/// Processes at once: they share one GPU's memory.
const AT_ONCE: usize = 8;

/// Every test's name, whether it passed, and its seconds; what those that failed said is printed.
pub(super) fn run(packed: &Path, dry: bool) -> anyhow::Result<Vec<Value>> {
    let mut left = Vec::new();
    for tests in &TESTS {
        left.extend(names(&packed.join(tests.name()), tests)?.into_iter().map(|name| (tests.name(), name)));
    }
    left.reverse();
    let count = left.len();
    let (left, done) = (Mutex::new(left), Mutex::new(Vec::new()));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores.min(AT_ONCE) {
            scope.spawn(|| {
                loop {
                    let next = left.lock().ok().and_then(|mut left| left.pop());
                    let Some((program, name)) = next else { break };
                    let row = one(packed, &program, &name, dry);
                    done.lock().into_iter().for_each(|mut done| done.push(row.clone()));
                }
            });
        }
    });
    let mut rows = done.into_inner().unwrap_or_default();
    ensure!(rows.len() == count, "{} of {count} tests ran", rows.len());
    rows.sort_by_key(|row| (row["tests"].to_string(), row["name"].to_string()));
    let passed = rows.iter().filter(|row| row["passed"] == true).count();
    let place = if dry { "on the emulated device" } else { "where the GPU was asked for" };
    println!("{passed} of {count} tests passed {place}");
    Ok(rows)
}

/// The tests that a program has.
fn names(program: &Path, tests: &Tests) -> anyhow::Result<Vec<String>> {
    let output = Command::new(program).args(["--list", "--format", "terse", tests.filter]).output();
    let output = output.with_context(|| format!("starting {}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect())
}

fn one(packed: &Path, program: &str, name: &str, dry: bool) -> Value {
    let (start, asked) = (Instant::now(), if dry { "0" } else { "1" });
    let output =
        Command::new(packed.join(program)).args(["--exact", name]).env("TINYLLM_TEST_GPU", asked).output();
    let (passed, said) = match output {
        Ok(output) => (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()),
        Err(error) => (false, error.to_string()),
    };
    if !passed {
        println!("{program} {name} failed:\n{said}");
    }
    json!({ "tests": program, "name": name, "passed": passed, "seconds": start.elapsed().as_secs_f64() })
}
