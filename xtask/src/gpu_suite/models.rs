//! Whole models by `tinyllm bench`, with weights that nobody trained.

use std::{path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::pack::PROGRAM;

/// Models, and what is measured of each on a GPU: prompts, decoding alone and in batches, at depths.
const PRESETS: [(&str, &[&str]); 3] = [
    ("smollm2-135m", &["-p", "512,2048", "-n", "64", "-d", "0,4096", "-b", "1,8,64", "-r", "3"]),
    ("llama-7b", &["-p", "512,1024", "-n", "64", "-d", "0,1024", "-b", "1,8", "-r", "3"]),
    ("llama-3-8b", &["-p", "2048", "-n", "64", "-d", "0,4096", "-b", "1,8", "-r", "3"]),
];

/// As little as there is of it: for a dry run.
const LITTLE: [&str; 6] = ["-p", "3", "-n", "1", "-r", "1"];

/// The rows of each model.
pub(super) fn run(packed: &Path, dry: bool) -> anyhow::Result<Vec<Value>> {
    let presets = if dry { &PRESETS[..1] } else { &PRESETS[..] };
    let mut models = Vec::new();
    for (preset, tests) in presets {
        let mut command = Command::new(packed.join(PROGRAM));
        command.args(["bench", "--preset", preset, "-o", "json"]);
        if dry {
            // What is checked is that the suite runs; the kernels' accesses are checked by the tests.
            command.args(["--device", "emulated"]).args(LITTLE).env("TINYLLM_EMULATOR_CHECK", "none");
        } else {
            command.args(["--device", "cuda"]).args(*tests);
        }
        let output = command.output().with_context(|| format!("starting {command:?}"))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{command:?} failed:\n{said}");
        let rows: Vec<Value> = serde_json::from_slice(&output.stdout)
            .with_context(|| format!("what {command:?} printed; it said:\n{said}"))?;
        for row in &rows {
            let share = row["bandwidth_fraction"].as_f64().or(row["dot_fraction"].as_f64());
            println!(
                "{preset:14} {:8} depth {:>6} batch {:>3} {:>10.1} tokens/s {}",
                row["test"].as_str().unwrap_or_default(),
                row["depth"],
                row["batch"],
                row["tokens_per_s"].as_f64().unwrap_or_default(),
                share.map_or_else(String::new, |share| format!("{share:.2} of the device's limit")),
            );
        }
        models.push(json!({ "model": preset, "rows": rows }));
    }
    Ok(models)
}
