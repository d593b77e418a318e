//! What a MODEL on the command line is, and its parts: checkpoint, tokenizer, chat template.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use indicatif::ProgressBar;
use tinyllm_model::{
    ModelError, Tokenizer,
    chat::TemplateSource,
    checkpoint::{Checkpoint, GgufCheckpoint, HuggingFaceCheckpoint, gguf, gguf::Gguf},
    tokenizer::SpecialTokens,
};

pub(crate) mod alias;
pub(crate) mod completion;
mod diagnosis;
mod embedded;
mod head;
pub(crate) mod names;

/// What help says of a MODEL.
pub(crate) const MODEL: &str =
    "A directory, a .gguf file, a hub name (org/name[:Q4_K_M]) or an alias (smollm2)";

/// A model: a directory or a GGUF file.
pub(crate) struct Model {
    path: PathBuf,
    kind: Kind,
}

enum Kind {
    /// Without a checkpoint where its tokenizer alone is wanted.
    Directory(Option<Box<HuggingFaceCheckpoint>>),
    Gguf(Box<GgufCheckpoint>),
    /// Part of the program.
    Embedded(Box<HuggingFaceCheckpoint>),
    /// A GGUF whose vocabulary alone is wanted.
    Vocabulary(Gguf),
}

impl Model {
    /// Opens what `name` says.
    pub(crate) fn open(name: &str) -> anyhow::Result<Self> {
        let path = resolve(name)?;
        let kind = if gguf::is_gguf(&path) {
            GgufCheckpoint::open(&path).map(|checkpoint| Kind::Gguf(Box::new(checkpoint)))
        } else {
            HuggingFaceCheckpoint::open(&path).map(|checkpoint| Kind::Directory(Some(Box::new(checkpoint))))
        };
        let kind = kind.map_err(|error| diagnosed(error, diagnosis::of(&path)))?;
        let model = Model { path, kind };
        for note in model.checkpoint()?.notes() {
            crate::output::note(&format!("note: {note}"));
        }
        Ok(model)
    }

    /// Opens a model of which only the tokenizer or the template is wanted: a directory need hold nothing else.
    pub(crate) fn open_vocabulary(name: &str) -> anyhow::Result<Self> {
        let path = resolve(name)?;
        let kind = if gguf::is_gguf(&path) {
            Kind::Vocabulary(Gguf::open(&path).map_err(|error| diagnosed(error, diagnosis::of(&path)))?)
        } else {
            Kind::Directory(None)
        };
        Ok(Model { path, kind })
    }

    /// The model that is part of the program.
    pub(crate) fn embedded() -> anyhow::Result<Self> {
        crate::output::note(&format!(
            "no MODEL named: using the built-in tiny-austen, which only babbles; try `tinyllm run smollm2`{}",
            names::here()
        ));
        Ok(Model { path: embedded::NAME.into(), kind: Kind::Embedded(Box::new(embedded::checkpoint()?)) })
    }

    /// What messages call it.
    pub(crate) fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(|| self.path.display().to_string(), |name| name.to_string_lossy().into())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The config.json it came with.
    pub(crate) fn config_json(&self) -> Option<&serde_json::Value> {
        match &self.kind {
            Kind::Directory(checkpoint) => checkpoint.as_ref().map(|checkpoint| checkpoint.config_json()),
            Kind::Gguf(_) | Kind::Embedded(_) | Kind::Vocabulary(_) => None,
        }
    }

    pub(crate) fn checkpoint(&self) -> anyhow::Result<&dyn Checkpoint> {
        match &self.kind {
            Kind::Directory(checkpoint) => match checkpoint {
                Some(checkpoint) => Ok(checkpoint.as_ref()),
                None => bail!("{}: only its tokenizer was opened", self.path.display()),
            },
            Kind::Gguf(checkpoint) => Ok(checkpoint.as_ref()),
            Kind::Embedded(checkpoint) => Ok(checkpoint.as_ref()),
            Kind::Vocabulary(_) => bail!("{}: only its vocabulary was opened", self.path.display()),
        }
    }

    pub(crate) fn tokenizer(&self) -> anyhow::Result<Tokenizer> {
        Ok(match &self.kind {
            Kind::Directory(_) => Tokenizer::from_directory(&self.path)
                .map_err(|error| diagnosed(error, diagnosis::of_tokenizer(&self.path)))?,
            Kind::Embedded(_) => embedded::tokenizer()?,
            Kind::Gguf(checkpoint) => Tokenizer::from_gguf(checkpoint.gguf())?,
            Kind::Vocabulary(gguf) => Tokenizer::from_gguf(gguf)?,
        })
    }

    /// The special tokens that a template may name.
    pub(crate) fn special_tokens(&self) -> anyhow::Result<SpecialTokens> {
        Ok(match &self.kind {
            Kind::Directory(_) => SpecialTokens::from_directory(&self.path)?,
            Kind::Embedded(_) => SpecialTokens::default(),
            Kind::Gguf(checkpoint) => SpecialTokens::from_gguf(&checkpoint.gguf().metadata())?,
            Kind::Vocabulary(gguf) => SpecialTokens::from_gguf(&gguf.metadata())?,
        })
    }

    /// A text of a GGUF's metadata.
    pub(crate) fn gguf_text(&self, key: &str) -> Option<String> {
        let gguf = match &self.kind {
            Kind::Gguf(checkpoint) => checkpoint.gguf(),
            Kind::Vocabulary(gguf) => gguf,
            Kind::Directory(_) | Kind::Embedded(_) => return None,
        };
        gguf.metadata().string(key).ok().flatten().map(str::to_owned)
    }

    pub(crate) fn template_source(&self) -> anyhow::Result<Option<TemplateSource>> {
        Ok(match &self.kind {
            Kind::Directory(_) => TemplateSource::from_directory(&self.path)?,
            Kind::Embedded(_) => None,
            Kind::Gguf(checkpoint) => TemplateSource::from_gguf(checkpoint.gguf())?,
            Kind::Vocabulary(gguf) => TemplateSource::from_gguf(gguf)?,
        })
    }
}

/// What is known of the cause, in place of the error that it caused.
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

/// Progress in bytes.
pub(crate) fn progress(name: String) -> ProgressBar {
    crate::progress::bar(name, crate::progress::Unit::Bytes)
}
