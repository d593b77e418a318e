//! Exact counters of the kernels, kept in `bench/counters.json`: what the emulator counts in launches of known shapes, and what
//! follows from `ptx/RESOURCES.md`. The test counts them again and refuses a file that differs;
//! `TINYLLM_UPDATE=1 cargo test -p tinyllm-kernels --test gpu counters` writes it anew.
//!
//! A family of kernels adds its counters in a module of its own, named in [`FAMILIES`].

mod matmul;
mod resources;

use std::{fmt::Write, fs, path::PathBuf};

/// What a counter has to be. The file says whether it is.
#[derive(Clone, Copy, Debug)]
enum Bar {
    AtMost(f64),
    AtLeast(f64),
    /// Recorded only.
    None,
}

/// A ratio of exact numbers.
#[derive(Clone, Debug)]
struct Counter {
    kernel: &'static str,
    /// What is counted, with its unit.
    measure: &'static str,
    /// The shape.
    case: String,
    count: u64,
    of: u64,
    bar: Bar,
}

impl Counter {
    /// What tells it from the others: the beginning of its line.
    fn key(&self) -> String {
        format!(r#"{{"kernel": "{}", "measure": "{}", "case": "{}", "#, self.kernel, self.measure, self.case)
    }

    /// Its line in the file.
    fn line(&self) -> String {
        let value = self.count as f64 / self.of as f64;
        let mut line = self.key();
        write!(line, r#""count": {}, "of": {}, "value": {value:.4}"#, self.count, self.of).unwrap();
        match self.bar {
            Bar::AtMost(bar) => write!(line, r#", "at_most": {bar}, "met": {}"#, value <= bar).unwrap(),
            Bar::AtLeast(bar) => write!(line, r#", "at_least": {bar}, "met": {}"#, value >= bar).unwrap(),
            Bar::None => {}
        }
        line + "}"
    }
}

/// A family of kernels, and what counts them.
struct Family {
    name: &'static str,
    count: fn() -> Vec<Counter>,
}

const FAMILIES: [Family; 1] = [Family { name: "matmul", count: matmul::counters }];

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../bench/counters.json")
}

fn written(families: &[(&str, Vec<Counter>)]) -> String {
    let family = |(name, counters): &(&str, Vec<Counter>)| {
        let lines: Vec<String> = counters.iter().map(|counter| format!("    {}", counter.line())).collect();
        format!("  \"{name}\": [\n{}\n  ]", lines.join(",\n"))
    };
    let families: Vec<String> = families.iter().map(family).collect();
    format!("{{\n{}\n}}\n", families.join(",\n"))
}

/// Both values of every counter that differs, or is in one of them only.
fn differences(file: &str, counters: &[Counter]) -> Vec<String> {
    let lines: Vec<&str> = file.lines().map(|line| line.trim().trim_end_matches(',')).collect();
    let mut problems = Vec::new();
    for counter in counters {
        let (key, line) = (counter.key(), counter.line());
        match lines.iter().find(|found| found.starts_with(&key)) {
            Some(found) if *found == line => {}
            Some(found) => problems.push(format!("the file has {found}\n      counted {line}")),
            None => problems.push(format!("the file has nothing\n      counted {line}")),
        }
    }
    for found in lines.iter().filter(|line| line.starts_with(r#"{"kernel""#)) {
        if !counters.iter().any(|counter| found.starts_with(&counter.key())) {
            problems.push(format!("the file has {found}\n      counted nothing"));
        }
    }
    problems
}

#[test]
fn counters_are_those_of_the_file() {
    let families: Vec<(&str, Vec<Counter>)> =
        FAMILIES.iter().map(|family| (family.name, (family.count)())).collect();
    if std::env::var_os("TINYLLM_UPDATE").is_some() {
        fs::write(path(), written(&families)).unwrap();
    }
    let file = fs::read_to_string(path()).unwrap_or_default();
    let counters: Vec<Counter> = families.into_iter().flat_map(|(_, counters)| counters).collect();
    let problems = differences(&file, &counters);
    assert!(
        problems.is_empty(),
        "bench/counters.json: {} counters differ; TINYLLM_UPDATE=1 writes them anew\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn a_counter_that_differs_is_named_with_both_values() {
    let counter =
        |count| Counter { kernel: "k", measure: "m", case: "c".into(), count, of: 4, bar: Bar::AtMost(1.0) };
    let file = written(&[("family", vec![counter(3)])]);
    assert!(file.contains(r#""count": 3, "of": 4, "value": 0.7500, "at_most": 1, "met": true}"#), "{file}");
    assert!(serde_json::from_str::<serde_json::Value>(&file).is_ok());
    assert!(differences(&file, &[counter(3)]).is_empty());
    let problems = differences(&file, &[counter(5)]);
    assert!(
        problems.len() == 1 && problems[0].contains("\"count\": 3") && problems[0].contains("\"count\": 5")
    );
    assert_eq!(differences(&file, &[]).len(), 1);
    assert_eq!(differences("", &[counter(3)]).len(), 1);
}
