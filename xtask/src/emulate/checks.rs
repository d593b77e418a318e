//! Which checks run.

use anyhow::bail;

/// The checks that `all` stands for; compute-sanitizer has tools for the first four.
pub(crate) const ALL: &[&str] = &["memcheck", "initcheck", "racecheck", "synccheck", "leak", "stream"];

/// Those of a program that says nothing else: one that ends without freeing its memory is no faulty one, and compute-sanitizer looks
/// for leaks only where it is asked to.
pub(super) const OF_PROGRAMS: &[&str] = &["memcheck", "initcheck", "racecheck", "synccheck", "stream"];

/// A check that runs where it is asked for only: its notes are about nearly every kernel.
const CONTRACTION: &str = "contraction";

/// All that there are.
pub(super) fn names() -> Vec<&'static str> {
    ALL.iter().copied().chain([CONTRACTION]).collect()
}

/// The checks of a run, each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checks(Vec<&'static str>);

impl Checks {
    /// The checks of `--only`, or these without it.
    pub(crate) fn parse(only: Option<&str>, otherwise: &[&'static str]) -> anyhow::Result<Self> {
        let Some(list) = only else { return Ok(Checks(otherwise.to_vec())) };
        let mut wanted = Vec::new();
        for name in list.split(',').map(str::trim) {
            match names().into_iter().find(|known| *known == name) {
                Some(known) => wanted.push(known),
                None if name == "all" => wanted.extend(ALL),
                None => {
                    bail!("--only {name}: the checks are {}, or all but the last of them", names().join(", "))
                }
            }
        }
        Ok(Checks(names().into_iter().filter(|name| wanted.contains(name)).collect()))
    }

    pub(crate) fn has(&self, check: &str) -> bool {
        self.0.contains(&check)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().copied()
    }

    /// As the emulator reads them.
    pub(crate) fn list(&self) -> String {
        self.0.join(",")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)] // a test ends where it fails
    use super::*;

    #[test]
    fn leaks_are_looked_for_where_they_are_asked_for() {
        let of = |only: Option<&str>| Checks::parse(only, OF_PROGRAMS).unwrap().list();
        assert_eq!(of(None), "memcheck,initcheck,racecheck,synccheck,stream");
        assert_eq!(of(Some("leak, memcheck,leak")), "memcheck,leak");
        assert_eq!(of(Some("all")), "memcheck,initcheck,racecheck,synccheck,leak,stream");
        assert_eq!(of(Some("contraction")), "contraction");
        let error = Checks::parse(Some("memcheck,races"), ALL).unwrap_err().to_string();
        assert!(error.starts_with("--only races: the checks are memcheck, initcheck,"), "{error}");
    }
}
