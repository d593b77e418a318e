//! What the program says, and where: answers on stdout, everything else on stderr.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tinyllm_mem::{Category, Host, Tracking};

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

/// Writes a file beside, then gives it its name: whoever reads it finds all of it or nothing.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> anyhow::Result<()> {
        // Opened here, so that no error names the file by what it is called meanwhile.
        let open = |path: &Path| File::options().write(true).create_new(true).open(path);
        let mut file = tempfile::Builder::new().make_in(folder, open)?;
        file.write_all(bytes)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().with_context(|| path.display().to_string())
}

/// Says something that is not the answer.
pub(crate) fn note(text: &str) {
    // Where stderr is closed there is nobody to tell.
    let _ = writeln!(io::stderr(), "{text}");
}

/// Says why the program failed: causes after what they caused, those that it quotes already only once.
pub(crate) fn complain(error: &anyhow::Error) {
    let mut text = "error".to_owned();
    for cause in error.chain().map(ToString::to_string).filter(|cause| !cause.is_empty()) {
        if !text.ends_with(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    note(&text);
}

/// Whether a reader of stdout went away: it has what it wanted.
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
