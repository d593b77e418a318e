//! Programs on the emulated driver: what they print, and what the checks find.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context;
use serde_json::Value;

use crate::emulate;

/// Every check but that for leaks: Python's garbage and caches end with the process.
pub(super) const WITHOUT_LEAKS: &str = "memcheck,initcheck,racecheck,synccheck,stream";

/// The emulated libraries, and after them the toolkit's.
pub(super) struct Emulated {
    directory: tempfile::TempDir,
    toolkit: PathBuf,
}

/// What came of a program.
pub(super) struct Run {
    /// The lines of JSON that it printed.
    pub(super) lines: Vec<Value>,
    /// All that it printed.
    pub(super) output: String,
    /// The end of what it printed on standard error.
    pub(super) errors: String,
    /// Whether it ended with status 0.
    pub(super) succeeded: bool,
    /// What was found.
    pub(super) findings: Vec<Value>,
}

impl Emulated {
    pub(super) fn new(toolkit: &Path) -> anyhow::Result<Self> {
        Ok(Emulated { directory: emulate::libraries()?, toolkit: toolkit.join("lib") })
    }

    /// Runs a command; it finds the libraries first.
    pub(super) fn run(&self, command: &mut Command) -> anyhow::Result<Run> {
        let report = self.directory.path().join("findings.jsonl");
        if report.exists() {
            fs::remove_file(&report)?;
        }
        command.env("LD_LIBRARY_PATH", env::join_paths([self.directory.path(), &self.toolkit])?);
        command.env("TINYLLM_EMULATOR_REPORT", &report);
        let name = Path::new(command.get_program()).display().to_string();
        let output = command.output().with_context(|| format!("starting {name}"))?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let lines = text.lines().filter(|line| line.starts_with("{\""));
        let lines = lines.map(serde_json::from_str).collect::<Result<_, _>>();
        let findings = if report.exists() { fs::read_to_string(&report)? } else { String::new() };
        let findings = findings.lines().map(serde_json::from_str).collect::<Result<Vec<Value>, _>>()?;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        Ok(Run {
            lines: lines.with_context(|| format!("{name} prints lines of JSON"))?,
            output: text,
            errors: errors
                .lines()
                .rev()
                .take(5)
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
                .collect::<Vec<_>>()
                .join("\n"),
            succeeded: output.status.success(),
            findings: findings.into_iter().filter(|finding| finding["is_note"] != true).collect(),
        })
    }
}
