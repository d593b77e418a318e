//! `cargo xtask foreign --sources DIR`: programs that no registry has, from checkouts in a folder;
//! `xtask/foreign/sources.json` says which, at what commit, with what in them made smaller, and what they print when
//! their own checks pass.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::{
    Workshop,
    emulated::{Emulated, WITHOUT_LEAKS},
    judged::Judgements,
};

const TABLE: &str = include_str!("../../foreign/sources.json");

/// Seconds after which a run counts as too slow.
const PATIENCE: &str = "300";

#[derive(Debug, Deserialize)]
struct Checkout {
    commit: String,
    include: Vec<PathBuf>,
    programs: Vec<Source>,
}

#[derive(Debug, Deserialize)]
struct Source {
    name: String,
    files: Vec<PathBuf>,
    /// Text in the files, and what stands there instead: sizes, so that a run takes seconds.
    replace: Vec<(String, String)>,
    /// What is printed when its own checks pass.
    expect: String,
    /// The arguments of each run.
    runs: Vec<Vec<String>>,
    /// Runs whose own check fails, by their arguments, and why that is the program's fault.
    #[serde(default)]
    wrong: BTreeMap<String, String>,
}

/// Builds and runs the programs of these names, all without any; whether all was as it should be.
pub(super) fn run(
    workshop: &Workshop,
    emulated: &Emulated,
    checkouts: &Path,
    names: &[String],
) -> anyhow::Result<bool> {
    let table: BTreeMap<String, Checkout> = serde_json::from_str(TABLE).context("sources.json")?;
    let judgements = Judgements::read()?;
    let mut passed = true;
    println!("| program | run | own check | findings | not judged |\n| --- | --- | --- | --- | --- |");
    for (repository, checkout) in &table {
        let root = checkouts.join(repository);
        ensure!(root.is_dir(), "{} is missing: {repository} at commit {}", root.display(), checkout.commit);
        for source in
            checkout.programs.iter().filter(|source| names.is_empty() || names.contains(&source.name))
        {
            let program = match source.build(workshop, repository, &root, &checkout.include) {
                Ok(program) => program,
                Err(error) => {
                    println!("| {repository} {} | | does not compile: {error} | | |", source.name);
                    passed = false;
                    continue;
                }
            };
            for arguments in &source.runs {
                passed &= source.run(emulated, &judgements, (repository, &program, arguments))?;
            }
        }
    }
    Ok(passed)
}

impl Source {
    /// Writes its files with what is replaced, and compiles them.
    fn build(
        &self,
        workshop: &Workshop,
        repository: &str,
        root: &Path,
        include: &[PathBuf],
    ) -> anyhow::Result<PathBuf> {
        let folder = workshop.folder.join("sources").join(repository).join(&self.name);
        fs::create_dir_all(&folder)?;
        let mut missing: Vec<&str> = self.replace.iter().map(|(from, _)| from.as_str()).collect();
        let mut includes: Vec<PathBuf> = include.iter().map(|path| root.join(path)).collect();
        let mut files = Vec::new();
        for file in &self.files {
            let original = root.join(file);
            let mut text = fs::read_to_string(&original).with_context(|| original.display().to_string())?;
            for (from, to) in &self.replace {
                if text.contains(from) {
                    text = text.replace(from, to);
                    missing.retain(|known| known != from);
                }
            }
            let copy = folder.join(file.file_name().context("a file has a name")?);
            fs::write(&copy, text)?;
            files.push(copy);
            includes.extend(original.parent().map(Path::to_owned));
        }
        ensure!(missing.is_empty(), "not in its files: {}", missing.join(", "));
        let program = folder.join("program");
        workshop.executable(&files, &program, &includes)?;
        Ok(program)
    }

    /// Runs it once, prints a row of the table, and gives whether it was as it should be.
    fn run(
        &self,
        emulated: &Emulated,
        judgements: &Judgements,
        (repository, program, arguments): (&str, &Path, &[String]),
    ) -> anyhow::Result<bool> {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE).arg(program).args(arguments).env("TINYLLM_EMULATOR_CHECK", WITHOUT_LEAKS);
        let run = emulated.run(&mut command)?;
        let right = run.succeeded && run.output.contains(&self.expect);
        let argument = arguments.join(" ");
        let excuse = self.wrong.get(&argument);
        let open: Vec<&Value> =
            run.findings.iter().filter(|finding| judgements.of(repository, finding).is_none()).collect();
        let check = match (right, excuse) {
            (true, _) => "passes".to_owned(),
            (false, Some(why)) => format!("fails, theirs: {why}"),
            (false, None) => "FAILS".to_owned(),
        };
        let (name, findings) = (&self.name, run.findings.len());
        println!("| {repository} {name} | {argument} | {check} | {findings} | {} |", open.len());
        if !right && excuse.is_none() {
            let last: Vec<&str> = run.output.lines().rev().take(3).collect();
            println!("{name} {argument}: {} {}", last.join(" / "), run.errors);
        }
        for finding in &open {
            println!("{name} {argument}: NOT JUDGED: {}", finding["text"].as_str().unwrap_or_default());
        }
        Ok((right || excuse.is_some()) && open.is_empty())
    }
}
