//! A line of the emulator's report.

use anyhow::Context;
use serde_json::Value;

/// A place in a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Site {
    /// The kernel's names: as its source has it, and as PTX does.
    pub(super) kernels: Vec<String>,
    /// Files and lines of the CUDA source, where the PTX says them: the innermost, and where the functions are called that it is in.
    pub(super) sources: Vec<(String, u64)>,
}

/// What a check found.
#[derive(Clone, Debug)]
pub(super) struct Finding {
    /// The line as it was read.
    pub(super) line: String,
    pub(super) check: String,
    /// What kind it is, such as `shared_race`.
    pub(super) kind: String,
    /// In one line, as it is printed.
    pub(super) text: String,
    pub(super) is_note: bool,
    /// Where; for a race both sides, where they are known.
    pub(super) sites: Vec<Site>,
}

impl Finding {
    pub(super) fn parse(line: &str) -> anyhow::Result<Self> {
        let value: Value = serde_json::from_str(line).context("a line of the emulator's report")?;
        let text = |name: &str| {
            let found = value.get(name).and_then(Value::as_str);
            found.with_context(|| format!("a line of the emulator's report has no {name}: {line}"))
        };
        let sites = [value.get("site"), value.get("other").and_then(|other| other.get("site"))];
        Ok(Finding {
            line: line.to_owned(),
            check: text("check")?.to_owned(),
            kind: text("kind")?.to_owned(),
            text: text("text")?.split('\n').map(str::trim).collect::<Vec<_>>().join(", "),
            is_note: value.get("is_note").and_then(Value::as_bool) == Some(true),
            sites: sites.into_iter().flatten().filter_map(site).collect(),
        })
    }

    /// The kernel's name that people know.
    pub(super) fn kernel(&self) -> Option<&str> {
        self.sites.first()?.kernels.first().map(String::as_str)
    }
}

impl Site {
    /// The line to show: the innermost in a file below a folder, where there is one, else the innermost.
    pub(super) fn source(&self, root: &str) -> Option<(&str, u64)> {
        let inside =
            self.sources.iter().find(|(file, _)| !file.starts_with('/') || below(file, root).is_some());
        inside.or(self.sources.first()).map(|(file, line)| (below(file, root).unwrap_or(file), *line))
    }
}

/// A path from a folder that it is below.
fn below<'a>(path: &'a str, root: &str) -> Option<&'a str> {
    let inside = path.strip_prefix(root)?.strip_prefix('/')?;
    (!inside.is_empty()).then_some(inside)
}

fn site(value: &Value) -> Option<Site> {
    let name = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let place = |place: &Value| Some((place.get(0)?.as_str()?.to_owned(), place.get(1)?.as_u64()?));
    let calls = value.get("calls").and_then(Value::as_array).into_iter().flatten();
    let sources = value.get("source").into_iter().chain(calls.filter_map(|call| call.get("called_at")));
    let mut kernels: Vec<String> = ["name", "kernel"].into_iter().filter_map(name).collect();
    kernels.dedup();
    (!kernels.is_empty()).then(|| Site { kernels, sources: sources.filter_map(place).collect() })
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)] // a test ends where it fails
    use super::*;

    /// A race in a kernel of two names, with lines of a source on both sides.
    pub(in super::super) const RACE: &str = r#"{"kind":"shared_race","check":"racecheck","is_note":false,
        "site":{"kernel":"_Z7softmaxPf","name":"softmax(float*)","ptx_line":40,"instruction":"st.shared.f32 [%r1], %f1",
        "source":["/usr/include/shared.hpp",3],"calls":[{"function":"store","called_at":["dev/softmax.cu",12]}]},
        "other":{"site":{"kernel":"_Z7softmaxPf","name":"softmax(float*)","ptx_line":31,"instruction":"x",
        "source":["dev/softmax.cu",9],"calls":[]}},"text":"race in shared memory: write\n    at softmax"}"#;

    /// A finding of no kernel.
    pub(in super::super) const LEAK: &str =
        r#"{"kind":"leak","check":"leak","is_note":false,"site":null,"other":null,"text":"leak: scratch"}"#;

    /// A note about a kernel without a source.
    pub(in super::super) const NOTE: &str = r#"{"kind":"equal_stores","check":"racecheck","is_note":true,
        "site":{"kernel":"k","name":"k","ptx_line":7,"instruction":"st","source":null,"calls":[]},"other":null,"text":"note: equal values"}"#;

    pub(in super::super) fn parsed(lines: &[&str]) -> Vec<Finding> {
        lines.iter().map(|line| Finding::parse(line).unwrap()).collect()
    }

    #[test]
    fn both_sides_of_a_race_are_places() {
        let [race, leak, note]: [Finding; 3] = parsed(&[RACE, LEAK, NOTE]).try_into().unwrap();
        assert_eq!(race.text, "race in shared memory: write, at softmax");
        assert_eq!(race.sites[0].kernels, ["softmax(float*)", "_Z7softmaxPf"]);
        assert_eq!(race.sites[1].source(""), Some(("dev/softmax.cu", 9)));
        assert!(leak.sites.is_empty() && leak.kernel().is_none());
        assert!(note.is_note && note.sites[0].source("").is_none() && note.kernel() == Some("k"));
    }

    #[test]
    fn the_line_to_show_is_one_of_the_repository_s() {
        let race = &parsed(&[RACE])[0].sites[0];
        assert_eq!(race.source("/work"), Some(("dev/softmax.cu", 12)));
        assert_eq!(race.source("/usr"), Some(("include/shared.hpp", 3)));
        let site = |files: &[&str]| Site {
            kernels: Vec::new(),
            sources: files.iter().map(|file| ((*file).to_owned(), 1)).collect(),
        };
        assert_eq!(site(&["/a/b.cu", "/work/c.cu"]).source("/work"), Some(("c.cu", 1)));
        assert_eq!(site(&["/a/b.cu", "/workshop/c.cu"]).source("/work"), Some(("/a/b.cu", 1)));
        assert_eq!(site(&[]).source("/work"), None);
    }

    #[test]
    fn a_line_that_is_no_finding_is_refused() {
        assert!(Finding::parse("{}").unwrap_err().to_string().contains("has no check: {}"));
        assert!(Finding::parse("leak: scratch").is_err());
    }
}
