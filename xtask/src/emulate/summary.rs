//! What a run came to: findings by check, and what the kernels did.

use std::{fmt, path::Path, time::Duration};

use anyhow::Context;
use serde_json::{Value, json};

use super::finding::Finding;

/// The findings of one check.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) check: String,
    pub(super) findings: usize,
    pub(super) notes: usize,
    pub(super) suppressed: usize,
}

/// What all processes of the program had kernels do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) launches: u64,
    pub(super) thread_instructions: u64,
}

#[derive(Debug, Default)]
pub(super) struct Summary {
    /// One for each check that ran.
    pub(super) counts: Vec<Count>,
    pub(super) work: Work,
    pub(super) time: Duration,
    pub(super) unused_suppressions: Vec<String>,
}

impl Work {
    /// The sum of a file's lines, one of each process that used the driver; nothing without the file.
    pub(super) fn read(file: &Path) -> anyhow::Result<Self> {
        let Ok(text) = std::fs::read_to_string(file) else { return Ok(Work::default()) };
        let mut work = Work::default();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).context("a line of the emulator's summary")?;
            let number = |name| value.get(name).and_then(Value::as_u64).unwrap_or(0);
            work.launches += number("launches");
            work.thread_instructions += number("thread_instructions");
        }
        Ok(work)
    }
}

impl Summary {
    /// Counts what was reported and what was suppressed, for each check that ran.
    pub(super) fn count(checks: &[&str], reported: &[Finding], suppressed: &[Finding]) -> Vec<Count> {
        let of = |findings: &[Finding], check: &str, is_note: Option<bool>| {
            let fits = |finding: &&Finding| {
                finding.check == check && is_note.is_none_or(|is_note| finding.is_note == is_note)
            };
            findings.iter().filter(fits).count()
        };
        let count = |check: &&str| Count {
            check: (*check).to_owned(),
            findings: of(reported, check, Some(false)),
            notes: of(reported, check, Some(true)),
            suppressed: of(suppressed, check, None),
        };
        let found = reported.iter().chain(suppressed).map(|finding| finding.check.as_str());
        let mut names = checks.to_vec();
        // None is left out, whatever the emulator calls its check.
        found.for_each(|name| {
            if !names.contains(&name) {
                names.push(name)
            }
        });
        names.iter().map(count).collect()
    }

    pub(super) fn findings(&self) -> usize {
        self.counts.iter().map(|count| count.findings).sum()
    }

    pub(super) fn notes(&self) -> usize {
        self.counts.iter().map(|count| count.notes).sum()
    }

    pub(super) fn to_json(&self) -> Value {
        let of = |count: &Count| {
            let Count { check, findings, notes, suppressed } = count;
            let value = json!({ "findings": findings, "notes": notes, "suppressed": suppressed });
            (check.clone(), value)
        };
        json!({ "summary": {
            "checks": self.counts.iter().map(of).collect::<serde_json::Map<_, _>>(),
            "launches": self.work.launches,
            "thread_instructions": self.work.thread_instructions,
            "seconds": self.time.as_secs_f64(),
            "unused_suppressions": self.unused_suppressions,
        } })
    }
}

/// `1 finding`, `2 findings`.
fn number(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for count in &self.counts {
            write!(formatter, "{}: {}", count.check, number(count.findings, "finding"))?;
            if count.notes > 0 {
                write!(formatter, ", {}", number(count.notes, "note"))?;
            }
            if count.suppressed > 0 {
                write!(formatter, ", {} suppressed", count.suppressed)?;
            }
            writeln!(formatter)?;
        }
        for title in &self.unused_suppressions {
            writeln!(formatter, "{title} suppressed nothing")?;
        }
        let Work { launches, thread_instructions } = self.work;
        let seconds = self.time.as_secs_f64();
        write!(
            formatter,
            "{} in {launches} launches of {thread_instructions} thread instructions, {seconds:.1} s",
            number(self.findings(), "finding")
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test ends where it fails
    use super::{
        super::finding::tests::{LEAK, NOTE, RACE, parsed},
        *,
    };

    fn summary() -> Summary {
        let counts = Summary::count(
            &["memcheck", "racecheck", "leak"],
            &parsed(&[RACE, NOTE, NOTE]),
            &parsed(&[LEAK, RACE]),
        );
        Summary {
            counts,
            work: Work { launches: 3, thread_instructions: 4096 },
            time: Duration::from_millis(1500),
            unused_suppressions: vec!["known.txt:3: [memory]".into()],
        }
    }

    #[test]
    fn each_check_is_counted() {
        assert_eq!(
            summary().to_string(),
            "memcheck: 0 findings\n\
             racecheck: 1 finding, 2 notes, 1 suppressed\n\
             leak: 0 findings, 1 suppressed\n\
             known.txt:3: [memory] suppressed nothing\n\
             1 finding in 3 launches of 4096 thread instructions, 1.5 s"
        );
        let json = summary().to_json();
        let at = |path: &str| json.pointer(path).unwrap().clone();
        assert_eq!(at("/summary/checks/racecheck"), json!({ "findings": 1, "notes": 2, "suppressed": 1 }));
        assert_eq!(at("/summary/launches"), 3);
        assert_eq!(at("/summary/seconds"), 1.5);
        assert_eq!(at("/summary/unused_suppressions/0"), "known.txt:3: [memory]");
    }

    #[test]
    fn processes_are_added() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("summary");
        assert_eq!(Work::read(&file).unwrap(), Work::default());
        let line = |launches| format!("{{\"launches\":{launches},\"thread_instructions\":10}}\n");
        std::fs::write(&file, line(1) + &line(2)).unwrap();
        assert_eq!(Work::read(&file).unwrap(), Work { launches: 3, thread_instructions: 20 });
        std::fs::write(&file, "no JSON").unwrap();
        assert!(Work::read(&file).is_err());
    }
}
