//! Loading that begins with the first token: weights are read where the file holds them until their turn has come.

use tinyllm_kernels::{KernelError, quantize::VanishedGroups};
use tinyllm_mem::HostMemory;

use super::{Engine, EngineOptions, LayerSplit, LoadProgress, pipeline::StageError};
use crate::{ModelError, Result, checkpoint::Checkpoint};

/// Steps in which everything is loaded.
const STEPS: usize = 8;

/// Tokens of a step from which it loads everything: it takes longer than that, and is faster then.
const MANY_TOKENS: usize = 64;

/// How far loading has come.
#[derive(Debug)]
pub(super) enum Lazy {
    /// Nothing is left.
    Done,
    /// No step has run.
    Waiting,
    /// Each step loads this many bytes before it runs.
    Stepping(usize),
}

impl Lazy {
    pub(super) fn new(lazily: bool) -> Self {
        if lazily { Lazy::Waiting } else { Lazy::Done }
    }
}

impl Engine {
    /// As [`Engine::load_on`], but returns at once where the file's weights are W8A16 and in the system's memory already:
    /// they are used there. [`Engine::warm_up`] loads them, and so does each step after the first, an eighth at a time or,
    /// where it is one of a long prompt, all; numbers and planned memory are the same. This is for a short
    /// time to first token: the system maps memory for the weights later.
    ///
    /// # Errors
    /// As [`Engine::load`]; what is wrong with numbers in the file is told by the step that meets it.
    pub fn load_lazily_on<'a>(
        split: impl Into<LayerSplit<'a>>,
        checkpoint: &dyn Checkpoint,
        options: &EngineOptions,
        memory: &HostMemory,
        progress: &(dyn Fn(LoadProgress<'_>) + Sync),
    ) -> Result<Self> {
        let mut engine =
            Self::load_some(&split.into(), checkpoint, options, memory, checkpoint.is_cached(), progress)?;
        engine.layers.warm_up(0).map_err(|error| engine.step_error(error))?;
        Ok(engine)
    }

    /// Loads up to `max_bytes` more of what [`Engine::load_lazily_on`] left; returns how many bytes are left.
    ///
    /// # Errors
    /// As [`Engine::load`].
    pub fn warm_up(&mut self, max_bytes: usize) -> Result<usize> {
        if matches!(self.lazy, Lazy::Done) {
            return Ok(0);
        }
        let left = self.layers.warm_up(max_bytes).map_err(|error| self.step_error(error))?;
        if left == 0 {
            self.lazy = Lazy::Done;
        }
        Ok(left)
    }

    /// What of the weights loaded so far has become 0 though it is not in the files, a sentence for each weight: for
    /// the user to read. f16 and f32 storage keep such weights.
    pub fn notes(&self) -> Vec<String> {
        let vanished = self.layers.vanished_groups();
        let note = |vanished: VanishedGroups| {
            let VanishedGroups { weight, count, row } = vanished;
            let groups = if count == 1 { "a group is" } else { &format!("{count} groups are") };
            format!(
                "{}: {weight}: {groups} 0 as w8a16 though the weights are not (row {row} is the first): too \
                 small for a scale of f16",
                self.path.display()
            )
        };
        vanished.into_iter().map(note).collect()
    }

    /// What went wrong in a step; where it is the numbers of the file, with its name.
    pub(super) fn step_error(&self, error: StageError) -> ModelError {
        match error.source {
            KernelError::NonFiniteWeight { .. }
            | KernelError::F16Overflow { .. }
            | KernelError::Source { .. } => {
                ModelError::Load { path: self.path.clone(), source: error.source }
            }
            _ => error.into(),
        }
    }

    /// Before a step of so many tokens: the first runs at once.
    pub(super) fn load_before_step(&mut self, tokens: usize) -> Result<()> {
        match self.lazy {
            Lazy::Done => {}
            Lazy::Waiting => {
                let left = self.layers.warm_up(0).map_err(|error| self.step_error(error))?;
                self.lazy = Lazy::Stepping(left.div_ceil(STEPS));
            }
            Lazy::Stepping(bytes) => {
                self.warm_up(if tokens < MANY_TOKENS { bytes } else { usize::MAX })?;
            }
        }
        Ok(())
    }
}
