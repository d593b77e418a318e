//! What the program prints and writes: answers on stdout, everything else on stderr, files whole or not at all.

mod file;
pub(crate) mod numbers;
pub(crate) mod progress;
pub(crate) mod staging;
pub(crate) mod svg;
pub(crate) mod warnings;
mod wording;

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{Map, Value, json};
use tinyllm_mem::{Category, Host, Tracking};

pub(crate) use self::file::write_file;

/// Prints one JSON object and a line end.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value).map_err(io::Error::from)?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(())
}

/// Prints text as it is.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Prints a line on stderr.
pub(crate) fn note(text: &str) {
    // A closed stderr is not an error.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Prints an error with its causes; a cause that the message before already ends with is left out.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = "error".to_owned();
    let say = |cause: &(dyn std::error::Error + 'static)| match cause.downcast_ref() {
        Some(error) => wording::sentence(error),
        None => cause.to_string(),
    };
    for cause in error.chain().map(say).filter(|cause| !cause.is_empty()) {
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    note(&text);
}

/// Whether stdout was closed by its reader, which counts as success.
pub(crate) fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    })
}

/// The memory record as JSON: `{category: {"live_bytes", "peak_bytes", "count"}}`.
pub(crate) fn memory_json(tracking: &Tracking<Host>) -> Value {
    let report = tracking.report();
    let entry = |category: &Category| {
        let usage = report.categories.get(category).copied().unwrap_or_default();
        json!({"live_bytes": usage.live_bytes, "peak_bytes": usage.peak_bytes, "count": usage.count})
    };
    let used = Category::ALL.iter().filter(|category| report.categories.contains_key(category));
    Value::Object(used.map(|category| (category.name().to_owned(), entry(category))).collect::<Map<_, _>>())
}
