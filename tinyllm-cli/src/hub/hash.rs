//! Checksums of files.

use std::{fs::File, io::Read, path::Path};

use anyhow::Context;
use sha2::{Digest, Sha256};

/// A file's sha256 in hexadecimal digits.
pub(super) fn sha256(path: &Path) -> anyhow::Result<String> {
    let name = || path.display().to_string();
    let mut file = File::open(path).with_context(name)?;
    let bar = crate::output::progress::bytes(format!(
        "checking {}",
        path.file_name().unwrap_or_default().to_string_lossy()
    ));
    bar.set_length(file.metadata().with_context(name)?.len());
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).with_context(name)? {
            0 => break,
            count => {
                hash.update(&buffer[..count]);
                bar.inc(count as u64);
            }
        }
    }
    bar.finish_and_clear();
    Ok(hex(&hash.finalize()))
}

/// The sha256 of a text, as the name of a file.
pub(super) fn sha256_of(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
