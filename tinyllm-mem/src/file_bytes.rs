//! Bytes read out of a file into memory of their own, never more than the caller asks for. Mapped files are in `mapping`.

use std::{
    borrow::Cow,
    fs::{File, Metadata},
    io::Read,
    path::{Path, PathBuf},
};

use crate::MemError;

/// The contents of a file when it was read: owned, so that later changes of the file do not show. For everything that is parsed.
///
/// ```
/// use tinyllm_mem::FileBytes;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("config.json");
/// std::fs::write(&path, "{}")?;
/// assert_eq!(FileBytes::read(&path, 2)?.bytes(), b"{}");
/// assert!(FileBytes::read(&path, 1).is_err(), "longer than the most that was asked for");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FileBytes {
    path: PathBuf,
    bytes: Cow<'static, [u8]>,
}

impl FileBytes {
    /// Reads a whole file of at most `max_bytes`. Nothing is waited for: a named pipe or a device is refused before it is
    /// opened.
    ///
    /// # Errors
    /// [`MemError::NotRegular`], [`MemError::TooLong`]; [`MemError::Changed`] where the file grew or shrank while it was
    /// read; [`MemError::File`] where the system cannot read it.
    pub fn read(path: &Path, max_bytes: u64) -> Result<Self, MemError> {
        let failed = |source| MemError::File { path: path.to_owned(), source };
        let (file, metadata) = open_regular(path)?;
        if metadata.len() > max_bytes {
            return Err(MemError::TooLong { path: path.to_owned(), max_bytes });
        }
        let capacity = usize::try_from(metadata.len()).map_or(0, |bytes| bytes.saturating_add(1));
        let read = Self::collect(&file, path, max_bytes, Vec::with_capacity(capacity))?;
        // Files that the system makes up as they are read say 0 before and after.
        if file.metadata().map_err(failed)?.len() != metadata.len() {
            let problem = "it grew or shrank while it was read".to_owned();
            return Err(MemError::Changed { path: path.to_owned(), problem });
        }
        Ok(read)
    }

    /// Reads a stream of at most `max_bytes` to its end; `label` is what errors call it.
    ///
    /// # Errors
    /// [`MemError::TooLong`] as soon as more has come; [`MemError::File`] where reading fails.
    pub fn read_from(stream: impl Read, label: &Path, max_bytes: u64) -> Result<Self, MemError> {
        Self::collect(stream, label, max_bytes, Vec::new())
    }

    fn collect(
        stream: impl Read,
        label: &Path,
        max_bytes: u64,
        mut bytes: Vec<u8>,
    ) -> Result<Self, MemError> {
        let read = stream.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|source| MemError::File { path: label.to_owned(), source })?;
        if bytes.len() as u64 > max_bytes {
            return Err(MemError::TooLong { path: label.to_owned(), max_bytes });
        }
        Ok(FileBytes { path: label.to_owned(), bytes: Cow::Owned(bytes) })
    }

    /// Bytes of the program itself, under a name for messages.
    pub fn from_static(bytes: &'static [u8], label: &str) -> Self {
        FileBytes { path: label.into(), bytes: Cow::Borrowed(bytes) }
    }

    /// The contents.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The contents, to keep.
    pub fn into_vec(self) -> Vec<u8> {
        self.bytes.into_owned()
    }

    /// The file's path, or the label.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Opens a regular file, and nothing else: what a path names (through links, too) is asked before it is opened, because
/// opening a device may do something, and again of what was opened, because a name may change hands in between.
pub(crate) fn open_regular(path: &Path) -> Result<(File, Metadata), MemError> {
    let failed = |source| MemError::File { path: path.to_owned(), source };
    check_regular(path, &std::fs::metadata(path).map_err(failed)?)?;
    let mut options = File::options();
    // A pipe that took the file's place must not hold the caller up either, nor a terminal become this process's own.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, libc::O_NONBLOCK | libc::O_NOCTTY);
    let file = options.read(true).open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    check_regular(path, &metadata)?;
    Ok((file, metadata))
}

fn check_regular(path: &Path, metadata: &Metadata) -> Result<(), MemError> {
    if metadata.is_file() {
        return Ok(());
    }
    let problem = if metadata.is_dir() {
        "is a directory, not a regular file"
    } else {
        "is a pipe, socket or device, not a regular file; copy what it holds into one"
    };
    Err(MemError::NotRegular { path: path.to_owned(), problem })
}

#[cfg(test)]
mod tests {
    use std::io::{Seek, Write};

    use super::*;

    #[test]
    fn at_most_so_many_bytes_are_read() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b"twelve bytes").unwrap();
        assert_eq!(FileBytes::read(file.path(), 12).unwrap().into_vec(), b"twelve bytes");
        assert!(matches!(FileBytes::read(file.path(), 11), Err(MemError::TooLong { max_bytes: 11, .. })));
        file.as_file().set_len(0).unwrap();
        assert_eq!(FileBytes::read(file.path(), 0).unwrap().bytes(), b"");
        assert!(FileBytes::read(Path::new("/no/such/file"), 1).is_err());
        // A stream has no length to ask for; this one has no end.
        let endless = FileBytes::read_from(std::io::repeat(b'a'), Path::new("stdin"), 1 << 20);
        assert!(matches!(endless, Err(MemError::TooLong { .. })));
        assert_eq!(FileBytes::from_static(b"program", "embedded").bytes(), b"program");
    }

    /// A file that a file descriptor of this test makes longer whenever it is read.
    struct Growing(File);

    impl Read for Growing {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let at = self.0.stream_position()?;
            self.0.seek(std::io::SeekFrom::End(0))?;
            self.0.write_all(&[b'x'; 100])?;
            self.0.seek(std::io::SeekFrom::Start(at))?;
            let count = out.len().min(10);
            self.0.read(&mut out[..count])
        }
    }

    #[test]
    fn what_grows_as_it_is_read_ends_at_the_limit() {
        let read = FileBytes::read_from(Growing(tempfile::tempfile().unwrap()), Path::new("log"), 1000);
        assert!(matches!(read, Err(MemError::TooLong { max_bytes: 1000, .. })));
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        use std::os::unix::ffi::OsStrExt;
        let folder = tempfile::tempdir().unwrap();
        let (pipe, link) = (folder.path().join("pipe"), folder.path().join("link"));
        let name = std::ffi::CString::new(pipe.as_os_str().as_bytes()).unwrap();
        // SAFETY: a name that ends with a zero, which the call only reads.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for path in [pipe.as_path(), &link, folder.path(), Path::new("/dev/zero"), Path::new("/dev/null")] {
            let refused = FileBytes::read(path, 1 << 20);
            assert!(matches!(refused, Err(MemError::NotRegular { .. })), "{}", path.display());
            assert!(crate::MappedFile::open(path).is_err(), "{}", path.display());
        }
    }
}
