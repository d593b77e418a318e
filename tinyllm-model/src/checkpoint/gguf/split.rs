//! Models split over several files, `NAME-00001-of-00003.gguf` and so on: which files belong together.

use std::path::{Path, PathBuf};

use super::Metadata;
use crate::{ModelError, Result};

/// More parts than any published model has.
const MAX_PARTS: u32 = 1024;

/// A file's place in a split model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Split {
    /// Counted from 0.
    pub(super) part: u32,
    pub(super) parts: u32,
}

impl Split {
    /// What the metadata says; one part where it says nothing.
    ///
    /// # Errors
    /// Where the part is not one of the parts.
    pub(super) fn of(metadata: Metadata<'_>) -> Result<Self> {
        let parts = metadata.u32("split.count")?.unwrap_or(1).max(1);
        let part = metadata.u32("split.no")?.unwrap_or(0);
        if parts > MAX_PARTS {
            return Err(
                metadata.malformed("split.count", format!("is {parts}, above the limit of {MAX_PARTS}"))
            );
        }
        if part >= parts {
            return Err(
                metadata.malformed("split.no", format!("is {part}, and must be below split.count {parts}"))
            );
        }
        Ok(Split { part, parts })
    }

    /// The paths of all parts, in order, from the path of this one.
    ///
    /// # Errors
    /// Where this file's name does not tell the others' names, or one of them is not there.
    pub(super) fn paths(self, path: &Path) -> Result<Vec<PathBuf>> {
        let Split { part, parts } = self;
        let suffix = |part: u32| format!("-{:05}-of-{parts:05}.gguf", part + 1);
        let stem = path
            .file_name()
            .and_then(|name| name.to_str())
            .and_then(|name| name.strip_suffix(suffix(part).as_str()))
            .ok_or_else(|| {
                let problem = format!(
                    "this file is part {} of {parts}, and the parts are found by their names: it must be called NAME{}, \
                     beside the others",
                    part + 1,
                    suffix(part)
                );
                ModelError::malformed(path, "split.count", problem)
            })?;
        let paths: Vec<PathBuf> =
            (0..parts).map(|part| path.with_file_name(format!("{stem}{}", suffix(part)))).collect();
        match paths.iter().find(|path| !path.is_file()) {
            Some(absent) => {
                let problem = format!("the model has {parts} parts, and {} is not there", absent.display());
                Err(ModelError::malformed(path, "split.count", problem))
            }
            None => Ok(paths),
        }
    }
}
