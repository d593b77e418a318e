//! What a shell offers where a MODEL is wanted: models that are here, and paths.

use std::ffi::OsStr;

use clap_complete::{ArgValueCompleter, CompletionCandidate, PathCompleter, engine::ValueCompleter};

use crate::verbs::list::installed;

/// Of a MODEL that may be a path.
pub(crate) fn model() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let mut candidates = pulled(current);
        candidates.extend(PathCompleter::any().complete(current));
        candidates
    })
}

/// Of a model that has been pulled.
pub(crate) fn pulled_model() -> ArgValueCompleter {
    ArgValueCompleter::new(pulled)
}

fn pulled(current: &OsStr) -> Vec<CompletionCandidate> {
    // A shell cannot be told what is wrong with the cache.
    let names = installed().unwrap_or_default().into_iter().map(|model| model.name);
    let begins = |name: &String| current.to_str().is_some_and(|current| name.starts_with(current));
    names.filter(begins).map(CompletionCandidate::new).collect()
}
