//! `cargo xtask foreign --planted`: each fault of `xtask/foreign/planted.py` is planted, run, and has to be found, at
//! the line that was edited or beside it; the same kernels unedited have to be quiet.

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::{
    Workshop,
    emulated::{Emulated, Run},
    judged::{self, Judgements},
    programs::PROGRAMS,
};

/// Seconds after which a run counts as one that does not end.
const PATIENCE: &str = "120";

/// Instructions of warps that a launch may take: a loop without an end is stopped; the kernels as they are need a
/// hundredth.
const BUDGET: &str = "20000000";

/// A fault, as the script lists it.
struct Fault {
    what: String,
    program: String,
    case: String,
    kinds: Vec<String>,
}

/// What came of it.
struct Verdict {
    fault: Fault,
    /// The findings that name it, the first as text.
    named: usize,
    first: Option<String>,
    /// All of them.
    findings: usize,
    /// Findings of the unedited kernel that nobody judged.
    control: usize,
}

impl Verdict {
    fn passed(&self) -> bool {
        self.named > 0 && self.control == 0
    }
}

pub(super) fn run(workshop: &Workshop, emulated: &Emulated, as_json: bool) -> anyhow::Result<bool> {
    let judgements = Judgements::read()?;
    let mut folders = BTreeMap::new();
    let mut controls: BTreeMap<(String, String), Vec<Value>> = BTreeMap::new();
    let mut verdicts = Vec::new();
    for fault in list(workshop, emulated)? {
        let program = fault.program.clone();
        if !folders.contains_key(&program) {
            let known = PROGRAMS.iter().find(|known| known.name == program).context("a program of ours")?;
            folders.insert(program.clone(), known.modules(workshop)?);
        }
        let folder = &folders[&program];
        let key = (program.clone(), fault.case.clone());
        if !controls.contains_key(&key) {
            let control =
                script(workshop, emulated, &["run", &format!("control:{}", fault.what)], Some(folder))?;
            controls.insert(key.clone(), control.findings);
        }
        let control = &controls[&key];
        let planted = script(workshop, emulated, &["run", &fault.what], Some(folder))?;
        let lines = planted.lines.iter().filter_map(|line| line["lines"].as_array()).flatten();
        let lines: Vec<u64> = lines.filter_map(Value::as_u64).collect();
        // What is found without the fault too does not name it.
        let new = |finding: &&Value| !control.iter().any(|known| is_same(known, finding));
        let named: Vec<&Value> = planted.findings.iter().filter(new).collect();
        let named: Vec<&Value> =
            named.into_iter().filter(|finding| names(finding, &fault.kinds, &lines)).collect();
        verdicts.push(Verdict {
            named: named.len(),
            first: named.first().and_then(|finding| headline(finding)),
            findings: planted.findings.len(),
            control: control.iter().filter(|finding| judgements.of(&program, finding).is_none()).count(),
            fault,
        });
    }
    print(&verdicts, as_json);
    Ok(verdicts.iter().all(Verdict::passed))
}

/// Whether two findings are of one kind and name the same instructions: an edit moves no line.
fn is_same(one: &Value, other: &Value) -> bool {
    let lines = |finding: &Value| -> Vec<Option<u64>> {
        judged::sites(finding).map(|site| site["ptx_line"].as_u64()).collect()
    };
    one["kind"] == other["kind"] && lines(one) == lines(other)
}

/// Whether a finding is of one of the kinds, and names one of the lines, or no line where there are none.
fn names(finding: &Value, kinds: &[String], lines: &[u64]) -> bool {
    let kind = finding["kind"].as_str().unwrap_or_default();
    // A kernel that never ends has its threads' lines in the note.
    let note = finding["note"].as_str().unwrap_or_default().split("PTX line ").skip(1);
    let told = note.filter_map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    let mut at = judged::sites(finding).filter_map(|site| site["ptx_line"].as_u64()).chain(told);
    // What the host does between two calls is at no line.
    let is_there = if lines.is_empty() { at.next().is_none() } else { at.any(|line| lines.contains(&line)) };
    kinds.iter().any(|wanted| wanted == kind) && is_there
}

/// The kind, and the instruction, or what is known where there is none.
fn headline(finding: &Value) -> Option<String> {
    let (kind, site) = (finding["kind"].as_str()?, &finding["site"]);
    if site.is_null() {
        let place = &finding["place"];
        let (name, offset) = (place["name"].as_str()?, place["offset"].as_u64()?);
        return Some(format!("{}, byte {offset} of {name}", kind.replace('_', " ")));
    }
    let (line, instruction) = (site["ptx_line"].as_u64()?, site["instruction"].as_str()?);
    Some(format!("{}, line {line}: `{instruction}`", kind.replace('_', " ")))
}

fn list(workshop: &Workshop, emulated: &Emulated) -> anyhow::Result<Vec<Fault>> {
    let lines = script(workshop, emulated, &["list"], None)?.lines;
    let fault = |line: &Value| {
        let text = |key: &str| line[key].as_str().map(str::to_owned);
        let kinds = line["kinds"].as_array()?.iter().filter_map(Value::as_str).map(str::to_owned).collect();
        Some(Fault { what: text("what")?, program: text("program")?, case: text("case")?, kinds })
    };
    lines.iter().map(|line| fault(line).context("a line of planted.py list")).collect()
}

fn script(
    workshop: &Workshop,
    emulated: &Emulated,
    arguments: &[&str],
    folder: Option<&PathBuf>,
) -> anyhow::Result<Run> {
    let mut command = Command::new("timeout");
    command.arg(PATIENCE).arg(&workshop.environment.python).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("TINYLLM_EMULATOR_BUDGET", BUDGET);
    command.arg(workshop.ours.join("planted.py")).args(arguments).args(folder);
    let run = emulated.run(&mut command)?;
    // A fault may end in any way, and one that was not planted has no line.
    ensure!(!run.lines.is_empty(), "{}: {}", arguments.join(" "), run.errors);
    Ok(run)
}

fn print(verdicts: &[Verdict], as_json: bool) {
    if as_json {
        for Verdict { fault, named, first, findings, control } in verdicts {
            let (what, program) = (&fault.what, &fault.program);
            println!(
                "{}",
                json!({ "fault": what, "program": program, "named": named, "first": first, "findings": findings, "control": control })
            );
        }
        return;
    }
    println!("| fault | found as | findings | unedited |\n| --- | --- | --- | --- |");
    for verdict in verdicts {
        let Verdict { fault, named, first, findings, control } = verdict;
        let first = first.as_deref().unwrap_or("MISSED");
        let control = if *control == 0 { "quiet".to_owned() } else { format!("{control} NOT JUDGED") };
        println!("| {} | {first} | {findings}, {named} name it | {control} |", fault.what);
    }
    let passed = verdicts.iter().filter(|verdict| verdict.passed()).count();
    println!("{passed} of {} found, with a quiet control", verdicts.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_the_same_by_kind_and_lines() {
        let site = |line: u32| json!({ "ptx_line": line });
        let race = |one, other| json!({ "kind": "shared_race", "site": site(one), "other": { "site": site(other) } });
        assert!(is_same(&race(4, 9), &race(4, 9)));
        assert!(!is_same(&race(4, 9), &race(4, 8)));
        assert!(!is_same(
            &race(4, 9),
            &json!({ "kind": "global_race", "site": site(4), "other": { "site": site(9) } })
        ));
    }

    #[test]
    fn a_finding_names_a_fault_by_kind_and_by_either_of_its_lines() {
        let site = |line: u32| json!({ "ptx_line": line });
        let race = json!({ "kind": "shared_race", "site": site(4), "other": { "site": site(9) } });
        let kinds = ["shared_race".to_owned()];
        assert!(names(&race, &kinds, &[4]));
        assert!(names(&race, &kinds, &[8, 9]));
        assert!(!names(&race, &kinds, &[5]));
        assert!(!names(&race, &["leak".to_owned()], &[4]));
        let note = "3 threads wait at PTX line 12 (a.cu:4); 1 thread reads again and again at PTX line 20";
        let endless = json!({ "kind": "endless", "site": site(12), "note": note });
        assert!(names(&endless, &["endless".to_owned()], &[20]));
        assert!(!names(&endless, &["endless".to_owned()], &[4, 2]));
        let changed = json!({ "kind": "source_changed", "site": null, "note": "the host changed it" });
        assert!(names(&changed, &["source_changed".to_owned()], &[]));
        assert!(!names(&changed, &["source_changed".to_owned()], &[4]));
        assert!(!names(&race, &kinds, &[]));
    }
}
