//! `compute-sanitizer`, where this machine has a GPU and the tool: test programs on the GPU under each of its tools.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};

/// Its tools.
pub(crate) const TOOLS: [&str; 4] = ["memcheck", "initcheck", "racecheck", "synccheck"];

/// The exit status where something was found.
const FOUND: i32 = 9;

/// The tool in the search path, or where the toolkit puts it; nothing without a GPU's device file.
pub(crate) fn find() -> Option<PathBuf> {
    if !Path::new("/dev/nvidia0").exists() {
        return None;
    }
    let path = env::var_os("PATH")?;
    let toolkit = PathBuf::from("/usr/local/cuda/bin");
    let mut candidates =
        env::split_paths(&path).chain([toolkit]).map(|directory| directory.join("compute-sanitizer"));
    candidates.find(|candidate| candidate.is_file())
}

/// Runs the tests of a program whose names have `filter` in them under one of [`TOOLS`], and gives what it found; `leak` makes
/// memcheck report memory that is not freed.
pub(crate) fn run(
    sanitizer: &Path,
    tool: &str,
    leak: bool,
    tests: &Path,
    filter: &str,
) -> anyhow::Result<Vec<String>> {
    let mut command = Command::new(sanitizer);
    command.args(["--tool", tool, "--error-exitcode", &FOUND.to_string()]);
    if tool == "memcheck" {
        // Some tests make calls fail on purpose; a call that should not fail fails the test.
        command.args(["--report-api-errors", "no"]);
        if leak {
            command.args(["--leak-check", "full"]);
        }
    }
    // One after another: what is a test's own to find is not another's.
    command.arg(tests).args([filter, "--test-threads", "1"]).env("TINYLLM_TEST_GPU", "1");
    let output = command.output().context("starting compute-sanitizer")?;
    let text = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success() || output.status.code() == Some(FOUND),
        "{tool}: the tests failed:\n{text}"
    );
    // Findings are paragraphs whose first line has one space after the marks.
    let lines = text.lines().filter_map(|line| line.strip_prefix("========= "));
    let is_finding = |line: &&str| {
        let head = !line.starts_with(' ') && !line.trim().is_empty();
        head && !line.contains("SUMMARY") && !line.starts_with("COMPUTE-SANITIZER")
    };
    let found: Vec<String> = lines.filter(is_finding).map(str::to_owned).collect();
    ensure!(
        output.status.success() || !found.is_empty(),
        "{tool} found something that cannot be read here:\n{text}"
    );
    Ok(found)
}
