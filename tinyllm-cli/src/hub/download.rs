//! One file: resumed where a part of the same version is here, checked, and only then given its name.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use super::http::{Answer, Client};

/// Downloads `url_path` to `path`, replacing what is there, and returns its bytes.
pub(super) fn fetch(client: &Client, url_path: &str, path: &Path) -> anyhow::Result<u64> {
    let (part, tag) = (beside(path, "part"), beside(path, "part.etag"));
    let mut from = fs::metadata(&part).map_or(0, |metadata| metadata.len());
    let known_tag = fs::read_to_string(&tag).unwrap_or_default();
    let mut answer = client.get(url_path, from)?;
    // Another version, or a part that is no beginning of this one, is no use.
    let fits =
        answer.first_byte == from && !known_tag.is_empty() && answer.etag.as_deref() == Some(&known_tag);
    if from > 0 && !fits {
        if answer.first_byte != 0 {
            answer = client.get(url_path, 0)?;
        }
        from = 0;
    }
    write_file(&tag, answer.etag.as_deref().unwrap_or_default().as_bytes())?;
    receive(answer.body_length, &mut *answer.body, from, &part, url_path)?;
    verify(&answer, &part, url_path)?;
    let bytes = fs::metadata(&part).with_context(|| part.display().to_string())?.len();
    fs::rename(&part, path).with_context(|| path.display().to_string())?;
    // Left behind, it would be ignored.
    let _ = fs::remove_file(&tag);
    Ok(bytes)
}

/// Appends a body to the part from byte `from` on.
fn receive(
    length: Option<u64>,
    body: &mut dyn Read,
    from: u64,
    part: &Path,
    url_path: &str,
) -> anyhow::Result<()> {
    let name = || part.display().to_string();
    let broke = || format!("{url_path}: the connection broke; pull again to go on from there");
    let bar = crate::models::progress(url_path.rsplit('/').next().unwrap_or_default().into());
    bar.set_length(from + length.unwrap_or(0));
    bar.set_position(from);
    let mut file = if from > 0 { OpenOptions::new().append(true).open(part) } else { File::create(part) }
        .with_context(name)?;
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0u64;
    loop {
        let count = body.read(&mut buffer).with_context(broke)?;
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count]).with_context(name)?;
        received += count as u64;
        bar.inc(count as u64);
    }
    if length.is_some_and(|length| received < length) {
        bail!(broke());
    }
    file.sync_all().with_context(name)?;
    bar.finish_and_clear();
    Ok(())
}

/// Compares the part with the checksum that the hub gave, if it did; what is wrong is removed.
fn verify(answer: &Answer, part: &Path, url_path: &str) -> anyhow::Result<()> {
    let Some(expected) = answer.sha256() else { return Ok(()) };
    let found = sha256(part).with_context(|| part.display().to_string())?;
    if found != expected {
        fs::remove_file(part).with_context(|| part.display().to_string())?;
        bail!("{url_path}: its sha256 is {found}, the hub says {expected}; it was removed, pull again");
    }
    Ok(())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    fs::write(path, bytes).with_context(|| path.display().to_string())
}

fn sha256(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            count => hash.update(&buffer[..count]),
        }
    }
}
