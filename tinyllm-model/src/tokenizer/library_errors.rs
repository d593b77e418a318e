//! Errors and panics of the `tokenizers` crate as errors of the file that it reads.

use std::path::Path;

use crate::{ModelError, Result, library_panics};

/// The longest error of the library that is passed on: it may quote the file.
const MAX_ERROR_CHARS: usize = 1000;

/// Runs a call of the library; its errors and panics become errors of this file. A panic leaves nothing inconsistent: a
/// tokenizer that was being parsed is dropped, and encoding only fills caches.
pub(super) fn guarded<T>(
    path: &Path,
    field: &str,
    work: impl FnOnce() -> tokenizers::Result<T>,
) -> Result<T> {
    let problem = match library_panics::catch(work) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => format!("the tokenizer library cannot go on with this file: {panic}"),
    };
    let problem = match problem.char_indices().nth(MAX_ERROR_CHARS) {
        Some((end, _)) => problem[..end].to_owned() + "…",
        None => problem,
    };
    Err(ModelError::malformed(path, field, problem))
}
