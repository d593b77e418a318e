//! A model opened whole, from a directory or a .gguf file: configuration, checkpoint, tokenizer, chat template, notes.
//! And loaded whole: an engine with its tokenizer and template.
//!
//! Each part's own reader is in its module. Nothing here prints: notes are given as text, errors as [`ModelError`].
//!
//! [`ModelError`]: crate::ModelError

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use tinyllm_mem::HostMemory;

use crate::{
    Engine, ModelConfig, Result, Tokenizer,
    chat::{ChatTemplate, TemplateSource},
    checkpoint::{
        Checkpoint, GgufCheckpoint, HuggingFaceCheckpoint,
        gguf::{self, Gguf},
    },
    engine::{EngineOptions, LoadProgress},
    tokenizer::SpecialTokens,
};

/// A model's files, opened and checked. Weights and tokenizer are not read yet.
pub struct ModelFiles {
    weights: Weights,
    text: TextFiles,
}

enum Weights {
    HuggingFace(Box<HuggingFaceCheckpoint>),
    Gguf(Box<GgufCheckpoint>),
}

/// The contents of a model's files, for a model that is part of a program.
#[derive(Clone, Copy)]
pub struct EmbeddedFiles {
    /// What errors call the model.
    pub name: &'static str,
    /// config.json.
    pub config: &'static [u8],
    /// model.safetensors.
    pub safetensors: &'static [u8],
    /// tokenizer.json.
    pub tokenizer: &'static [u8],
}

impl ModelFiles {
    /// Opens a directory with config.json and safetensors, or a GGUF file, whatever its name.
    ///
    /// # Errors
    /// Whatever is wrong with configuration or weights, naming file and field. Tokenizer and template are read on
    /// request.
    pub fn open(path: &Path) -> Result<Self> {
        if gguf::is_gguf(path) {
            let gguf = Arc::new(Gguf::open(path)?);
            let weights = Weights::Gguf(Box::new(GgufCheckpoint::new(Arc::clone(&gguf))?));
            return Ok(ModelFiles { weights, text: TextFiles::new(path, Source::Gguf(gguf)) });
        }
        let weights = Weights::HuggingFace(Box::new(HuggingFaceCheckpoint::open(path)?));
        Ok(ModelFiles { weights, text: TextFiles::new(path, Source::Directory) })
    }

    /// A model that is part of the program. It has no chat template.
    ///
    /// # Errors
    /// As [`ModelFiles::open`].
    pub fn embedded(files: EmbeddedFiles) -> Result<Self> {
        let checkpoint = HuggingFaceCheckpoint::from_memory(files.config, files.safetensors, files.name)?;
        Ok(ModelFiles {
            weights: Weights::HuggingFace(Box::new(checkpoint)),
            text: TextFiles::new(Path::new(files.name), Source::Embedded(files.tokenizer)),
        })
    }

    /// The directory or file; the name of an embedded model.
    pub fn path(&self) -> &Path {
        self.text.path()
    }

    /// The weights.
    pub fn checkpoint(&self) -> &dyn Checkpoint {
        match &self.weights {
            Weights::HuggingFace(checkpoint) => checkpoint.as_ref(),
            Weights::Gguf(checkpoint) => checkpoint.as_ref(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &ModelConfig {
        self.checkpoint().config()
    }

    /// The config.json of a directory, for writers that keep what they do not change; a GGUF has none.
    pub fn config_json(&self) -> Option<&serde_json::Value> {
        match &self.weights {
            Weights::HuggingFace(checkpoint) => Some(checkpoint.config_json()),
            Weights::Gguf(_) => None,
        }
    }

    /// Notes for the user: values in the files that are probably a mistake or are not used, a sentence each.
    pub fn notes(&self) -> &[String] {
        self.checkpoint().notes()
    }

    /// Tokenizer and chat template.
    pub fn text(&self) -> &TextFiles {
        &self.text
    }

    /// The tokens that end an answer: those that the configuration names and those that the tokenizer's files name, in
    /// the order of their ids.
    pub fn end_token_ids(&self, tokenizer: &Tokenizer) -> Vec<u32> {
        let mut ids = [&self.config().eos_token_ids, tokenizer.end_token_ids()].concat();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Loads the model whole. The tokenizer, which for a small model takes longer than the weights, is read on a thread
    /// of its own.
    ///
    /// # Errors
    /// A tokenizer or a template that is missing or malformed; otherwise as [`Engine::load`].
    pub fn load(
        &self,
        options: &EngineOptions,
        memory: &HostMemory,
        progress: &(dyn Fn(LoadProgress<'_>) + Sync),
    ) -> Result<Model> {
        let (tokenizer, engine) =
            join(|| self.text.tokenizer(), || Engine::load(self.checkpoint(), options, memory, progress))?;
        let template = self.text.template_source()?.as_ref().map(ChatTemplate::new).transpose()?;
        let end_token_ids = self.end_token_ids(&tokenizer);
        Ok(Model { engine, tokenizer, template, end_token_ids })
    }
}

/// A loaded model with its tokenizer and chat template.
#[non_exhaustive]
pub struct Model {
    /// The engine.
    pub engine: Engine,
    /// The tokenizer.
    pub tokenizer: Tokenizer,
    /// The chat template; `None` where the model has none.
    pub template: Option<ChatTemplate>,
    /// The tokens that end an answer.
    pub end_token_ids: Vec<u32>,
}

/// The files that text needs: tokenizer, special tokens and chat template. The weights need not be there.
pub struct TextFiles {
    path: PathBuf,
    source: Source,
}

enum Source {
    Directory,
    Gguf(Arc<Gguf>),
    /// A tokenizer.json.
    Embedded(&'static [u8]),
}

impl TextFiles {
    fn new(path: &Path, source: Source) -> Self {
        TextFiles { path: path.to_owned(), source }
    }

    /// Opens a directory, which need not hold weights, or a GGUF file. The files of a directory are read on
    /// request.
    ///
    /// # Errors
    /// A GGUF file that is damaged.
    pub fn open(path: &Path) -> Result<Self> {
        let source = match gguf::is_gguf(path) {
            true => Source::Gguf(Arc::new(Gguf::open(path)?)),
            false => Source::Directory,
        };
        Ok(TextFiles::new(path, source))
    }

    /// The directory or file; the name of an embedded model.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory; `None` for other models.
    pub fn directory(&self) -> Option<&Path> {
        matches!(self.source, Source::Directory).then_some(&self.path)
    }

    /// The GGUF file; `None` for other models.
    pub fn gguf(&self) -> Option<&Gguf> {
        match &self.source {
            Source::Gguf(gguf) => Some(gguf),
            Source::Directory | Source::Embedded(_) => None,
        }
    }

    /// Reads the tokenizer.
    ///
    /// # Errors
    /// As [`Tokenizer::from_directory`] and [`Tokenizer::from_gguf`].
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        match &self.source {
            Source::Directory => Tokenizer::from_directory(&self.path),
            Source::Gguf(gguf) => Tokenizer::from_gguf(gguf),
            Source::Embedded(json) => Tokenizer::from_json(json, &self.path),
        }
    }

    /// The special tokens that a template may name.
    ///
    /// # Errors
    /// A file that cannot be read or is malformed.
    pub fn special_tokens(&self) -> Result<SpecialTokens> {
        match &self.source {
            Source::Directory => SpecialTokens::from_directory(&self.path),
            Source::Gguf(gguf) => SpecialTokens::from_gguf(&gguf.metadata()),
            Source::Embedded(_) => Ok(SpecialTokens::default()),
        }
    }

    /// The chat template; `None` where there is none.
    ///
    /// # Errors
    /// As [`TemplateSource::from_directory`] and [`TemplateSource::from_gguf`].
    pub fn template_source(&self) -> Result<Option<TemplateSource>> {
        match &self.source {
            Source::Directory => TemplateSource::from_directory(&self.path),
            Source::Gguf(gguf) => TemplateSource::from_gguf(gguf),
            Source::Embedded(_) => Ok(None),
        }
    }
}

/// Loads weights on this thread while another one reads text files. An error of `read` is given before one of `load`; a
/// panic in `read` goes on here.
///
/// # Errors
/// Those of `read` and `load`.
pub fn join<T: Send, L, E: Send>(
    read: impl FnOnce() -> Result<T, E> + Send,
    load: impl FnOnce() -> Result<L, E>,
) -> Result<(T, L), E> {
    std::thread::scope(|scope| {
        let read = scope.spawn(read);
        let loaded = load();
        let read = read.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        Ok((read, loaded?))
    })
}
