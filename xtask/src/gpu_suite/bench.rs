//! The kernels' bench and torch's operations, in turns.

use std::{collections::BTreeMap, path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::Value;

use super::pack::{BENCH, PEERS};

/// Turns of each.
const TURNS: usize = 3;

/// Rows of the kernels and of torch, medians over the turns; none of torch where there is none.
pub(super) fn run(packed: &Path, dry: bool) -> anyhow::Result<(Vec<Value>, Vec<Value>)> {
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    if dry {
        let ours = rows(Command::new(packed.join(BENCH)).args(["--emulated", "--json"]))?;
        return Ok((ours, theirs));
    }
    let torch = Command::new("python3").args(["-c", "import torch"]).output();
    let torch = torch.is_ok_and(|output| output.status.success());
    if !torch {
        println!("no torch here: the kernels are measured alone");
    }
    for _ in 0..TURNS {
        ours.extend(rows(Command::new(packed.join(BENCH)).args(["--bench", "--json"]))?);
        if torch {
            theirs.extend(rows(Command::new("python3").arg(packed.join(PEERS)))?);
        }
    }
    let (ours, theirs) = (medians(ours), medians(theirs));
    for row in &ours {
        print(row, &theirs);
    }
    Ok((ours, theirs))
}

/// The array that a program prints.
fn rows(command: &mut Command) -> anyhow::Result<Vec<Value>> {
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} failed:\n{said}");
    serde_json::from_slice(&output.stdout)
        .with_context(|| format!("what {command:?} printed; it said:\n{said}"))
}

/// Of rows for the same case the one in the middle.
fn medians(rows: Vec<Value>) -> Vec<Value> {
    let mut order = Vec::new();
    let mut cases: BTreeMap<[String; 3], Vec<Value>> = BTreeMap::new();
    for row in rows {
        let case = ["bench", "kernel", "case"].map(|name| text(&row, name));
        if !cases.contains_key(&case) {
            order.push(case.clone());
        }
        cases.entry(case).or_default().push(row);
    }
    let middle = |case| {
        let mut rows = cases.remove(&case)?;
        rows.sort_by(|a, b| microseconds(a).total_cmp(&microseconds(b)));
        let middle = rows.len() / 2;
        rows.into_iter().nth(middle)
    };
    order.into_iter().filter_map(middle).collect()
}

fn text(row: &Value, name: &str) -> String {
    row[name].as_str().unwrap_or_default().to_owned()
}

fn microseconds(row: &Value) -> f64 {
    row["microseconds"].as_f64().unwrap_or(f64::NAN)
}

/// One line: a kernel's time, its share of the device's limit, and torch's time for the same.
fn print(row: &Value, theirs: &[Value]) {
    let (bench, case) = (text(row, "bench"), text(row, "case"));
    let kernel = if row["kernel"].is_null() { bench.clone() } else { text(row, "kernel") };
    let share = row["bandwidth_fraction"].as_f64();
    let rate = row["operations_per_s"].as_f64().unwrap_or_default();
    let speed = share.map_or_else(
        || format!("{:.0} TFLOP/s", rate / 1e12),
        |share| format!("{share:.2} of the bandwidth"),
    );
    let peer = theirs.iter().find(|row| text(row, "bench") == bench && text(row, "case") == case);
    let ratio = peer.map_or_else(String::new, |peer| {
        format!("torch takes {:.2} times as long", microseconds(peer) / microseconds(row))
    });
    println!("{kernel:30} {case:42} {:>9.2} us  {speed:22} {ratio}", microseconds(row));
}
