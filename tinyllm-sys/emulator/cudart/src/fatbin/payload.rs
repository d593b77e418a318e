//! An entry's text: as it is, out of LZ4 (nvcc before 12.8, `--compress-mode=speed` since) or out of zstd.

use std::ffi::CString;

use super::{Unusable, entries::Entry};

/// Bits of an entry's flags that say how its payload is compressed.
const LZ4: u64 = 1 << 13;
const ZSTD: u64 = 1 << 15;

/// The longest text that is read. The PTX of a large library is some tens of megabytes.
const MAX_BYTES: u64 = 1 << 30;

/// The text up to its end, which a 0 marks.
pub(super) fn text(entry: &Entry<'_>) -> Result<CString, Unusable> {
    let refused = Unusable::Compression { flags: entry.flags };
    let bytes = match (entry.flags & LZ4 != 0, entry.flags & ZSTD != 0) {
        (false, false) => entry.payload.to_vec(),
        (true, true) => return Err(refused),
        (is_lz4, _) => {
            let original = Some(entry.original_bytes).filter(|bytes| *bytes <= MAX_BYTES);
            let original =
                original.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| refused.clone())?;
            let mut out = vec![0; original];
            let written = if is_lz4 {
                lz4_flex::block::decompress_into(entry.payload, &mut out).ok()
            } else {
                ruzstd::decoding::FrameDecoder::new().decode_all(entry.payload, &mut out).ok()
            };
            if written != Some(original) {
                return Err(refused);
            }
            out
        }
    };
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    CString::new(bytes.get(..end).unwrap_or_default()).map_err(|_| Unusable::Damaged)
}
