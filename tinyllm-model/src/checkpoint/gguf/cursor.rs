//! Reads a header front to back through a buffer: little-endian numbers and length-prefixed strings, never past the end.
//!
//! Errors are sentences without a field; the caller adds the field that it was reading.

use std::ops::Range;

use tinyllm_mem::MappedFile;

/// Bytes of metadata and tensor infos together. The largest vocabularies in use (260,000 tokens with merges) take 15
/// MiB.
const MAX_HEADER_BYTES: usize = 128 << 20;

/// What is wrong at the cursor, for the `problem` of an error.
pub(super) type Fault = String;

/// Bytes read at a time.
const READ_BYTES: usize = 256 << 10;

/// A position in a header.
pub(super) struct Cursor<'a> {
    file: &'a MappedFile,
    /// What has been read of it: its beginning.
    bytes: Vec<u8>,
    at: usize,
    /// Where the header ends at the latest.
    limit: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(file: &'a MappedFile) -> Self {
        Cursor { file, bytes: Vec::new(), at: 0, limit: file.len().min(MAX_HEADER_BYTES) }
    }

    /// Bytes from the start of the file.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// The file's beginning, up to this position at least.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The file's beginning, up to this position.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.truncate(self.at);
        self.bytes.shrink_to_fit();
        self.bytes
    }

    fn left(&self) -> usize {
        self.limit - self.at
    }

    /// The next `len` bytes, as a range of the file.
    pub(super) fn skip(&mut self, len: u64) -> Result<Range<usize>, Fault> {
        let left = self.left();
        match usize::try_from(len) {
            Ok(len) if len <= left => {
                let start = self.at;
                self.read_to(start + len)?;
                self.at += len;
                Ok(start..self.at)
            }
            _ if self.limit < self.file.len() => {
                Err(format!("the header is larger than {} MiB", MAX_HEADER_BYTES >> 20))
            }
            _ => Err(format!(
                "needs {len} bytes, and the file ends after {left} more: it is cut short or damaged"
            )),
        }
    }

    /// Reads the file up to `end`, which is within the limit.
    fn read_to(&mut self, end: usize) -> Result<(), Fault> {
        let held = self.bytes.len();
        if end <= held {
            return Ok(());
        }
        self.bytes.resize(end.max(held + READ_BYTES).min(self.limit), 0);
        self.file.read_at(held, &mut self.bytes[held..]).map_err(|error| error.to_string())
    }

    /// Checks that `count` things of at least `min_bytes` each can follow, before anything is reserved for them.
    pub(super) fn check_count(&self, count: u64, min_bytes: u64, cap: u64) -> Result<usize, Fault> {
        if count > cap {
            return Err(format!("a count of {count} is above the limit of {cap}"));
        }
        let (needed, left) = (count.saturating_mul(min_bytes), self.left());
        match usize::try_from(count) {
            Ok(count) if needed <= left as u64 => Ok(count),
            _ => Err(format!(
                "a count of {count} needs at least {needed} bytes, and {left} are left: the file is cut short or damaged"
            )),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let range = self.skip(N as u64)?;
        Ok(self.bytes[range].first_chunk().copied().unwrap_or([0; N]))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_le_bytes)
    }

    /// A string of at most `cap` bytes, checked to be UTF-8, as a range of the file.
    pub(super) fn text(&mut self, cap: u64) -> Result<Range<usize>, Fault> {
        let len = self.u64()?;
        if len > cap {
            return Err(format!("a string of {len} bytes is longer than the limit of {cap}"));
        }
        let range = self.skip(len)?;
        self.utf8(range.clone())?;
        Ok(range)
    }

    /// A copy of such a string.
    pub(super) fn string(&mut self, cap: u64) -> Result<String, Fault> {
        let range = self.text(cap)?;
        self.utf8(range).map(str::to_owned)
    }

    fn utf8(&self, range: Range<usize>) -> Result<&str, Fault> {
        std::str::from_utf8(&self.bytes[range])
            .map_err(|error| format!("a string that is not UTF-8: {error}"))
    }
}

/// A name out of a file as messages show it: escaped, and cut where it is long.
pub(super) fn shown(name: &str) -> String {
    const SHOWN_CHARS: usize = 80;
    let mut text: String = name.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if name.chars().nth(SHOWN_CHARS).is_some() {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_past_the_end() {
        let file = MappedFile::from_static(&[1, 0, 0, 0, 9], "header");
        let mut cursor = Cursor::new(&file);
        assert_eq!(cursor.u32(), Ok(1));
        assert!(cursor.u32().is_err());
        assert!(cursor.skip(u64::MAX).is_err());
        assert_eq!(cursor.skip(1), Ok(4..5));
        assert!(cursor.skip(1).is_err());
    }

    #[test]
    fn counts_are_held_against_the_bytes_left() {
        let file = MappedFile::from_static(&[0; 100], "header");
        let cursor = Cursor::new(&file);
        assert_eq!(cursor.check_count(12, 8, 1 << 20), Ok(12));
        assert!(cursor.check_count(13, 8, 1 << 20).is_err());
        assert!(cursor.check_count(u64::MAX, 8, u64::MAX).is_err());
        assert!(cursor.check_count(11, 1, 10).is_err());
    }

    #[test]
    fn names_are_escaped_and_cut() {
        assert_eq!(shown("a\x1b[2J\n"), "a\\u{1b}[2J\\n");
        assert_eq!(shown(&"x".repeat(100)), format!("{}…", "x".repeat(80)));
    }
}
