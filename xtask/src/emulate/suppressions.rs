//! Files of findings that are known and not to be reported:
//!
//! ```text
//! # softmax.cu is taken from elsewhere: reported there
//! [softmax of llm.c]
//! check = racecheck
//! kernel = softmax_forward_kernel4*
//! source = *softmax_forward.cu:1*
//! message = race in shared memory*
//! ```
//!
//! A finding is suppressed by an entry all of whose lines cover it: `kernel` (mangled or not) and `source` (also of a call of the
//! function that the line is in) cover either side of a race. `*` is any text and `?` any character.

use std::{fs, path::Path};

use anyhow::{Context, bail};

use super::{finding::Finding, glob};

/// The keys of an entry, in the order in which they are written.
const KEYS: [&str; 4] = ["check", "kernel", "source", "message"];

/// One entry.
#[derive(Debug)]
pub(super) struct Suppression {
    /// Its name and where it is written: `known.txt:3: [softmax of llm.c]`.
    pub(super) title: String,
    /// The patterns, by the number of their key.
    patterns: [Option<String>; KEYS.len()],
    /// How many findings it has suppressed.
    pub(super) used: usize,
}

impl Suppression {
    fn covers(&self, finding: &Finding) -> bool {
        let [check, kernel, source, message] = &self.patterns;
        let fits = |pattern: &Option<String>, mut texts: Box<dyn Iterator<Item = String> + '_>| {
            pattern.as_ref().is_none_or(|pattern| texts.any(|text| glob::covers(pattern, &text)))
        };
        let kernels = finding.sites.iter().flat_map(|site| site.kernels.iter().cloned());
        let sources = finding.sites.iter().flat_map(|site| &site.sources);
        fits(check, Box::new([finding.check.clone()].into_iter()))
            && fits(kernel, Box::new(kernels))
            && fits(source, Box::new(sources.map(|(file, line)| format!("{file}:{line}"))))
            && fits(message, Box::new([finding.text.clone()].into_iter()))
    }
}

/// All entries of all files that were named.
#[derive(Debug, Default)]
pub(super) struct Suppressions {
    entries: Vec<Suppression>,
}

impl Suppressions {
    pub(super) fn read(files: &[impl AsRef<Path>], checks: &[&str]) -> anyhow::Result<Self> {
        let mut all = Suppressions::default();
        for file in files {
            let file = file.as_ref();
            let text = fs::read_to_string(file)
                .with_context(|| format!("--suppressions {}: the file cannot be read", file.display()))?;
            all.entries.extend(parse(&file.display().to_string(), &text, checks)?);
        }
        Ok(all)
    }

    /// Whether a finding is suppressed; the first entry that covers it counts it.
    pub(super) fn take(&mut self, finding: &Finding) -> bool {
        let found = self.entries.iter_mut().find(|entry| entry.covers(finding));
        found.map(|entry| entry.used += 1).is_some()
    }

    /// Entries that have suppressed nothing.
    pub(super) fn unused(&self) -> impl Iterator<Item = &Suppression> {
        self.entries.iter().filter(|entry| entry.used == 0)
    }
}

fn parse(file: &str, text: &str, checks: &[&str]) -> anyhow::Result<Vec<Suppression>> {
    let mut entries: Vec<(usize, Suppression)> = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let (at, line) = (index + 1, line.trim());
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(rest) = line.strip_prefix('[') {
            let name = rest.strip_suffix(']').map(str::trim).filter(|name| !name.is_empty());
            let Some(name) = name else { bail!("{file}:{at}: an entry begins with its name, as [a name]") };
            let title = format!("{file}:{at}: [{name}]");
            entries.push((at, Suppression { title, patterns: Default::default(), used: 0 }));
            continue;
        }
        let parts = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        let known =
            parts.and_then(|(key, value)| Some((KEYS.iter().position(|known| *known == key)?, value)));
        let Some((key, value)) = known else {
            bail!(
                "{file}:{at}: `{line}` is none of {}; write a comment with # before it",
                KEYS.map(|key| format!("`{key} = …`")).join(", ")
            );
        };
        if value.is_empty() {
            bail!("{file}:{at}: {} has no pattern; leave the line out where anything will do", KEYS[key]);
        }
        if KEYS[key] == "check" && !checks.contains(&value) {
            bail!("{file}:{at}: there is no check {value}; the checks are {}", checks.join(", "));
        }
        let Some((_, entry)) = entries.last_mut() else {
            bail!("{file}:{at}: `{line}` is of no entry; put its name before it, as [a name]");
        };
        if entry.patterns[key].replace(value.to_owned()).is_some() {
            bail!("{file}:{at}: the entry has a second `{}`; begin another entry for it", KEYS[key]);
        }
    }
    for (at, entry) in &entries {
        if entry.patterns.iter().all(Option::is_none) {
            bail!("{file}:{at}: the entry would suppress everything; give it one of {}", KEYS.join(", "));
        }
    }
    Ok(entries.into_iter().map(|(_, entry)| entry).collect())
}

/// An entry that suppresses a finding, and others like it, to be pasted into a file.
pub(super) fn entry_for(finding: &Finding) -> String {
    // A pattern's own characters stand for themselves and more.
    let mut lines = vec![format!("check = {}", finding.check)];
    let site = finding.sites.first();
    lines.extend(finding.kernel().map(|name| format!("kernel = {name}")));
    let source = site.and_then(|site| site.sources.first());
    lines.extend(source.map(|(file, line)| format!("source = {file}:{line}")));
    let (what, more) = match finding.text.split_once(':') {
        Some((what, _)) if site.is_some() => (what, "*"),
        _ => (finding.text.as_str(), ""),
    };
    lines.push(format!("message = {what}{more}"));
    let name = finding.kernel().unwrap_or("the program").replace(['[', ']'], " ");
    format!("[{} in {name}]\n{}\n", finding.kind, lines.join("\n"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)] // a test ends where it fails
    use super::{
        super::finding::tests::{LEAK, NOTE, RACE, parsed},
        *,
    };

    const CHECKS: [&str; 3] = ["racecheck", "leak", "memcheck"];

    fn read(text: &str) -> Suppressions {
        Suppressions { entries: parse("known.txt", text, &CHECKS).unwrap() }
    }

    #[test]
    fn an_entry_suppresses_what_all_its_lines_cover() {
        let findings = parsed(&[RACE, LEAK, NOTE]);
        let suppressed = |text: &str| {
            let mut entries = read(text);
            findings.iter().map(|finding| entries.take(finding)).collect::<Vec<_>>()
        };
        assert_eq!(suppressed("[races]\ncheck = racecheck"), [true, false, true]);
        // The kernel by either of its names.
        assert_eq!(suppressed("[a]\nkernel = softmax(*)"), [true, false, false]);
        assert_eq!(suppressed("[a]\nkernel = _Z7*"), [true, false, false]);
        assert_eq!(suppressed("[a]\nkernel = soft"), [false, false, false]);
        // Either side of a race.
        assert_eq!(suppressed("[a]\nsource = *softmax.cu:12"), [true, false, false]);
        assert_eq!(suppressed("[a]\nsource = *softmax.cu:9"), [true, false, false]);
        assert_eq!(suppressed("[a]\nsource = *softmax.cu:13"), [false, false, false]);
        assert_eq!(suppressed("# why\n\n[a]\nmessage = leak: scr*\n"), [false, true, false]);
        assert_eq!(suppressed("[a]\ncheck = leak\nkernel = *"), [false, false, false]);
        assert_eq!(suppressed("[a]\ncheck = leak\n[b]\nkernel = k"), [false, true, true]);
    }

    #[test]
    fn entries_that_suppress_nothing_are_known() {
        let mut entries = read("[races]\ncheck = racecheck\n[memory]\ncheck = memcheck");
        assert!(parsed(&[RACE, NOTE]).iter().all(|finding| entries.take(finding)));
        assert_eq!(
            entries.unused().map(|entry| &*entry.title).collect::<Vec<_>>(),
            ["known.txt:3: [memory]"]
        );
        assert_eq!(entries.entries[0].used, 2);
    }

    #[test]
    fn an_entry_that_is_made_suppresses_its_finding() {
        for line in [RACE, LEAK, NOTE] {
            let finding = &parsed(&[line])[0];
            let text = entry_for(finding);
            assert!(read(&text).take(finding), "{text}");
        }
        assert_eq!(
            entry_for(&parsed(&[RACE])[0]),
            "[shared_race in softmax(float*)]\ncheck = racecheck\nkernel = softmax(float*)\n\
             source = /usr/include/shared.hpp:3\nmessage = race in shared memory*\n"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_says_where_and_what_to_do() {
        for (text, error) in [
            (
                "check = leak",
                "known.txt:1: `check = leak` is of no entry; put its name before it, as [a name]",
            ),
            ("[a]\ncolour = red", "known.txt:2: `colour = red` is none of `check = …`, `kernel = …`"),
            ("[a]\nwhy not", "known.txt:2: `why not` is none of"),
            ("[a\ncheck = leak", "known.txt:1: an entry begins with its name, as [a name]"),
            (
                "[a]\ncheck = races",
                "known.txt:2: there is no check races; the checks are racecheck, leak, memcheck",
            ),
            (
                "[a]\nkernel =",
                "known.txt:2: kernel has no pattern; leave the line out where anything will do",
            ),
            ("[a]\nkernel = x\nkernel = y", "known.txt:3: the entry has a second `kernel`"),
            ("[a]\ncheck = leak\n[b]", "known.txt:3: the entry would suppress everything"),
        ] {
            let found = parse("known.txt", text, &CHECKS).unwrap_err().to_string();
            assert!(found.starts_with(error), "{found}");
        }
        let missing = Suppressions::read(&["does/not/exist"], &CHECKS).unwrap_err();
        assert!(missing.to_string().starts_with("--suppressions does/not/exist: the file"), "{missing}");
    }
}
