//! Measures the built program on a model, and the kernels alone; writes the figures and draws their chart.

mod kernels;
mod peers;
mod start;
mod tokens;

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use serde_json::json;
use xshell::{Shell, cmd};

use crate::{files, flags};

const DEFAULT_RUNS: u32 = 5;

pub(crate) fn run(options: &flags::Bench) -> anyhow::Result<()> {
    let shell = Shell::new()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    let model = options.model.as_deref().unwrap_or("smollm2");
    let name = Path::new(model).file_stem().map_or_else(|| model.into(), |name| name.to_string_lossy());
    let runs = options.runs.unwrap_or(DEFAULT_RUNS);
    // Read first, so that an error does not appear after minutes.
    let peers = options.peers.as_deref().map(|path| peers::rows(path, &name)).transpose()?;
    let here = env::current_dir()?;
    shell.change_dir(root);
    cmd!(shell, "cargo build --release --package tinyllm-cli").run()?;
    let program = target_folder(root, &here).join("release/tinyllm");

    let (commands, rows) = tokens::measure(&shell, &program, model, runs)?;
    let start = start::measure(&shell, &program, model, runs)?;
    let kernels = if options.no_kernels { Vec::new() } else { kernels::measure(&shell)? };

    let commit = cmd!(shell, "git rev-parse --short HEAD").read()?;
    let without_kernels = if options.no_kernels { " --no-kernels" } else { "" };
    let result = json!({
        "command": format!("cargo xtask bench {model} --runs {runs}{without_kernels}"),
        "commands": commands,
        "model": name,
        "date": files::today()?,
        "commit": commit,
        "machine": machine(),
        "runs": runs,
        "rows": rows,
        "start": start,
        "kernels": kernels,
        "peers": peers,
    });
    let (figures, chart) = match &options.out {
        Some(path) => (here.join(path), here.join(path).with_extension("svg")),
        None => {
            let figures = format!("bench/results/{name}-{commit}-{}.json", files::seconds()?);
            (root.join(figures), root.join(format!("docs/images/bench-{name}.svg")))
        }
    };
    files::write(&figures, &result)?;
    cmd!(shell, "{program} bench --from {figures} --svg {chart}").run()?;
    println!("{}\n{}", figures.display(), chart.display());
    Ok(())
}

/// Where cargo builds.
fn target_folder(root: &Path, here: &Path) -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |folder| here.join(folder))
}

/// The processor and how many of its cores there are.
fn machine() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{}, {cores} cores", name.trim_start_matches([' ', '\t', ':']))
}
