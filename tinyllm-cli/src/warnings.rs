//! What a user should know before it is too late: a context that the model was not made for, memory that is not there.

use tinyllm_kernels::Cpu;
use tinyllm_mem::{HostResource, MemoryResource};
use tinyllm_model::{
    ModelConfig,
    checkpoint::Checkpoint,
    config::RopeScaling,
    engine::{EngineOptions, EnginePlan},
};

use crate::{numbers::size, output};

/// Warns of a context beyond what the model was made for.
pub(crate) fn context(config: &ModelConfig, tokens: Option<usize>) {
    let longest = longest_context(config);
    if let Some(tokens) = tokens.filter(|tokens| *tokens > longest) {
        output::note(&format!(
            "warning: a context of {tokens} tokens is beyond the {longest} that this model was made for; what it says \
             past them may be nonsense"
        ));
    }
}

/// The longest sequence that the model was made for, with the scaling that its configuration asks for.
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
        output::note(&format!(
            "warning: this takes {} and {} are free here: the system may end it when they are used up; a smaller \
             --ctx-size or --kv int8 takes less",
            size(plan.total_bytes() as u64),
            size(free)
        ));
    }
}

/// The same for a model that is about to be loaded. It is planned only where it might not fit: the first token need not
/// wait for that.
pub(crate) fn memory_of(backend: &Cpu, checkpoint: &dyn Checkpoint, options: &EngineOptions) {
    let most = most_bytes(checkpoint, options.kv.max_seq_len.unwrap_or(MOST_UNASKED_TOKENS));
    if free_bytes().is_some_and(|free| most > free)
        && let Ok(plan) = EnginePlan::of_checkpoint(backend, checkpoint, options)
    {
        memory(&plan);
    }
}

/// The longest context that is taken where none is asked for.
const MOST_UNASKED_TOKENS: usize = 4096;

/// Room for a prefill step's activations, far more than there are.
const ACTIVATION_BYTES: u64 = 2 << 30;

/// More than any plan takes: everything in 32 bits.
fn most_bytes(checkpoint: &dyn Checkpoint, tokens: usize) -> u64 {
    let config = checkpoint.config();
    let kv_elements = [2, config.num_hidden_layers, config.num_key_value_heads, config.head_dim, tokens];
    let product =
        |sizes: &[usize]| sizes.iter().fold(1, |product: u64, size| product.saturating_mul(*size as u64));
    let weights = checkpoint.tensors().iter().map(|tensor| product(&tensor.shape));
    let elements = weights.fold(product(&kv_elements), u64::saturating_add);
    elements.saturating_mul(4).saturating_add(ACTIVATION_BYTES)
}

/// Memory that can still be had here, where the system says.
pub(crate) fn free_bytes() -> Option<u64> {
    HostResource::default().memory_info().map(|memory| memory.free_bytes)
}
