//! What can go wrong: one variant a cause, its numbers as fields. Errors of files name the file and the field; a way out
//! that depends on the caller's own options (a flag, a request's field) is the caller's to say.

use std::path::{Path, PathBuf};

use tinyllm_kernels::KernelError;

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
    /// A step without inputs.
    #[error("no tokens to run: the batch is empty")]
    EmptyBatch,
    /// A prompt, or an input of a step, without tokens.
    #[error("no tokens to run: the prompt is empty")]
    EmptyPrompt,
    /// A token that the model has no embedding for.
    #[error("token {id} is outside the model's vocabulary of {vocab_size}")]
    TokenOutOfVocabulary {
        /// The token.
        id: u32,
        /// Tokens of the vocabulary.
        vocab_size: usize,
    },
    /// A sequence that would be longer than the context.
    #[error("{tokens} tokens do not fit the context of {context}")]
    ContextExceeded {
        /// Tokens that the sequence would have.
        tokens: usize,
        /// Tokens that a sequence has room for.
        context: usize,
        /// The longest context that the model's RoPE allows, where it has a limit (dynamic NTK).
        rope_limit: Option<usize>,
    },
    /// A context longer than the model's RoPE allows: with dynamic NTK, beyond the original context, a token's angles
    /// would depend on the final length of the sequence.
    #[error(
        "{}rope_scaling: dynamic-NTK RoPE over a context of {tokens} tokens is not supported; it runs within the \
         original context of {rope_limit}",
        path.as_deref().map(|path| format!("{}: ", path.display())).unwrap_or_default()
    )]
    ContextBeyondRope {
        /// The checkpoint, where there is one.
        path: Option<PathBuf>,
        /// The context asked for.
        tokens: usize,
        /// The longest that the RoPE allows.
        rope_limit: usize,
    },
    /// A sequence more than the batch size allows.
    #[error("{limit} sequences are there already, as many as the batch size allows")]
    TooManySequences {
        /// Sequences at once.
        limit: usize,
    },
    /// A sequence that a step names twice.
    #[error("a sequence is in the batch twice")]
    SequenceTwice,
    /// A step of more tokens or sequences than one takes.
    #[error("{tokens} tokens of {sequences} sequences; a step takes {max_tokens} of {max_sequences}")]
    StepTooLarge {
        /// Tokens of all inputs.
        tokens: usize,
        /// Inputs.
        sequences: usize,
        /// Tokens that a step takes.
        max_tokens: usize,
        /// Sequences that a step takes.
        max_sequences: usize,
    },
    /// An input that wants more rows of logits than it has tokens.
    #[error("the logits of {rows} rows are wanted of {tokens} tokens")]
    RowsBeyondTokens {
        /// Rows wanted.
        rows: usize,
        /// Tokens of the input.
        tokens: usize,
    },
    /// More rows of logits than a step gives.
    #[error("the logits of {rows} rows are wanted; a step gives {limit}")]
    TooManyRows {
        /// Rows wanted by all inputs.
        rows: usize,
        /// Rows that a step gives.
        limit: usize,
    },
    /// A sampling parameter outside its range.
    #[error("sampling: {name} must be {range}")]
    InvalidParameter {
        /// The parameter.
        name: &'static str,
        /// The numbers that it may be.
        range: &'static str,
    },
    /// Perplexity of too few tokens: a prediction needs a token before it.
    #[error("perplexity needs at least two tokens, and windows of at least two")]
    TooFewTokens {
        /// Tokens of the text.
        tokens: usize,
        /// Tokens of a window.
        window: usize,
    },
    /// Two models that are compared and have different vocabularies.
    #[error("the models' vocabularies differ: {vocab_size} and {other_vocab_size} tokens")]
    VocabularyMismatch {
        /// Tokens of the first model's.
        vocab_size: usize,
        /// Tokens of the second model's.
        other_vocab_size: usize,
    },
    /// A group size that other readers of the file would refuse.
    #[error(
        "group size {group_size} does not divide the input width {width}: neither transformers nor vLLM would load \
         the file"
    )]
    GroupSizeMismatch {
        /// Weights that share a scale.
        group_size: usize,
        /// The input width that is no multiple of it.
        width: usize,
    },
    /// Messages that cannot be made a template's input.
    #[error("messages: {problem}")]
    Messages {
        /// What is wrong.
        problem: String,
    },
    /// Messages of deeply nested values.
    #[error("messages: values nested more than {limit} deep")]
    MessagesTooDeep {
        /// The deepest nesting.
        limit: usize,
    },
    /// Messages that leave no private character to stand for a special token's.
    #[error("messages: they use every private character of Unicode")]
    NoPrivateCharacter,
    /// A chat template that raised an error, or did what it may not.
    #[error("chat template: {problem}")]
    Template {
        /// What it raised or did.
        problem: String,
    },
    /// Special tokens that cannot be searched for.
    #[error("special tokens: {problem}")]
    SpecialTokens {
        /// What is wrong.
        problem: String,
    },
    /// A token id that the tokenizer does not have.
    #[error("token {id} is not in the tokenizer's vocabulary")]
    UnknownToken {
        /// The id.
        id: u32,
    },
    /// A tensor's index beyond those of the checkpoint.
    #[error("there is no tensor {index}; the model has {tensors}")]
    UnknownTensor {
        /// The index.
        index: usize,
        /// Tensors of the checkpoint.
        tensors: usize,
    },
    /// A sequence that was freed, or that another engine made.
    #[error("the sequence is not in the cache: it was freed, or another engine made it")]
    UnknownSequence,
    /// Logits that the last step did not give: none succeeded yet, or it sampled fewer rows.
    #[error("no logits of row {row}: the last step sampled {rows} rows")]
    NoLogits {
        /// The row asked for, counted among those that were sampled.
        row: usize,
        /// How many were.
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
    /// A cache whose size is no number.
    #[error("{sequences} sequences of {tokens} tokens have no size")]
    SizeOverflow {
        /// Sequences at once.
        sequences: usize,
        /// Tokens of each.
        tokens: usize,
    },
    /// A cache of more blocks, or tokens, than 32 bits count.
    #[error("{blocks} blocks of {block_tokens} tokens are too many")]
    TooManyBlocks {
        /// Blocks asked for.
        blocks: usize,
        /// Tokens of a block.
        block_tokens: usize,
    },
    /// A KV cache of fewer bytes than one block has.
    #[error("a KV cache of {budget_bytes} bytes has no room for a block of {block_bytes} bytes")]
    CacheBelowBlock {
        /// Bytes for the cache.
        budget_bytes: usize,
        /// Bytes of a block.
        block_bytes: usize,
    },
    /// A split that is not of all of a model's layers, or gives a device none.
    #[error("layers {layers:?} by device, of a model of {model_layers}")]
    LayerSplit {
        /// Layers of each device.
        layers: Vec<usize>,
        /// Layers of the model.
        model_layers: usize,
    },
    /// Devices without room for the layers that are wanted on them.
    #[error(
        "the devices have room for {fitting_layers} of the model's {model_layers} layers, and {wanted_layers} are wanted there"
    )]
    NoLayerSplit {
        /// Layers that were to be on them.
        wanted_layers: usize,
        /// How many they have room for.
        fitting_layers: usize,
        /// Layers of the model.
        model_layers: usize,
    },
    /// A device failed, or has no memory left.
    #[error("{device}: {source}")]
    Device {
        /// The device's name.
        device: String,
        /// What it said.
        source: tinyllm_mem::MemError,
    },
    /// Weights were to be read where their file is mapped, and the device cannot.
    #[error("the device does not read weights where a file is mapped")]
    MappedWeights,
    /// What was asked for does not fit the memory budget; nothing was loaded.
    #[error(
        "{needed_bytes} bytes are needed and the budget is {budget_bytes}, {} too few: weights {weights_bytes}, KV \
         cache {kv_bytes} ({max_seq_len} tokens of context, batch of {max_batch_size}), sequence \
         slots {slots_bytes}, activations {arena_bytes}",
        needed_bytes - budget_bytes
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
        /// Of it, the sequences' slots.
        slots_bytes: usize,
        /// Of it, the activation arena.
        arena_bytes: usize,
        /// The context asked for.
        max_seq_len: usize,
        /// The batch asked for.
        max_batch_size: usize,
        /// The longest context that would fit, with everything else as asked; `None`: none does.
        largest_context: Option<usize>,
        /// The longest that would fit with an int8 cache.
        largest_context_int8: Option<usize>,
        /// The largest batch of the context asked for that would fit; `None`: none does, or no batch was asked for.
        largest_batch: Option<usize>,
    },
    /// What was asked for does not fit the budget of a device; nothing was loaded.
    #[error("{device}: {source}")]
    OverDeviceBudget {
        /// The device's name.
        device: String,
        /// An [`ModelError::OverBudget`], of the device's layers.
        source: Box<ModelError>,
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
        source: KernelError,
    },
    /// An operation failed.
    #[error(transparent)]
    Kernel(KernelError),
    /// Memory could not be had.
    #[error(transparent)]
    Memory(#[from] tinyllm_mem::MemError),
}

/// The crate's result.
pub type Result<T, E = ModelError> = std::result::Result<T, E>;

impl From<KernelError> for ModelError {
    /// Memory that cannot be had is one variant, whoever asked for it.
    fn from(error: KernelError) -> Self {
        match error {
            KernelError::Memory(error) => ModelError::Memory(error),
            error => ModelError::Kernel(error),
        }
    }
}

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
