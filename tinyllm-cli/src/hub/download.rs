//! One file: resumed where a part of it is here, checked, and only then given its name.

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use sha2::{Digest, Sha256};

use super::http::Client;

/// Downloads `url_path` to `path`, unless it is there.
pub(super) fn fetch(client: &Client, url_path: &str, path: &Path) -> anyhow::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let part = beside(path, "part");
    let from = fs::metadata(&part).map_or(0, |metadata| metadata.len());
    let (response, checksum) = client.get(url_path, from)?;
    let resumed = from > 0 && response.status().as_u16() == 206;
    let length: Option<u64> = response
        .headers()
        .get("content-length")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.parse().ok());
    let name = path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into());
    let bar = crate::models::progress(name);
    let start = if resumed { from } else { 0 };
    bar.set_length(start + length.unwrap_or(0));
    bar.set_position(start);
    let mut file = if resumed { OpenOptions::new().append(true).open(&part) } else { File::create(&part) }
        .with_context(|| part.display().to_string())?;
    let mut reader = response.into_body().into_reader();
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0u64;
    loop {
        let count = reader
            .read(&mut buffer)
            .with_context(|| format!("{url_path}: the connection broke; pull again to go on from there"))?;
        if count == 0 {
            break;
        }
        file.write_all(&buffer[..count]).with_context(|| part.display().to_string())?;
        received += count as u64;
        bar.inc(count as u64);
    }
    if length.is_some_and(|length| received < length) {
        bail!("{url_path}: the connection broke; pull again to go on from there");
    }
    file.sync_all()?;
    drop(file);
    if let Some(expected) = checksum {
        let found = sha256(&part)?;
        if found != expected {
            fs::remove_file(&part)?;
            bail!("{url_path}: its sha256 is {found}, the hub says {expected}; it was removed, pull again");
        }
    }
    bar.finish_and_clear();
    fs::rename(&part, path).with_context(|| path.display().to_string())
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn sha256(path: &Path) -> anyhow::Result<String> {
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
