//! Files and stdin as the command line names them: regular files only, and never more bytes than a stated limit.

use std::{io, path::Path, sync::mpsc, time::Duration};

use anyhow::Context;
use serde::de::DeserializeOwned;
use tinyllm_mem::FileBytes;

/// Limit of a prompt, a conversation or a list of messages.
pub(crate) const MAX_PROMPT_BYTES: u64 = 64 << 20;

/// Limit of a text to tokenize or to measure, and of a list of token ids.
pub(crate) const MAX_TEXT_BYTES: u64 = 256 << 20;

/// Limit of a file that is written by hand, and of a file of benchmark results.
pub(crate) const MAX_SMALL_BYTES: u64 = 16 << 20;

/// How long to wait for stdin before a remark is printed.
const PATIENCE: Duration = Duration::from_secs(3);

/// Reads a UTF-8 file.
pub(crate) fn text(path: &Path, max_bytes: u64) -> anyhow::Result<String> {
    utf8(FileBytes::read(path, max_bytes)?)
}

/// Reads and parses a JSON file.
pub(crate) fn json<T: DeserializeOwned>(path: &Path, max_bytes: u64) -> anyhow::Result<T> {
    let file = FileBytes::read(path, max_bytes)?;
    serde_json::from_slice(file.bytes()).with_context(|| path.display().to_string())
}

/// Reads stdin to its end.
pub(crate) fn stdin(max_bytes: u64) -> anyhow::Result<String> {
    utf8(FileBytes::read_from(io::stdin().lock(), Path::new("stdin"), max_bytes)?)
}

/// Runs `wait`, and prints `remark` once if it takes long.
pub(crate) fn patiently<T>(remark: &str, wait: impl FnOnce() -> T) -> T {
    let (done, over) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            if over.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                crate::output::note(remark);
            }
        });
        let result = wait();
        drop(done);
        result
    })
}

fn utf8(file: FileBytes) -> anyhow::Result<String> {
    let name = file.path().display().to_string();
    String::from_utf8(file.into_vec()).with_context(|| format!("{name} is not UTF-8"))
}
