//! Suggestions for a MODEL that is neither a path nor a known name.

use super::{alias, installed::installed};

/// The least similarity of a suggestion, from 0 to 1; clap's own for flags.
const ALIKE: f64 = 0.8;

/// Names that a MODEL may have without being a path: the alias, and installed models.
fn known() -> Vec<String> {
    let mut names: Vec<String> =
        installed().unwrap_or_default().into_iter().map(|model| model.name).collect();
    if !names.iter().any(|name| name == alias::SMOLLM2) {
        names.push(alias::SMOLLM2.into());
    }
    names
}

/// The error for an unknown `name`, with a suggestion.
pub(super) fn unknown(name: &str) -> String {
    if name.split_whitespace().count() > 1 {
        return format!(
            "{name:?} is no MODEL; did you forget it? As in `tinyllm run {} {name:?}`",
            known().first().map_or(alias::SMOLLM2, String::as_str)
        );
    }
    let alike = |known: &String| strsim::jaro(&name.to_lowercase(), &known.to_lowercase());
    let nearest = known().into_iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
    match nearest.filter(|known| alike(known) >= ALIKE) {
        Some(known) => format!("{name}: no such directory or .gguf file; did you mean {known}?"),
        None => format!(
            "{name}: no such directory or .gguf file, no name of the hub (org/name), and no known alias (smollm2); in \
             front of a prompt comes MODEL: `tinyllm run MODEL PROMPT`"
        ),
    }
}

/// A clause that lists the installed models; empty where there are none.
pub(crate) fn here() -> String {
    let names: Vec<String> = installed().unwrap_or_default().into_iter().map(|model| model.name).collect();
    if names.is_empty() { String::new() } else { format!("; models that are here: {}", names.join(", ")) }
}
