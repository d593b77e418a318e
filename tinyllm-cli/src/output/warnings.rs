//! Warnings before loading: a context beyond the model's own, a plan beyond the free memory.

use tinyllm_mem::{HostResource, MemoryResource};
use tinyllm_model::{
    ModelConfig,
    checkpoint::Checkpoint,
    config::RopeScaling,
    engine::{EngineOptions, EnginePlan, LayerSplit},
};

use super::numbers::size;

/// Warns of a context longer than the model was trained for.
pub(crate) fn context(config: &ModelConfig, tokens: Option<usize>) {
    let longest = longest_context(config);
    if let Some(tokens) = tokens.filter(|tokens| *tokens > longest) {
        super::note(&format!(
            "warning: a context of {tokens} tokens is beyond the {longest} that this model was made for; what it says \
             past them may be nonsense"
        ));
    }
}

/// The longest context that the model was trained for, RoPE scaling included.
fn longest_context(config: &ModelConfig) -> usize {
    let trained = config.max_position_embeddings;
    let scaled = match config.rope.scaling {
        RopeScaling::Linear { factor } => factor * trained as f64,
        RopeScaling::Yarn { factor, original_max_position_embeddings, .. } => {
            factor * original_max_position_embeddings as f64
        }
        _ => 0.0,
    };
    // A factor without bounds ends at the largest number there is.
    trained.max(scaled as usize)
}

/// Warns of a plan beyond this machine's free memory.
pub(crate) fn memory(plan: &EnginePlan) {
    let Some(free) = free_bytes() else { return };
    if plan.total_bytes() as u64 > free {
        super::note(&format!(
            "warning: this takes {} and {} are free here: the system may end it when they are used up; a smaller \
             --ctx-size or --kv int8 takes less",
            size(plan.total_bytes() as u64),
            size(free)
        ));
    }
}

/// As [`memory`], for a model that is about to be loaded. The plan is made only where an upper bound exceeds the free
/// memory, to keep the time to first token short.
pub(crate) fn memory_of(split: &LayerSplit<'_>, checkpoint: &dyn Checkpoint, options: &EngineOptions) {
    let most = most_bytes(checkpoint, options.kv.max_seq_len.unwrap_or(MOST_UNASKED_TOKENS));
    if free_bytes().is_some_and(|free| most > free)
        && let Ok(plan) = EnginePlan::of_checkpoint(split.clone(), checkpoint, options)
    {
        memory(&plan);
    }
}

/// The default context at most.
const MOST_UNASKED_TOKENS: usize = 4096;

/// Upper bound of a prefill step's activations.
const ACTIVATION_BYTES: u64 = 2 << 30;

/// Upper bound of a plan: everything in f32.
fn most_bytes(checkpoint: &dyn Checkpoint, tokens: usize) -> u64 {
    let config = checkpoint.config();
    let kv_elements = [2, config.num_hidden_layers, config.num_key_value_heads, config.head_dim, tokens];
    let count = |sizes: &[usize]| sizes.iter().fold(1, |count: u64, size| count.saturating_mul(*size as u64));
    let weights = checkpoint.tensors().iter().map(|tensor| count(&tensor.shape));
    let elements = weights.fold(count(&kv_elements), u64::saturating_add);
    elements.saturating_mul(4).saturating_add(ACTIVATION_BYTES)
}

/// This machine's free memory, where the system reports it.
pub(crate) fn free_bytes() -> Option<u64> {
    HostResource::default().memory_info().map(|memory| memory.free_bytes)
}
