//! What came of each program, as a table or as lines of JSON.

use serde_json::{Value, json};

use super::{
    emulated::Run,
    judged::{Judgement, Judgements},
    programs::Program,
};

/// A program, and what came of it.
pub(super) struct Row {
    program: &'static Program,
    modules: Vec<Value>,
    cases: Vec<Value>,
    findings: Vec<(Value, Option<String>)>,
}

impl Row {
    pub(super) fn new(program: &'static Program, run: Run, judgements: &Judgements) -> Self {
        let (modules, cases) = run.lines.into_iter().partition(|line: &Value| line["module"].is_string());
        let judged = |finding: Value| {
            let judgement = judgements.of(program.name, &finding).map(Judgement::text);
            (finding, judgement)
        };
        Row { program, modules, cases, findings: run.findings.into_iter().map(judged).collect() }
    }

    /// Whether all of it loaded, was right, and was judged.
    pub(super) fn passed(&self) -> bool {
        let right = self.cases.iter().all(|case| case["right"] == true);
        let ran = !self.cases.is_empty();
        ran && self.refused().is_empty()
            && right
            && self.findings.iter().all(|(_, judgement)| judgement.is_some())
    }

    /// Modules and kernels that do not load, with why.
    fn refused(&self) -> Vec<String> {
        let refused = self.modules.iter().flat_map(|module| {
            let name = module["module"].as_str().unwrap_or_default();
            let kernels = module["refused"].as_array().into_iter().flatten();
            let whole = (module["loads"] != true).then(|| format!("{name}: {}", module["why"]));
            whole.into_iter().chain(kernels.map(move |kernel| format!("{name}: {kernel}")))
        });
        refused.collect()
    }

    fn loads(&self) -> String {
        let loaded = self.modules.iter().filter(|module| module["loads"] == true).count();
        let kernels: u64 = self.modules.iter().filter_map(|module| module["kernels"].as_u64()).sum();
        match self.modules.len() {
            0 => "yes".into(),
            all => format!("{loaded} of {all} files, {kernels} kernels"),
        }
    }

    fn rights(&self) -> String {
        let right = self.cases.iter().filter(|case| case["right"] == true).count();
        format!("{right} of {}", self.cases.len())
    }

    fn json(&self) -> Value {
        let findings: Vec<Value> = self
            .findings
            .iter()
            .map(|(finding, judgement)| json!({ "finding": finding, "judgement": judgement }))
            .collect();
        json!({
            "program": self.program.name, "version": self.program.version, "modules": self.modules, "cases": self.cases,
            "findings": findings, "passed": self.passed(),
        })
    }
}

pub(super) fn print(rows: &[Row], as_json: bool) {
    if as_json {
        rows.iter().for_each(|row| println!("{}", row.json()));
        return;
    }
    println!("| program | loads | results right | findings | not judged |\n| --- | --- | --- | --- | --- |");
    for row in rows {
        let open = row.findings.iter().filter(|(_, judgement)| judgement.is_none()).count();
        let (loads, rights) = (row.loads(), row.rights());
        println!("| {} | {loads} | {rights} | {} | {open} |", row.program.version, row.findings.len());
    }
    for row in rows {
        for refused in row.refused() {
            println!("{}: refused: {refused}", row.program.name);
        }
        for case in row.cases.iter().filter(|case| case["right"] != true) {
            println!("{}: wrong: {case}", row.program.name);
        }
        let mut told = Vec::new();
        for (finding, judgement) in &row.findings {
            let text = finding["text"].as_str().unwrap_or_default();
            match judgement {
                None => println!("{}: NOT JUDGED: {text}", row.program.name),
                Some(judgement) if !told.contains(&judgement) => {
                    println!("{}: judged: {judgement}", row.program.name);
                    told.push(judgement);
                }
                Some(_) => {}
            }
        }
    }
}
