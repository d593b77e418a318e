//! One file: resumed from a partial download of the same version, checked, then renamed.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    path::Path,
};

use anyhow::{Context, bail};

use super::{
    hash,
    http::{self, Answer, Client},
    store::{FileRecord, Partial},
};

/// Retries after connections that delivered little.
const RETRIES: usize = 2;

/// Bytes that a connection must deliver for the retry counter to restart.
const PROGRESS_BYTES: u64 = 1 << 20;

/// Downloads `url_path` to `path`, replacing what is there.
pub(super) fn fetch(
    client: &Client,
    url_path: &str,
    partial: &Partial,
    path: &Path,
) -> anyhow::Result<FileRecord> {
    let file_name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut retries = 0;
    loop {
        let had_bytes = partial.bytes();
        match attempt(client, url_path, partial, &file_name)? {
            End::Whole(etag) => return finish(url_path, partial, path, etag),
            End::Broken(_) if partial.bytes() >= had_bytes + PROGRESS_BYTES => retries = 0,
            // A connection without progress is not retried.
            End::Broken(_) if retries < RETRIES && partial.bytes() > had_bytes => retries += 1,
            End::Broken(cause) => {
                return Err(cause).with_context(|| {
                    format!("{url_path}: the connection broke; pull again to go on from there")
                });
            }
        }
    }
}

/// How a connection ended.
enum End {
    /// The file is complete; its etag.
    Whole(Option<String>),
    Broken(io::Error),
}

/// Requests the missing bytes once.
fn attempt(client: &Client, url_path: &str, partial: &Partial, file_name: &str) -> anyhow::Result<End> {
    let known = partial.etag();
    // A part without an etag cannot be resumed.
    let mut from = if known.is_empty() { 0 } else { partial.bytes() };
    let mut answer = client.get(url_path, from)?;
    let fits = answer.extent.first_byte == from && answer.etag.as_deref() == Some(&known);
    if from > 0 && !fits {
        // Another version, or not the requested bytes.
        if answer.extent.first_byte != 0 {
            answer = client.get(url_path, 0)?;
        }
        from = 0;
    }
    let checksum = answer.etag.as_deref().and_then(http::sha256);
    if !answer.extent.has_end && checksum.is_none() {
        bail!("{url_path}: the answer has neither a length nor a checksum, so that it may be incomplete");
    }
    if from == 0 {
        partial.begin(answer.etag.as_deref().unwrap_or_default())?;
    }
    let end = receive(&mut answer, from, partial.path(), file_name)?;
    Ok(end.map_or(End::Whole(answer.etag), End::Broken))
}

/// Appends a body to the part, which has `from` bytes; returns the error that ended it early.
fn receive(
    answer: &mut Answer,
    from: u64,
    part: &Path,
    file_name: &str,
) -> anyhow::Result<Option<io::Error>> {
    let name = || part.display().to_string();
    let bar = crate::output::progress::bytes(file_name.into());
    bar.set_length(from + answer.extent.body_bytes.unwrap_or(0));
    bar.set_position(from);
    let mut file = OpenOptions::new().append(true).create(true).open(part).with_context(name)?;
    let mut buffer = vec![0; 1 << 16];
    let mut received = 0u64;
    let mut broken = None;
    loop {
        match answer.body.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                file.write_all(&buffer[..count]).with_context(name)?;
                received += count as u64;
                bar.inc(count as u64);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                broken = Some(error);
                break;
            }
        }
    }
    bar.finish_and_clear();
    if broken.is_none() && answer.extent.body_bytes.is_some_and(|bytes| received != bytes) {
        broken =
            Some(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ended after {received} bytes")));
    }
    file.sync_all().with_context(name)?;
    Ok(broken)
}

/// Checks the part against the hub's checksum, if there is one, and renames it; a part that does not match is removed.
fn finish(
    url_path: &str,
    partial: &Partial,
    path: &Path,
    etag: Option<String>,
) -> anyhow::Result<FileRecord> {
    let found = hash::sha256(partial.path())?;
    if let Some(expected) = etag.as_deref().and_then(http::sha256)
        && found != expected
    {
        partial.remove();
        bail!("{url_path}: its sha256 is {found}, the hub says {expected}; it was removed, pull again");
    }
    let bytes = File::open(partial.path()).and_then(|file| file.metadata());
    let bytes = bytes.with_context(|| partial.path().display().to_string())?.len();
    fs::rename(partial.path(), path).with_context(|| path.display().to_string())?;
    partial.remove();
    Ok(FileRecord { bytes, etag, sha256: Some(found) })
}
