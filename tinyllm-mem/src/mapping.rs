//! Files whose bytes are copied out a few at a time, or read by kernels where the system maps them. What is parsed is
//! read into memory of its own instead: `file_bytes`.

use std::{
    fs::File,
    io::ErrorKind,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use memmap2::{MmapOptions, MmapRaw, UncheckedAdvice};

use crate::{MemError, file_bytes::open_regular};

/// An open file of fixed length; or bytes that are part of the program.
///
/// Another process may change the file at any time, so no reference to its bytes is ever made: [`MappedFile::read_at`]
/// copies them (a file that has become too short is an error then); code that computes with them in place uses their
/// address ([`MappedRange::as_ptr`]), whose documentation says what it may rely on. A file that is truncated while it is used in
/// place ends the program with SIGBUS: the system offers nothing else. One that is replaced by renaming another over it goes on as it
/// was.
///
/// ```compile_fail,E0599
/// # let file = tinyllm_mem::MappedFile::from_static(b"text", "embedded");
/// // Another process that writes to the file could make this `&str` invalid UTF-8.
/// let text = std::str::from_utf8(file.bytes());
/// ```
#[derive(Debug)]
pub struct MappedFile {
    path: PathBuf,
    source: Source,
}

#[derive(Debug)]
enum Source {
    Mapped(File, MmapRaw),
    Static(&'static [u8]),
}

impl MappedFile {
    /// Opens and maps a whole file. What is written behind its present end is not part of it.
    ///
    /// # Errors
    /// [`MemError::NotRegular`]; [`MemError::File`] where it cannot be opened or mapped.
    pub fn open(path: &Path) -> Result<Arc<Self>, MemError> {
        let (file, metadata) = open_regular(path)?;
        let source = match metadata.len() {
            0 => Source::Static(&[]),
            _ => {
                let mapping = MmapOptions::new().map_raw_read_only(&file);
                let failed = |source| MemError::File { path: path.to_owned(), source };
                Source::Mapped(file, mapping.map_err(failed)?)
            }
        };
        Ok(Arc::new(MappedFile { path: path.to_owned(), source }))
    }

    /// Bytes of the program itself, under a name for messages.
    pub fn from_static(bytes: &'static [u8], label: &str) -> Arc<Self> {
        Arc::new(MappedFile { path: label.into(), source: Source::Static(bytes) })
    }

    /// The file's path, or the label.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length when it was opened.
    pub fn len(&self) -> usize {
        match &self.source {
            Source::Mapped(_, mapping) => mapping.len(),
            Source::Static(bytes) => bytes.len(),
        }
    }

    /// Whether it was empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the bytes from `offset` on to all of `out`.
    ///
    /// # Errors
    /// [`MemError::BadRange`] where the file never had them, [`MemError::Changed`] where it has them no longer,
    /// [`MemError::File`] where the system cannot read them.
    pub fn read_at(&self, offset: usize, out: &mut [u8]) -> Result<(), MemError> {
        let end = offset.checked_add(out.len()).filter(|end| *end <= self.len());
        let Some(end) = end else { return Err(self.bad_range(offset, offset.saturating_add(out.len()))) };
        match &self.source {
            Source::Static(bytes) => {
                out.copy_from_slice(&bytes[offset..end]);
                Ok(())
            }
            Source::Mapped(file, _) => {
                // Not out of the mapping: a page that is no longer there would be a signal, not an error.
                let read = std::os::unix::fs::FileExt::read_exact_at(file, out, offset as u64);
                read.map_err(|source| match source.kind() {
                    ErrorKind::UnexpectedEof => {
                        let problem = format!("it was cut short while it was read: byte {} is gone", end - 1);
                        MemError::Changed { path: self.path.clone(), problem }
                    }
                    _ => MemError::File { path: self.path.clone(), source },
                })
            }
        }
    }

    /// A range of its bytes, mapped for as long as the range or a clone lives.
    ///
    /// # Errors
    /// [`MemError::BadRange`] where the file does not have them.
    pub fn range(self: &Arc<Self>, range: Range<usize>) -> Result<MappedRange, MemError> {
        if range.start > range.end || range.end > self.len() {
            return Err(self.bad_range(range.start, range.end));
        }
        Ok(MappedRange { file: Arc::clone(self), range })
    }

    fn bad_range(&self, start: usize, end: usize) -> MemError {
        MemError::BadRange { name: self.path.display().to_string(), start, end, len: self.len() }
    }

    /// Whether the system holds the file in memory already: of 64 pages spread over it nearly all. False where the system
    /// does not say.
    pub fn is_cached(&self) -> bool {
        const SAMPLES: usize = 64;
        match &self.source {
            Source::Static(_) => true,
            Source::Mapped(_, mapping) => {
                let step = mapping.len().div_ceil(SAMPLES).max(1);
                let samples = mapping.len().div_ceil(step);
                let held = (0..samples).filter(|sample| is_page_cached(mapping, sample * step)).count();
                held >= samples - samples / 16
            }
        }
    }
}

/// Bytes of a [`MappedFile`]: inside it, and mapped for as long as this lives.
#[derive(Clone, Debug)]
pub struct MappedRange {
    file: Arc<MappedFile>,
    range: Range<usize>,
}

impl MappedRange {
    /// The file.
    pub fn file(&self) -> &Arc<MappedFile> {
        &self.file
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        self.range.len()
    }

    /// Whether there are no bytes.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// Copies the bytes from `offset` on, counted from the first of these, to all of `out`.
    ///
    /// # Errors
    /// As [`MappedFile::read_at`].
    pub fn read_at(&self, offset: usize, out: &mut [u8]) -> Result<(), MemError> {
        if offset.checked_add(out.len()).is_none_or(|end| end > self.len()) {
            let start = self.range.start.saturating_add(offset);
            return Err(self.file.bad_range(start, start.saturating_add(out.len())));
        }
        self.file.read_at(self.range.start + offset, out)
    }

    /// Their address, to compute with them in place. [`MappedRange::len`] bytes are mapped there for as long as this or
    /// a clone lives.
    ///
    /// Read them through this pointer, and make no reference: another process may change the bytes between any two reads.
    /// Values that only enter arithmetic may be read so; lengths, indices and text may not.
    /// Where the file has been truncated, reading raises SIGBUS.
    pub fn as_ptr(&self) -> *const u8 {
        let start = match &self.file.source {
            Source::Mapped(_, mapping) => mapping.as_ptr(),
            Source::Static(bytes) => bytes.as_ptr(),
        };
        // Inside the mapping or at its end, since the range is inside the file.
        start.wrapping_add(self.range.start)
    }

    /// Releases the pages that some of the bytes lie in, after they were read in place. A hint: bytes that are read again, also
    /// a neighbour's in the same page, are mapped again.
    pub fn drop_pages(&self, bytes: Range<usize>) {
        let Source::Mapped(_, mapping) = &self.file.source else { return };
        if !bytes.is_empty() && bytes.end <= self.len() {
            let start = self.range.start + bytes.start;
            // SAFETY: the range, which is widened to whole pages, lies in the mapping. DONTNEED on a read-only file
            // mapping drops clean pages only; their contents come back from the file. A failure leaves the pages where
            // they are, which is harmless.
            let _ = unsafe { mapping.unchecked_advise_range(UncheckedAdvice::DontNeed, start, bytes.len()) };
        }
    }
}

/// Whether the system holds the page of a byte.
#[cfg(target_os = "linux")]
fn is_page_cached(mapping: &MmapRaw, byte: usize) -> bool {
    /// The page size of nearly all systems. One with larger pages refuses addresses inside them, and the answer is unknown.
    const PAGE_BYTES: usize = 4096;
    let page = byte / PAGE_BYTES * PAGE_BYTES;
    let mut state = 0u8;
    // SAFETY: one byte of the mapping, from the start of a page on, for which the system writes one byte.
    let answer = unsafe { libc::mincore(mapping.as_ptr().add(page).cast_mut().cast(), 1, &raw mut state) };
    answer == 0 && state & 1 == 1
}

#[cfg(not(target_os = "linux"))]
fn is_page_cached(_: &MmapRaw, _: usize) -> bool {
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

    #[test]
    fn a_file_cut_short_is_an_error_and_a_rewritten_one_gives_its_new_bytes() {
        let mut writer = tempfile::NamedTempFile::new().unwrap();
        writer.write_all(&[b'a'; 8192]).unwrap();
        let file = MappedFile::open(writer.path()).unwrap();
        let mut out = [0; 4];
        file.read_at(8188, &mut out).unwrap();
        assert_eq!(&out, b"aaaa");
        std::os::unix::fs::FileExt::write_all_at(writer.as_file(), &[0xff, 0xfe], 8188).unwrap();
        file.read_at(8188, &mut out).unwrap();
        assert_eq!(out, [0xff, 0xfe, b'a', b'a']);
        writer.as_file().set_len(8190).unwrap();
        let error = file.read_at(8188, &mut out).unwrap_err();
        assert!(matches!(error, MemError::Changed { .. }), "{error}");
        // What is still there is read on; a longer file has no more bytes than it was opened with.
        file.read_at(4096, &mut out).unwrap();
        writer.as_file().set_len(1 << 20).unwrap();
        assert!(matches!(file.read_at(8190, &mut out), Err(MemError::BadRange { len: 8192, .. })));
    }

    #[test]
    fn no_byte_outside_is_read() {
        for file in [MappedFile::from_static(b"0123456789", "embedded"), {
            let mut writer = tempfile::NamedTempFile::new().unwrap();
            writer.write_all(b"0123456789").unwrap();
            MappedFile::open(writer.path()).unwrap()
        }] {
            let range = file.range(2..7).unwrap();
            let (mut two, mut none) = ([0; 2], [0; 0]);
            range.read_at(3, &mut two).unwrap();
            assert_eq!(&two, b"56");
            range.read_at(5, &mut none).unwrap();
            assert!(range.read_at(4, &mut two).is_err());
            assert!(range.read_at(usize::MAX, &mut two).is_err());
            assert!(file.read_at(9, &mut two).is_err());
            assert!(file.read_at(usize::MAX, &mut two).is_err());
            assert!(file.range(3..11).is_err());
            #[allow(clippy::reversed_empty_ranges)] // what is to be refused
            let reversed = file.range(3..2);
            assert!(reversed.is_err());
            assert_eq!(file.range(10..10).unwrap().len(), 0);
            // SAFETY: the byte is the range's, and nobody changes it.
            assert_eq!(unsafe { range.as_ptr().read() }, b'2');
            range.drop_pages(0..5);
            range.drop_pages(0..6);
            // SAFETY: as above.
            assert_eq!(unsafe { range.as_ptr().read() }, b'2');
        }
    }
}
