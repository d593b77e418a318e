//! The layout: a container's header, and the header of each entry. Numbers are little-endian.

/// How a container begins.
const MAGIC: u32 = 0xBA55_ED50;
/// Bytes of its header: magic, version (2), bytes of the header (2), bytes of all entries (8).
pub(super) const HEADER_BYTES: usize = 16;
/// Bytes that an entry's header has at least.
const ENTRY_BYTES: usize = 64;

/// `kind` of an entry of PTX.
pub(super) const PTX: u16 = 1;

/// One entry.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) kind: u16,
    /// Such as 80.
    pub(super) architecture: u32,
    pub(super) flags: u64,
    /// Bytes of the payload before it was compressed; 0 where it was not.
    pub(super) original_bytes: u64,
    /// The payload, without the bytes that fill it up.
    pub(super) payload: &'a [u8],
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_le_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_le_bytes)
}

fn double(bytes: &[u8], at: usize) -> Option<u64> {
    array(bytes, at).map(u64::from_le_bytes)
}

/// Bytes of the whole container, from its header.
pub(super) fn container_bytes(header: &[u8]) -> Option<usize> {
    if word(header, 0)? != MAGIC || usize::from(half(header, 6)?) < HEADER_BYTES {
        return None;
    }
    let entries = usize::try_from(double(header, 8)?).ok()?;
    let bytes = entries.checked_add(usize::from(half(header, 6)?))?;
    isize::try_from(bytes).is_ok().then_some(bytes)
}

/// Every entry, or nothing where the container ends before they do.
pub(super) fn all(container: &[u8]) -> Option<Vec<Entry<'_>>> {
    let end = container_bytes(container)?;
    let container = container.get(..end)?;
    let mut at = usize::from(half(container, 6)?);
    let mut entries = Vec::new();
    while at < end {
        let rest = container.get(at..)?;
        let header_bytes = usize::try_from(word(rest, 4)?).ok()?;
        if header_bytes < ENTRY_BYTES {
            return None;
        }
        let payload_bytes = usize::try_from(double(rest, 8)?).ok()?;
        let entry_bytes = header_bytes.checked_add(payload_bytes)?;
        let payload = rest.get(header_bytes..entry_bytes)?;
        // What is compressed is filled up to a multiple of 8.
        let compressed_bytes = usize::try_from(word(rest, 16)?).ok()?;
        let payload = if compressed_bytes == 0 { payload } else { payload.get(..compressed_bytes)? };
        entries.push(Entry {
            kind: half(rest, 0)?,
            architecture: word(rest, 28)?,
            flags: double(rest, 40)?,
            original_bytes: double(rest, 56)?,
            payload,
        });
        at += entry_bytes;
    }
    Some(entries)
}
