//! `cargo xtask emulate -- PROGRAM`: an unmodified program on the emulated driver, and a report of what the checks found.

mod checks;
mod finding;
mod github;
mod glob;
mod libraries;
mod report;
mod sarif;
mod summary;
mod suppressions;

use std::{
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
    time::Instant,
};

use anyhow::{Context, ensure};

pub(crate) use self::{
    checks::{ALL, Checks},
    libraries::libraries,
};
use self::{
    report::{Format, Report},
    suppressions::Suppressions,
};
use crate::{cargo, flags::Emulate};

/// Added to a signal's number, the status of a program that it ended, as in shells.
const SIGNALS: i32 = 128;

pub(crate) fn run(options: &Emulate) -> anyhow::Result<ExitCode> {
    if !options.would_load.is_empty() {
        ensure!(options.program.is_none(), "--would-load runs nothing: leave the program out");
        return would_load(&options.would_load, options.json);
    }
    let program = options.program.as_ref().context("a program is needed, or --would-load with a file")?;
    // What cannot be read is said before the program runs.
    let checks = Checks::parse(options.only.as_deref(), checks::OF_PROGRAMS)?;
    let format = Format::parse(options.format.as_deref(), options.json)?;
    let suppressions = Suppressions::read(&options.suppressions, &checks::names())?;
    let directory = libraries()?;
    let search_path = libraries::search_path(directory.path())?;
    let findings = directory.path().join("findings.jsonl");
    let work = directory.path().join("summary.jsonl");

    let mut command = Command::new(program);
    command.args(&options.args).env("LD_LIBRARY_PATH", search_path);
    command.env("TINYLLM_EMULATOR_REPORT", &findings).env("TINYLLM_EMULATOR_SUMMARY", &work);
    command.env("TINYLLM_EMULATOR_CHECK", checks.list());
    let settings = [
        ("MEMORY", &options.memory),
        ("SEED", &options.seed),
        ("BUDGET", &options.budget),
        ("DRIVER_VERSION", &options.driver_version),
    ];
    for (name, value) in settings {
        if let Some(value) = value {
            command.env(format!("TINYLLM_EMULATOR_{name}"), value);
        }
    }
    if options.errors {
        command.env("TINYLLM_EMULATOR_ERRORS", "1");
    }
    let begun = Instant::now();
    let status = command.status().with_context(|| format!("starting {}", program.to_string_lossy()))?;

    let mut report = Report::read(&findings, suppressions)?;
    report.summarize(&checks, summary::Work::read(&work)?, begun.elapsed());
    report.write(format, options.output.as_deref())?;
    if options.gen_suppressions {
        print!("{}", report.as_suppressions());
    }
    eprintln!("{}", report.summary());
    Ok(ExitCode::from(if report.summary().findings() > 0 { 1 } else { code(status) }))
}

/// Prints the findings of tests, and counts those that are no mere notes.
pub(crate) fn print(findings: &Path, checks: &Checks, as_json: bool) -> anyhow::Result<usize> {
    let begun = Instant::now();
    let mut report = Report::read(findings, Suppressions::default())?;
    report.summarize(checks, summary::Work::default(), begun.elapsed());
    report.write(if as_json { Format::Lines } else { Format::Text }, None)?;
    let notes = report.summary().notes();
    match report.summary().findings() {
        count if notes == 0 => eprintln!("{count} findings"),
        count => eprintln!("{count} findings, {notes} notes"),
    }
    Ok(report.summary().findings())
}

/// Says which kernels of files of PTX would run.
fn would_load(files: &[PathBuf], as_json: bool) -> anyhow::Result<ExitCode> {
    let arguments = ["build", "--release", "--package", "tinyllm-emulator", "--example", "would_load"];
    let mut command = Command::new(cargo::executable(&arguments)?);
    let status =
        command.args(as_json.then_some("--json")).args(files).status().context("starting would_load")?;
    Ok(ExitCode::from(code(status)))
}

/// A program's exit status as a number.
fn code(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| SIGNALS + signal));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(1)
}
