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

    /// Whether the system holds the file in memory already: of 64 pages spread over it nearly all. False where the system
    /// does not say.
    pub fn is_cached(&self) -> bool {
        const SAMPLES: usize = 64;
        match &self.source {
            Source::Static(_) => true,
            Source::Mapped(mapping) => {
                let step = mapping.len().div_ceil(SAMPLES).max(1);
                let samples = mapping.len().div_ceil(step);
                let held = (0..samples).filter(|sample| is_page_cached(mapping, sample * step)).count();
                held >= samples - samples / 16
            }
        }
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

/// Whether the system holds the page of a byte.
#[cfg(target_os = "linux")]
fn is_page_cached(mapping: &Mmap, byte: usize) -> bool {
    /// Of nearly all systems. One with larger pages refuses addresses inside them: it does not say.
    const PAGE_BYTES: usize = 4096;
    let page = byte / PAGE_BYTES * PAGE_BYTES;
    let mut state = 0u8;
    // SAFETY: one byte of the mapping, from the start of a page on, for which the system writes one byte.
    let answer = unsafe { libc::mincore(mapping.as_ptr().add(page).cast_mut().cast(), 1, &raw mut state) };
    answer == 0 && state & 1 == 1
}

#[cfg(not(target_os = "linux"))]
fn is_page_cached(_: &Mmap, _: usize) -> bool {
    false
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{io::Write, os::fd::AsRawFd};

    use super::*;

    #[test]
    fn what_was_written_is_cached_until_the_system_drops_it() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&vec![1; 1 << 20]).unwrap();
        file.as_file().sync_all().unwrap();
        assert!(MappedFile::open(file.path()).unwrap().is_cached());
        // SAFETY: an open file, and no memory.
        let dropped = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
        assert_eq!(dropped, 0);
        let is_cached = MappedFile::open(file.path()).unwrap().is_cached();
        // SAFETY: as above; the answer has room for what is asked.
        let keeps_in_memory = unsafe {
            let mut system: libc::statfs = std::mem::zeroed();
            libc::fstatfs(file.as_raw_fd(), &raw mut system) == 0 && system.f_type == libc::TMPFS_MAGIC
        };
        assert_eq!(is_cached, keeps_in_memory);
        assert!(MappedFile::from_static(b"program", "embedded").is_cached());
        // Nothing of it has to be read.
        file.as_file().set_len(0).unwrap();
        assert!(MappedFile::open(file.path()).is_ok_and(|empty| empty.is_cached()));
    }
}
