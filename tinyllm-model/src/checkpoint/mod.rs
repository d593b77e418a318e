//! Where weights come from: one trait over Hugging Face directories and GGUF files.
//!
//! Tensors go by their Hugging Face names (`model.layers.0.self_attn.q_proj.weight`) whatever the file calls them, and
//! rows come in Hugging Face order (a GGUF's interleaved q and k rows are put back). Readers check every size against
//! the file before anything is allocated.

pub(crate) mod expected;
pub mod gguf;
mod hugging_face;
pub(crate) mod rows;
pub mod safetensors;
mod synthetic;

use std::{ops::Range, path::Path};

pub use gguf::GgufCheckpoint;
pub use hugging_face::HuggingFaceCheckpoint;
pub use synthetic::SyntheticCheckpoint;

use crate::{ModelConfig, Result};

/// Opens a model: a Hugging Face directory, or a GGUF file, whatever its name.
///
/// # Errors
/// Whatever is wrong with it, naming file and field.
pub fn open(path: &Path) -> Result<Box<dyn Checkpoint>> {
    if gguf::is_gguf(path) {
        return Ok(Box::new(GgufCheckpoint::open(path)?));
    }
    Ok(Box::new(HuggingFaceCheckpoint::open(path)?))
}

/// A model's configuration and weights on disk: headers are checked, weights not yet read.
pub trait Checkpoint: Send + Sync {
    /// The directory or file, for messages.
    fn path(&self) -> &Path;

    /// The model's configuration.
    fn config(&self) -> &ModelConfig;

    /// Notes for the user: values in its files that are probably a mistake or are not used, a sentence each.
    fn notes(&self) -> &[String] {
        &[]
    }

    /// Every tensor of the model by its Hugging Face name, in file order. The parts of a quantised Linear
    /// (`weight_packed`, `weight_scale`, `weight_shape`) are one entry named `….weight`.
    fn tensors(&self) -> &[TensorInfo];

    /// Opens one of [`Checkpoint::tensors`] for reading; the index is the one in that list.
    ///
    /// # Errors
    /// Where the tensor's bytes are not what its type says.
    fn open(&self, index: usize) -> Result<TensorData<'_>>;

    /// Whether its files are in the page cache; false where that is not known.
    fn is_cached(&self) -> bool {
        false
    }
}

/// A tensor as its file describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorInfo {
    /// The Hugging Face name.
    pub name: String,
    /// The name in the file, for messages.
    pub name_in_file: String,
    /// The file it is in, relative to the checkpoint, for display.
    pub file: String,
    /// Shape, slowest dimension first: `[n, k]` of a Linear.
    pub shape: Vec<usize>,
    /// The element type as the format spells it, for display: `F16`, `BF16`, `Q4_K`, `W8A16 g=64`.
    pub dtype: String,
    /// How the file stores it.
    pub storage: Storage,
    /// Bytes in the file.
    pub bytes: u64,
}

/// How a file stores a tensor, as far as a loader distinguishes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Storage {
    /// 32-bit floats, or types read as such (GGUF quantisations): the engine's options choose their storage in memory.
    Float,
    /// 16-bit floats (f16 or bf16), in a file where other Linears are W8A16: stays 16-bit.
    Float16,
    /// int8 with scales: W8A16 already.
    W8A16 {
        /// Weights a scale covers; `None` is per channel.
        group_size: Option<usize>,
        /// Type of the scales.
        scales: ScaleType,
    },
}

impl Storage {
    /// The format of int8 weights; `None` for floats.
    pub fn quantized_format(self) -> Option<WeightFormat> {
        match self {
            Storage::Float | Storage::Float16 => None,
            Storage::W8A16 { group_size, scales } => Some(WeightFormat::W8A16 {
                group_size: group_size.map_or(GroupSize::Channel, GroupSize::Elements),
                scales,
            }),
        }
    }
}

/// The type of a quantised weight's scales.
pub use tinyllm_kernels::ScaleType;

/// A tensor's contents, read by rows.
#[non_exhaustive]
pub enum TensorData<'a> {
    /// Anything that reads as f32.
    Float(Box<dyn FloatRows + 'a>),
    /// int8 weights with scales, as the file holds them.
    Quantized(QuantizedMatrix),
}

pub use tinyllm_kernels::{FloatRows, QuantizedMatrix};
use tinyllm_kernels::{GroupSize, WeightFormat};

/// Rows of a tensor, as an index range.
pub type Rows = Range<usize>;
