//! What the checks found in a run, less what is suppressed, in the form that is asked for.

use std::{env, fs, io::Write, path::Path, time::Duration};

use anyhow::{Context, bail};

use super::{
    checks::Checks,
    finding::Finding,
    github, sarif,
    summary::{Summary, Work},
    suppressions::{self, Suppressions},
};

/// How findings are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A finding a line, for people.
    Text,
    /// A finding a line, as JSON.
    Lines,
    /// As lines, and the summary as the last one.
    Json,
    /// Annotations of GitHub Actions.
    Github,
    /// One SARIF log.
    Sarif,
}

impl Format {
    pub(super) fn parse(format: Option<&str>, json: bool) -> anyhow::Result<Self> {
        Ok(match format {
            None if json => Format::Json,
            None | Some("text") => Format::Text,
            Some("json") => Format::Json,
            Some("github") => Format::Github,
            Some("sarif") => Format::Sarif,
            Some(other) => bail!("--format {other}: the formats are text, json, github and sarif"),
        })
    }
}

#[derive(Debug)]
pub(super) struct Report {
    reported: Vec<Finding>,
    suppressed: Vec<Finding>,
    suppressions: Suppressions,
    summary: Summary,
}

impl Report {
    /// The findings of a file, which is not there where there are none.
    pub(super) fn read(file: &Path, mut suppressions: Suppressions) -> anyhow::Result<Self> {
        let text = if file.exists() {
            fs::read_to_string(file).context("the emulator's report")?
        } else {
            String::new()
        };
        let (mut reported, mut suppressed) = (Vec::new(), Vec::new());
        for line in text.lines() {
            let finding = Finding::parse(line)?;
            let list = if suppressions.take(&finding) { &mut suppressed } else { &mut reported };
            list.push(finding);
        }
        Ok(Report { reported, suppressed, suppressions, summary: Summary::default() })
    }

    /// Counts, for the checks that ran.
    pub(super) fn summarize(&mut self, checks: &Checks, work: Work, time: Duration) {
        let checks: Vec<&str> = checks.iter().collect();
        self.summary = Summary {
            counts: Summary::count(&checks, &self.reported, &self.suppressed),
            work,
            time,
            unused_suppressions: self.suppressions.unused().map(|entry| entry.title.clone()).collect(),
        };
    }

    pub(super) fn summary(&self) -> &Summary {
        &self.summary
    }

    /// Entries of a file of suppressions for what was reported, each once.
    pub(super) fn as_suppressions(&self) -> String {
        let mut entries: Vec<String> = self.reported.iter().map(suppressions::entry_for).collect();
        entries.sort();
        entries.dedup();
        entries.join("\n")
    }

    fn text(&self, format: Format, root: &str) -> anyhow::Result<String> {
        let mut lines: Vec<String> = match format {
            Format::Text => self.reported.iter().map(|finding| finding.text.clone()).collect(),
            Format::Lines | Format::Json => {
                self.reported.iter().map(|finding| finding.line.clone()).collect()
            }
            Format::Github => self.reported.iter().map(|finding| github::annotation(finding, root)).collect(),
            Format::Sarif => {
                vec![serde_json::to_string_pretty(&sarif::log(&self.reported, &self.suppressed, root))?]
            }
        };
        if format == Format::Json {
            lines.push(self.summary.to_json().to_string());
        }
        Ok(lines.into_iter().map(|line| line + "\n").collect())
    }

    /// Writes the findings to a file, or to standard output.
    pub(super) fn write(&self, format: Format, file: Option<&Path>) -> anyhow::Result<()> {
        // GitHub's runners say where the repository is; elsewhere it is where the command runs.
        let root = env::var_os("GITHUB_WORKSPACE").map_or_else(env::current_dir, |path| Ok(path.into()))?;
        let text = self.text(format, &root.to_string_lossy())?;
        match file {
            Some(file) => fs::write(file, text)
                .with_context(|| format!("--output {}: it cannot be written", file.display())),
            None => Ok(std::io::stdout().write_all(text.as_bytes())?),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test ends where it fails
    use serde_json::Value;

    use super::{
        super::{
            checks::{ALL, names},
            finding::tests::{LEAK, NOTE, RACE},
        },
        *,
    };

    /// A report of three findings, one of them suppressed.
    fn report() -> Report {
        let folder = tempfile::tempdir().unwrap();
        let (findings, known) = (folder.path().join("findings"), folder.path().join("known"));
        let lines: Vec<String> = [RACE, LEAK, NOTE].iter().map(|line| line.replace('\n', " ")).collect();
        fs::write(&findings, lines.join("\n")).unwrap();
        fs::write(&known, "[leaks]\ncheck = leak\n[none]\nkernel = none").unwrap();
        let mut report = Report::read(&findings, Suppressions::read(&[known], &names()).unwrap()).unwrap();
        report.summarize(&Checks::parse(None, ALL).unwrap(), Work::default(), Duration::from_secs(1));
        report
    }

    #[test]
    fn suppressed_findings_change_no_status() {
        let report = report();
        assert_eq!((report.summary().findings(), report.summary().notes()), (1, 1));
        assert_eq!(report.summary().unused_suppressions.len(), 1);
        assert_eq!(report.text(Format::Text, "").unwrap().lines().count(), 2);
        assert!(!report.as_suppressions().contains("check = leak"));
    }

    #[test]
    fn json_ends_with_the_summary() {
        let text = report().text(Format::Json, "").unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[2].pointer("/summary/checks/leak/suppressed").unwrap(), 1);
        assert_eq!(lines[0].get("check").unwrap(), "racecheck");
        assert_eq!(report().text(Format::Lines, "").unwrap().lines().count(), 2);
    }

    #[test]
    fn a_run_without_findings_has_no_file() {
        let report = Report::read(Path::new("does/not/exist"), Suppressions::default()).unwrap();
        assert_eq!(report.text(Format::Text, "").unwrap(), "");
        assert_eq!(report.text(Format::Github, "").unwrap(), "");
    }

    #[test]
    fn formats_are_named() {
        assert_eq!(Format::parse(None, false).unwrap(), Format::Text);
        assert_eq!(Format::parse(None, true).unwrap(), Format::Json);
        assert_eq!(Format::parse(Some("sarif"), true).unwrap(), Format::Sarif);
        let error = Format::parse(Some("xml"), false).unwrap_err().to_string();
        assert_eq!(error, "--format xml: the formats are text, json, github and sarif");
    }
}
