//! Files mapped to read, whose pages can be given back once read.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
};

use memmap2::{Mmap, UncheckedAdvice};

use crate::MemError;

/// A file's bytes, read-only; or bytes that are part of the program.
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Mapped(Mmap),
    Static(&'static [u8]),
}

impl MappedFile {
    /// Maps a whole file.
    ///
    /// # Errors
    /// [`MemError::File`] where it cannot be opened, is a directory, or cannot be mapped.
    pub fn open(path: &Path) -> Result<Arc<Self>, MemError> {
        let failed = |source| MemError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a file")));
        }
        let source = match metadata.len() {
            0 => Source::Static(&[]),
            // SAFETY: the mapping is private and read-only. Another process that truncates or rewrites the file while
            // it is mapped can fault this one or change numbers under it: no reader of mapped files can prevent that,
            // and every index derived from the file is checked against the mapping, so it stays inside it.
            _ => Source::Mapped(unsafe { Mmap::map(&file) }.map_err(failed)?),
        };
        Ok(Arc::new(MappedFile { path: path.to_owned(), source }))
    }

    /// Bytes of the program itself, under a name for messages.
    pub fn from_static(bytes: &'static [u8], label: &str) -> Arc<Self> {
        Arc::new(MappedFile { path: label.into(), source: Source::Static(bytes) })
    }

    /// The contents.
    pub fn bytes(&self) -> &[u8] {
        match &self.source {
            Source::Mapped(mapping) => mapping,
            Source::Static(bytes) => bytes,
        }
    }

    /// The file's path, or the label.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives back the pages that `bytes`, a subslice of [`MappedFile::bytes`], touch. A hint; what is used again, in a
    /// neighbour's share of a page too, is mapped again.
    pub fn drop_pages(&self, bytes: &[u8]) {
        let Source::Mapped(mapping) = &self.source else { return };
        let Some(start) = (bytes.as_ptr() as usize).checked_sub(mapping.as_ptr() as usize) else { return };
        if !bytes.is_empty() && start + bytes.len() <= mapping.len() {
            // SAFETY: the range, which is widened to whole pages, lies in the mapping. DONTNEED on a private read-only
            // file mapping drops clean pages only; their contents come back from the file. A failure leaves the pages
            // where they are, which is harmless.
            let _ = unsafe { mapping.unchecked_advise_range(UncheckedAdvice::DontNeed, start, bytes.len()) };
        }
    }
}
