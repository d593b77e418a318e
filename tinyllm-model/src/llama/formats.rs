//! Which format each weight gets in memory, from what the file holds and what the user chose.

use tinyllm_kernels::{GroupSize, KvFormat, Placement, ScaleType, VectorFormat, WeightFormat};

use crate::{ModelConfig, checkpoint::Storage, config::QuantizationType};

/// How weight matrices are stored in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WeightsMode {
    /// int8 with per-group scales, 16-bit activations.
    #[default]
    W8A16,
    /// IEEE half, f32 activations.
    F16,
    /// IEEE single everywhere, the KV cache included: the comparison mode.
    F32,
}

/// How the embedding table (and an lm_head that the file left in floating point) is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EmbeddingsMode {
    /// int8 with per-group scales.
    Int8,
    /// IEEE half.
    F16,
}

/// The group size of weights that are quantised while loading.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GroupSizeChoice {
    /// 128 where it divides every input width, else the largest power of two from 32 that does, else 32.
    #[default]
    Auto,
    /// This one.
    Fixed(GroupSize),
}

/// What a user chose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FormatChoices {
    pub(crate) weights: WeightsMode,
    pub(crate) embeddings: Option<EmbeddingsMode>,
    pub(crate) group_size: GroupSizeChoice,
    pub(crate) kv: Option<KvFormat>,
    pub(crate) mmap: bool,
}

/// Group of an embedding table whose Linears are quantised per channel: a row is too long for one scale.
const EMBEDDING_GROUP: usize = 64;

/// The choices, resolved for one model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Formats {
    weights: WeightsMode,
    embeddings: Option<EmbeddingsMode>,
    group_size: GroupSize,
    quantized_file: bool,
    tied: bool,
    mmap: bool,
    /// Norms and biases.
    pub(crate) vectors: VectorFormat,
    /// The cache.
    pub(crate) kv: KvFormat,
}

/// What a matrix is for: the rules differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A projection inside a layer.
    Projection,
    /// The embedding table; also lm_head where they are tied.
    Embedding,
    /// lm_head on its own.
    Head,
}

impl GroupSizeChoice {
    /// The group size for a model whose products have these input widths.
    pub fn resolve(self, input_widths: &[usize]) -> GroupSize {
        match self {
            GroupSizeChoice::Fixed(group_size) => group_size,
            GroupSizeChoice::Auto => {
                let divides = |group: &usize| input_widths.iter().all(|width| width.is_multiple_of(*group));
                GroupSize::Elements([128, 64, 32].into_iter().find(divides).unwrap_or(32))
            }
        }
    }
}

impl ModelConfig {
    /// The input widths of the model's products.
    pub fn input_widths(&self) -> [usize; 3] {
        [self.hidden_size, self.num_attention_heads * self.head_dim, self.intermediate_size]
    }
}

impl Formats {
    pub(crate) fn new(config: &ModelConfig, choices: FormatChoices) -> Self {
        let f32_mode = choices.weights == WeightsMode::F32;
        Formats {
            weights: choices.weights,
            embeddings: choices.embeddings,
            group_size: choices.group_size.resolve(&config.input_widths()),
            quantized_file: config.quantization == QuantizationType::W8A16,
            tied: config.tie_word_embeddings,
            mmap: choices.mmap,
            vectors: if f32_mode { VectorFormat::F32 } else { VectorFormat::F16 },
            kv: choices.kv.unwrap_or(if f32_mode { KvFormat::F32 } else { KvFormat::F16 }),
        }
    }

    /// The format of a matrix.
    pub(crate) fn matrix(&self, role: Role, storage: Storage) -> (WeightFormat, Placement) {
        let format = match (self.weights, role) {
            (WeightsMode::F32, _) => WeightFormat::F32,
            (WeightsMode::F16, Role::Projection) => WeightFormat::F16,
            (WeightsMode::W8A16, Role::Projection) => self.quantized(storage, self.group_size),
            (mode, Role::Embedding | Role::Head) => match (self.embeddings, storage) {
                (_, Storage::W8A16 { .. }) if mode == WeightsMode::W8A16 => {
                    self.quantized(storage, self.group_size)
                }
                (Some(EmbeddingsMode::F16), _) => WeightFormat::F16,
                (Some(EmbeddingsMode::Int8), _) => self.int8_table(role),
                (None, _) if mode == WeightsMode::F16 => WeightFormat::F16,
                (None, _) if role == Role::Embedding && self.tied => self.int8_table(role),
                (None, _) if role == Role::Embedding => WeightFormat::F16,
                (None, _) => self.quantized(storage, self.group_size),
            },
        };
        let in_place =
            self.mmap && matches!((format, storage), (WeightFormat::W8A16 { .. }, Storage::W8A16 { .. }));
        (format, if in_place { Placement::Mapped } else { Placement::Slab })
    }

    /// W8A16 as the file has it, or quantised while loading; a layer that a quantised file left alone stays 16-bit.
    fn quantized(&self, storage: Storage, group_size: GroupSize) -> WeightFormat {
        match storage.quantized_format() {
            Some(format) => format,
            None if self.quantized_file => WeightFormat::F16,
            None => WeightFormat::W8A16 { group_size, scales: ScaleType::F16 },
        }
    }

    fn int8_table(&self, role: Role) -> WeightFormat {
        let group_size = match self.group_size {
            GroupSize::Channel if role == Role::Embedding => GroupSize::Elements(EMBEDDING_GROUP),
            group_size => group_size,
        };
        WeightFormat::W8A16 { group_size, scales: ScaleType::F16 }
    }
}
