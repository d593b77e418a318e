//! What can go wrong with a model. Each error names the file and the field, and says the remedy where there is one.

use std::path::{Path, PathBuf};

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The system could not read or write a file.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's word.
        source: std::io::Error,
    },
    /// A file is not what it claims to be.
    #[error("{}: {field}: {problem}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The key, tensor or section at fault.
        field: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A file is well-formed, and asks for something the engine does not do.
    #[error("{}: {field}: {what} is not supported; {supported}", path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// The key at fault.
        field: String,
        /// What it asks for.
        what: String,
        /// What the engine does instead, or how to get there.
        supported: String,
    },
    /// The request itself does not fit the model (a token outside the vocabulary, a prompt longer than the context).
    #[error("{0}")]
    Request(String),
    /// A sequence that was freed, or that another engine made.
    #[error("the sequence is not in the cache: it was freed, or another engine made it")]
    UnknownSequence,
    /// Logits that the last step did not give: none succeeded yet, or fewer inputs wanted them.
    #[error("no logits number {index}: the last step gave those of {rows} inputs")]
    NoLogits {
        /// The input asked for, counted among those that wanted logits.
        index: usize,
        /// How many wanted them.
        rows: usize,
    },
    /// The KV cache has no room left; sequences must be freed, or the cache made larger.
    #[error("the KV cache is full: {needed_blocks} blocks are needed, {free_blocks} are free")]
    CacheFull {
        /// Blocks that the step needs.
        needed_blocks: usize,
        /// Blocks that nobody holds.
        free_blocks: usize,
    },
    /// What was asked for does not fit the memory budget; nothing was loaded.
    #[error(
        "{needed_bytes} bytes are needed and the budget is {budget_bytes}, {} too few: weights {weights_bytes}, KV \
         cache {kv_bytes} ({max_seq_len} tokens of context, batch of {max_batch_size}), activations {arena_bytes}{}",
        needed_bytes - budget_bytes,
        remedy
    )]
    OverBudget {
        /// The plan's total.
        needed_bytes: usize,
        /// The budget.
        budget_bytes: usize,
        /// Of it, the weights slab.
        weights_bytes: usize,
        /// Of it, the KV cache.
        kv_bytes: usize,
        /// Of it, the activation arena.
        arena_bytes: usize,
        /// The context asked for.
        max_seq_len: usize,
        /// The batch asked for.
        max_batch_size: usize,
        /// What would fit.
        remedy: String,
    },
    /// One category of what was asked for does not fit its own budget; nothing was loaded.
    #[error("{} needs {needed_bytes} bytes and its budget is {budget_bytes}", category.name())]
    OverCategoryBudget {
        /// The category.
        category: tinyllm_mem::Category,
        /// What is planned for it.
        needed_bytes: usize,
        /// Its budget.
        budget_bytes: usize,
    },
    /// A weight could not be loaded.
    #[error("{}: {source}", path.display())]
    Load {
        /// The checkpoint.
        path: PathBuf,
        /// What is wrong, naming the tensor.
        source: tinyllm_kernels::KernelError,
    },
    /// An operation failed.
    #[error(transparent)]
    Kernel(#[from] tinyllm_kernels::KernelError),
    /// Memory could not be had.
    #[error(transparent)]
    Memory(#[from] tinyllm_mem::MemError),
}

/// The crate's result.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

impl ModelError {
    /// A [`ModelError::Malformed`].
    pub fn malformed(path: &Path, field: impl Into<String>, problem: impl Into<String>) -> Self {
        ModelError::Malformed { path: path.to_owned(), field: field.into(), problem: problem.into() }
    }

    /// A [`ModelError::Unsupported`].
    pub fn unsupported(
        path: &Path,
        field: impl Into<String>,
        what: impl Into<String>,
        supported: impl Into<String>,
    ) -> Self {
        ModelError::Unsupported {
            path: path.to_owned(),
            field: field.into(),
            what: what.into(),
            supported: supported.into(),
        }
    }

    /// A [`ModelError::Io`].
    pub fn io(path: &Path, source: std::io::Error) -> Self {
        ModelError::Io { path: path.to_owned(), source }
    }
}
