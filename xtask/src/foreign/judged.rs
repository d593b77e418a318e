//! Findings in other people's programs that somebody has looked at: `xtask/foreign/judged.json`, with the judgement and
//! why.

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;

const TABLE: &str = include_str!("../../foreign/judged.json");

/// All of them.
pub(super) struct Judgements(Vec<Judgement>);

/// One entry.
#[derive(Debug, Deserialize)]
pub(super) struct Judgement {
    program: String,
    kind: String,
    /// A part of the kernel's name.
    kernel: String,
    /// Lines of the source, as `file.cu:12`: each place that a finding names is one of them.
    places: Vec<String>,
    /// `theirs`, with what it is.
    pub(super) judgement: String,
    /// Why it is true.
    pub(super) why: String,
}

impl Judgements {
    pub(super) fn read() -> anyhow::Result<Self> {
        Ok(Judgements(serde_json::from_str(TABLE).context("judged.json")?))
    }

    /// What is known of a finding in a program.
    pub(super) fn of(&self, program: &str, finding: &Value) -> Option<&Judgement> {
        self.0.iter().find(|judgement| judgement.program == program && judgement.is_about(finding))
    }
}

impl Judgement {
    fn is_about(&self, finding: &Value) -> bool {
        let kernel = finding["site"]["kernel"].as_str().unwrap_or_default();
        let places: Vec<String> = sites(finding).filter_map(place).collect();
        finding["kind"] == self.kind.as_str()
            && kernel.contains(&self.kernel)
            && !places.is_empty()
            && places.iter().all(|place| self.places.contains(place))
    }
}

/// The places in kernels that a finding names.
pub(super) fn sites(finding: &Value) -> impl Iterator<Item = &Value> {
    let places = [&finding["site"], &finding["other"]["site"], &finding["used"]["site"]];
    places.into_iter().filter(|site| site.is_object())
}

/// As `file.cu:12`.
fn place(site: &Value) -> Option<String> {
    let file = site["source"][0].as_str()?;
    let file = file.rsplit('/').next()?;
    Some(format!("{file}:{}", site["source"][1].as_u64()?))
}

impl Judgement {
    /// As it is printed.
    pub(super) fn text(&self) -> String {
        format!("{} ({}): {}", self.judgement, self.places.join(", "), self.why)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn site(line: u32) -> Value {
        json!({ "kernel": "_Z4foldPf", "ptx_line": 7, "instruction": "st", "source": ["/home/a/fold.cu", line] })
    }

    #[test]
    fn a_judgement_is_about_its_places_in_either_order_and_no_others() {
        let judgements = Judgements(vec![Judgement {
            program: "sums".into(),
            kind: "shared_race".into(),
            kernel: "fold".into(),
            places: vec!["fold.cu:3".into(), "fold.cu:9".into()],
            judgement: "theirs".into(),
            why: "no barrier".into(),
        }]);
        let race = |one, other| json!({ "kind": "shared_race", "site": site(one), "other": { "site": site(other) } });
        assert!(judgements.of("sums", &race(3, 9)).is_some());
        assert!(judgements.of("sums", &race(9, 3)).is_some());
        assert!(judgements.of("sums", &race(3, 10)).is_none());
        assert!(judgements.of("products", &race(3, 9)).is_none());
        let leak = json!({ "kind": "leak", "site": null });
        assert!(judgements.of("sums", &leak).is_none());
    }

    #[test]
    fn the_committed_table_is_read() -> anyhow::Result<()> {
        assert!(!Judgements::read()?.0.is_empty());
        Ok(())
    }
}
