//! Stands for the memory crate's file mapping until it is merged: the same calls over a file that is read whole.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{ModelError, Result};

/// A file's bytes.
pub struct MappedFile {
    path: PathBuf,
    bytes: Vec<u8>,
}

impl MappedFile {
    /// Opens a file.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub fn open(path: &Path) -> Result<Arc<Self>> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::io(path, source))?;
        Ok(Arc::new(MappedFile { path: path.to_owned(), bytes }))
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Drops pages.
    pub fn drop_pages(&self, _bytes: &[u8]) {}
}
