//! `cargo xtask foreign`: GPU programs that nobody here wrote, fetched from package registries, compiled, and run on
//! the emulated driver; their results are compared with references on the host, and each finding has to be judged.
//! Nothing of theirs is committed. `--planted` plants faults in their kernels, each of which has to be found where it
//! is.

mod compile;
mod emulated;
mod fetch;
mod judged;
mod planted;
mod programs;
mod sources;
mod table;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use xshell::Shell;

use self::{emulated::Emulated, judged::Judgements, table::Row};
use crate::{
    flags,
    python::{self, Environment},
};

/// Compilers and programs from PyPI.
const REQUIREMENTS: &str = include_str!("../../foreign/requirements.txt");

/// What every part needs.
struct Workshop {
    shell: Shell,
    environment: Environment,
    /// Scripts, headers and tables of ours: `xtask/foreign`.
    ours: PathBuf,
    /// What was fetched and made.
    folder: PathBuf,
}

impl Workshop {
    fn open(keep: Option<&Path>) -> anyhow::Result<Self> {
        let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = xtask.parent().context("the workspace's root")?;
        let shell = Shell::new()?;
        let environment = Environment::install(&shell, root, "foreign-toolchain", REQUIREMENTS)?;
        let folder = match keep {
            Some(folder) => std::path::absolute(folder)?,
            None => python::target(root)?.join("foreign"),
        };
        std::fs::create_dir_all(&folder)?;
        Ok(Workshop { shell, environment, ours: xtask.join("foreign"), folder })
    }
}

pub(crate) fn run(options: &flags::Foreign) -> anyhow::Result<ExitCode> {
    let workshop = Workshop::open(options.keep.as_deref())?;
    let emulated = Emulated::new(&workshop.toolkit())?;
    let passed = if options.planted {
        planted::run(&workshop, &emulated, options.json)?
    } else if let Some(checkouts) = &options.sources {
        sources::run(&workshop, &emulated, checkouts, &options.names)?
    } else {
        fetched(&workshop, &emulated, options)?
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs the programs from registries, and gives whether everything loaded, was right, and was judged.
fn fetched(workshop: &Workshop, emulated: &Emulated, options: &flags::Foreign) -> anyhow::Result<bool> {
    let judgements = Judgements::read()?;
    let mut rows = Vec::new();
    for program in programs::chosen(&options.names)? {
        let run = program.run(workshop, emulated).with_context(|| program.name.to_owned())?;
        rows.push(Row::new(program, run, &judgements));
    }
    table::print(&rows, options.json);
    Ok(rows.iter().all(Row::passed))
}
