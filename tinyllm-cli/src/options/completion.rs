//! Shell completion of a MODEL: installed models and paths.

use std::ffi::OsStr;

use clap_complete::{ArgValueCompleter, CompletionCandidate, PathCompleter, engine::ValueCompleter};

use crate::models::installed;

/// Completes a MODEL that may be a path.
pub(crate) fn model() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let mut candidates = pulled(current);
        candidates.extend(PathCompleter::any().complete(current));
        candidates
    })
}

/// Completes the name of a pulled model.
pub(crate) fn pulled_model() -> ArgValueCompleter {
    ArgValueCompleter::new(pulled)
}

fn pulled(current: &OsStr) -> Vec<CompletionCandidate> {
    // Completion has no way to report an error.
    let names = installed().unwrap_or_default().into_iter().map(|model| model.name);
    let begins = |name: &String| current.to_str().is_some_and(|current| name.starts_with(current));
    names.filter(begins).map(CompletionCandidate::new).collect()
}
