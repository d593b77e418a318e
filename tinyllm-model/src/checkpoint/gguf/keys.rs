//! Typed access to the metadata keys of one architecture (`llama.block_count`), with errors that name file and key.

use super::{Metadata, Value};
use crate::{ModelError, Result};

/// Metadata keys of one architecture: `llama.block_count` and the like.
pub(super) struct Keys<'a> {
    pub(super) metadata: Metadata<'a>,
    pub(super) architecture: &'a str,
}

impl<'a> Keys<'a> {
    /// The full key.
    pub(super) fn key(&self, suffix: &str) -> String {
        format!("{}.{suffix}", self.architecture)
    }

    /// A count. A list of counts, one for each layer, is read where they are equal.
    pub(super) fn size(&self, suffix: &str) -> Result<Option<usize>> {
        let key = self.key(suffix);
        let Some(Value::Array(array)) = self.metadata.get(&key) else {
            return Ok(self.metadata.u32(&key)?.map(|size| size as usize));
        };
        let mut counts = array.numbers();
        match counts.next() {
            Some(Value::Integer(first)) if counts.all(|count| count == Value::Integer(first)) => {
                let size = u32::try_from(first).map_err(|_| self.malformed(suffix, format!("is {first}")))?;
                Ok(Some(size as usize))
            }
            _ => Err(self.unsupported(suffix, "a count for each layer", "one for all layers is")),
        }
    }

    pub(super) fn required_size(&self, suffix: &str) -> Result<usize> {
        self.size(suffix)?.ok_or_else(|| self.metadata.missing(&self.key(suffix)))
    }

    /// A float as the f64 nearest to what was written: an f32 converted exactly.
    pub(super) fn float(&self, suffix: &str) -> Result<Option<f64>> {
        Ok(self.metadata.f32(&self.key(suffix))?.map(f64::from))
    }

    pub(super) fn string(&self, suffix: &str) -> Result<Option<&'a str>> {
        self.metadata.string(&self.key(suffix))
    }

    pub(super) fn malformed(&self, suffix: &str, problem: impl Into<String>) -> ModelError {
        self.metadata.malformed(&self.key(suffix), problem)
    }

    pub(super) fn unsupported(&self, suffix: &str, what: impl Into<String>, supported: &str) -> ModelError {
        ModelError::unsupported(self.metadata.path(), self.key(suffix), what, supported)
    }
}
