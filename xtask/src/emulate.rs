//! `cargo xtask emulate -- PROGRAM`: an unmodified program on the emulated driver, which is copied under the driver's names into a
//! directory that comes first in the library search path, with the CUDA runtime beside it.

use std::{
    env, fs,
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::{Path, PathBuf},
    process::{Command, ExitCode, ExitStatus},
};

use anyhow::{Context, bail, ensure};
use serde_json::Value;

use crate::{cargo, flags::Emulate};

/// A library: its package, what cargo calls it, and the name under which programs look for it.
struct Library {
    package: &'static str,
    file: &'static str,
    soname: &'static str,
}

/// The driver, and the runtime in its versions.
const DRIVER: Library =
    Library { package: "tinyllm-emulator-cabi", file: "libtinyllm_emulator_cuda.so", soname: "libcuda.so.1" };
const LIBRARIES: [Library; 3] = [
    DRIVER,
    Library {
        package: "tinyllm-emulator-cudart-v12",
        file: "libtinyllm_emulator_cudart_v12.so",
        soname: "libcudart.so.12",
    },
    Library {
        package: "tinyllm-emulator-cudart-v13",
        file: "libtinyllm_emulator_cudart_v13.so",
        soname: "libcudart.so.13",
    },
];

/// The driver's name that linkers follow.
const LINK: &str = "libcuda.so";

/// Added to a signal's number, the status of a program that it ended, as in shells.
const SIGNALS: i32 = 128;

pub(crate) fn run(options: &Emulate) -> anyhow::Result<ExitCode> {
    if !options.would_load.is_empty() {
        ensure!(options.program.is_none(), "--would-load runs nothing: leave the program out");
        return would_load(&options.would_load, options.json);
    }
    let program = options.program.as_ref().context("a program is needed, or --would-load with a file")?;
    let directory = libraries()?;
    let report = directory.path().join("findings.jsonl");

    let mut command = Command::new(program);
    command.args(&options.args).env("LD_LIBRARY_PATH", search_path(directory.path())?);
    command.env("TINYLLM_EMULATOR_REPORT", &report);
    let settings = [
        ("MEMORY", &options.memory),
        ("SEED", &options.seed),
        ("CHECK", &options.only),
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
    let status = command.status().with_context(|| format!("starting {}", program.to_string_lossy()))?;

    let found = print(&report, options.json)?;
    Ok(ExitCode::from(if found > 0 { 1 } else { code(status) }))
}

/// Says which kernels of files of PTX would run.
fn would_load(files: &[PathBuf], as_json: bool) -> anyhow::Result<ExitCode> {
    let arguments = ["build", "--release", "--package", "tinyllm-emulator", "--example", "would_load"];
    let mut command = Command::new(cargo::executable(&arguments)?);
    let status =
        command.args(as_json.then_some("--json")).args(files).status().context("starting would_load")?;
    Ok(ExitCode::from(code(status)))
}

/// Builds the libraries, and puts them under the names that programs look for into a directory of their own.
pub(crate) fn libraries() -> anyhow::Result<tempfile::TempDir> {
    ensure!(cfg!(target_os = "linux"), "only programs on Linux look for {}", DRIVER.soname);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the workspace's root")?;
    let directory = tempfile::Builder::new().prefix("tinyllm-emulate-").tempdir()?;
    let built = build(root)?;
    for library in &LIBRARIES {
        let file = built.iter().find(|path| path.ends_with(library.file));
        let file = file.with_context(|| format!("cargo built no {}", library.file))?;
        fs::copy(file, directory.path().join(library.soname))
            .with_context(|| format!("copying {}", library.file))?;
    }
    symlink(DRIVER.soname, directory.path().join(LINK))?;
    Ok(directory)
}

/// Builds the libraries: every file that cargo made.
fn build(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let manifest = root.join("Cargo.toml");
    let manifest = manifest.to_str().context("the workspace's path")?;
    let packages = LIBRARIES.iter().flat_map(|library| ["--package", library.package]);
    let arguments: Vec<&str> =
        ["build", "--release", "--manifest-path", manifest].into_iter().chain(packages).collect();
    cargo::files(&arguments)
}

/// The library search path with the directory in front.
fn search_path(directory: &Path) -> anyhow::Result<std::ffi::OsString> {
    let before = env::var_os("LD_LIBRARY_PATH").filter(|path| !path.is_empty());
    let before = before.iter().flat_map(env::split_paths);
    Ok(env::join_paths([directory.to_path_buf()].into_iter().chain(before))?)
}

/// Prints the findings, and counts those that are no mere notes.
pub(crate) fn print(report: &Path, as_json: bool) -> anyhow::Result<usize> {
    // Without findings there is no file.
    let Ok(report) = fs::read_to_string(report) else { return Ok(0) };
    let mut count = 0;
    for line in report.lines() {
        let finding: Value = serde_json::from_str(line).context("a line of the emulator's report")?;
        count += usize::from(finding.get("is_note").and_then(Value::as_bool) != Some(true));
        if as_json {
            println!("{line}");
            continue;
        }
        let Some(text) = finding.get("text").and_then(Value::as_str) else {
            bail!("a line of the emulator's report has no text: {line}");
        };
        println!("{}", text.split('\n').map(str::trim).collect::<Vec<_>>().join(", "));
    }
    match report.lines().count() - count {
        0 => eprintln!("{count} findings"),
        notes => eprintln!("{count} findings, {notes} notes"),
    }
    Ok(count)
}

/// A program's exit status as a number.
fn code(status: ExitStatus) -> u8 {
    let number = status.code().or_else(|| status.signal().map(|signal| SIGNALS + signal));
    number.and_then(|number| u8::try_from(number).ok()).unwrap_or(1)
}
