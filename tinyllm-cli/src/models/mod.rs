//! What a MODEL on the command line means: a path, a hub name, an alias or the embedded model; and why it cannot be
//! opened.

use std::path::PathBuf;

use anyhow::{Context, bail};
use tinyllm_model::{ModelError, ModelFiles, Tokenizer, checkpoint::gguf, files::TextFiles};

pub(crate) mod alias;
mod diagnosis;
mod embedded;
mod head;
mod installed;
pub(crate) mod names;
pub(crate) mod presets;

pub(crate) use self::installed::installed;

/// What a MODEL may be, as help says it.
pub(crate) const MODEL: &str =
    "A directory, a .gguf file, a hub name (org/name[:Q4_K_M]) or an alias (smollm2)";

/// Opens the model that `name` says, and prints the notes on its files.
pub(crate) fn open(name: &str) -> anyhow::Result<ModelFiles> {
    let path = resolve(name)?;
    let files = ModelFiles::open(&path).map_err(|error| diagnosed(error, diagnosis::of(&path)))?;
    for note in files.notes() {
        crate::output::note(&format!("note: {note}"));
    }
    Ok(files)
}

/// Opens tokenizer and template files only; a directory need not hold weights.
pub(crate) fn open_text(name: &str) -> anyhow::Result<TextFiles> {
    let path = resolve(name)?;
    TextFiles::open(&path).map_err(|error| diagnosed(error, diagnosis::of(&path)))
}

/// The model that is part of the program.
pub(crate) fn open_embedded() -> anyhow::Result<ModelFiles> {
    crate::output::note(&format!(
        "no MODEL named: using the built-in tiny-austen, which only babbles; try `tinyllm run smollm2`{}",
        names::here()
    ));
    Ok(ModelFiles::embedded(embedded::FILES)?)
}

/// The model's name in messages.
pub(crate) fn name(files: &ModelFiles) -> String {
    let path = files.path();
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into())
}

/// Reads a model's tokenizer.
pub(crate) fn tokenizer(files: &TextFiles) -> anyhow::Result<Tokenizer> {
    let diagnosis = || files.directory().and_then(diagnosis::of_tokenizer);
    files.tokenizer().map_err(|error| diagnosed(error, diagnosis()))
}

/// The diagnosis where there is one, else the error.
fn diagnosed(error: ModelError, diagnosis: Option<String>) -> anyhow::Error {
    diagnosis.map_or_else(|| error.into(), anyhow::Error::msg)
}

/// The path that a MODEL stands for.
fn resolve(name: &str) -> anyhow::Result<PathBuf> {
    let path = PathBuf::from(name);
    if path.exists() {
        if path.extension().is_some_and(|extension| extension == "safetensors") {
            bail!(
                "{}: a lone .safetensors file says nothing of the model; pass the directory that also holds its \
                 config.json",
                path.display()
            );
        }
        if path.is_file() && !gguf::is_gguf(&path) {
            if let Some(problem) = diagnosis::of(&path) {
                bail!(problem);
            }
            bail!("{}: not a model; pass a directory with config.json, or a .gguf file", path.display());
        }
        return Ok(diagnosis::only_gguf(&path).unwrap_or(path));
    }
    if name == alias::SMOLLM2 {
        return alias::smollm2().context("fetching smollm2");
    }
    if let Some(hub_name) = crate::hub::HubName::parse(name) {
        return match hub_name.local()? {
            Some(path) => Ok(path),
            None => hub_name.pull(None, false),
        };
    }
    bail!(names::unknown(name))
}
