//! The cost of a token: bytes read and operations.

use tinyllm_mem::Category;
use tinyllm_model::{ModelConfig, engine::EnginePlan};

/// Bytes and operations of a model.
pub(super) struct Work {
    /// Bytes of the weights that a step reads: all but an embedding table that is only looked up.
    weight_bytes: usize,
    /// Bytes of a token's keys and values.
    kv_token_bytes: usize,
    /// Multiplications and additions of the layers' matrices, for each token.
    layer_ops: usize,
    /// Operations of the logits, for each sampled row.
    logit_ops: usize,
    /// Operations of attention, for each token and each key it attends to.
    attention_ops: usize,
}

impl Work {
    pub(super) fn of(plan: &EnginePlan, config: &ModelConfig) -> Self {
        let table = Category::Embeddings;
        let looked_up = plan.categories().get(&table).map_or(0, |usage| usage.bytes)
            + plan.mapped_categories().get(&table).copied().unwrap_or_default();
        let weights = plan.weights_bytes() + plan.mapped_bytes();
        let slots = plan.slabs().into_iter().find(|slab| slab.name == "kv");
        let tokens = slots.map_or(0, |slab| slab.regions[0].shape[0] * slab.regions[0].shape[4]);
        let queries = config.num_attention_heads * config.head_dim;
        let keys = config.num_key_value_heads * config.head_dim;
        let layer = config.hidden_size * (2 * queries + 2 * keys + 3 * config.intermediate_size);
        Work {
            weight_bytes: weights - if config.tie_word_embeddings { 0 } else { looked_up },
            kv_token_bytes: plan.kv_bytes() / tokens.max(1),
            layer_ops: 2 * config.num_hidden_layers * layer,
            logit_ops: 2 * config.hidden_size * config.vocab_size,
            attention_ops: 4 * config.num_hidden_layers * queries,
        }
    }

    /// Bytes that a step of `batch` sequences with `tokens` tokens each reads: every weight once, and their keys and
    /// values.
    pub(super) fn step_bytes(&self, batch: usize, tokens: f64) -> f64 {
        self.weight_bytes as f64 + batch as f64 * tokens * self.kv_token_bytes as f64
    }

    /// Operations of a prompt of `count` tokens after `depth` others, with the logits of its last token.
    pub(super) fn prompt_ops(&self, count: usize, depth: usize) -> f64 {
        let keys = count * depth + count * (count + 1) / 2;
        (count * self.layer_ops + self.logit_ops + keys * self.attention_ops) as f64
    }
}
