//! LLaMA as a program: the operations of a forward pass over named regions, from a config and the weights' formats.

mod formats;

use std::{ops::Range, sync::Arc};

use tinyllm_kernels::{
    KvShape, Limits, LinearPart, Matmul, Op, Program, ProgramBuilder, RegionFormat, RegionId, RegionSpec,
    RowSet, VectorId, VectorSpec, WeightId, WeightSpec,
};
use tinyllm_mem::Category;

use self::formats::Role;
pub use self::formats::{EmbeddingsMode, GroupSizeChoice, WeightsMode};
pub(crate) use self::formats::{FormatChoices, Formats};
use crate::{ModelConfig, ModelError, Result, checkpoint::Storage};

/// What the program needs to know of a checkpoint: how a tensor is stored.
pub(crate) type StorageOf<'a> = &'a dyn Fn(&str) -> Result<Storage>;

/// The entry that is all of a step.
pub(crate) const FORWARD: &str = "forward";
/// The entry that only fills the cache: for a step without sampled rows.
pub(crate) const PREFILL: &str = "prefill";
/// The entry that goes on where [`PREFILL`] ended, as often as one likes: logits of sampled rows.
pub(crate) const HEAD: &str = "head";

/// The forward pass of `config` through some of its layers, a program of their own: from token ids where they begin with the
/// first layer, to logits where they end with the last, and from and to the residual stream of every token elsewhere. Weights
/// and vectors carry the tensors' names; only the last layers have all three entries, the others have [`FORWARD`].
pub(crate) fn program(
    config: &ModelConfig,
    formats: &Formats,
    limits: Limits,
    kv: KvShape,
    rotary: (Vec<f64>, f64),
    storage_of: StorageOf<'_>,
    layers: &Range<usize>,
) -> Result<Program> {
    let builder = ProgramBuilder::new(limits).with_cache(config.num_attention_heads, kv);
    let mut llama = Llama { config, formats, storage_of, first_layer: layers.start, builder };
    let (inverse_frequencies, scale) = rotary;
    let regions = llama.shared_regions();
    llama.builder.push(Op::RotaryTable {
        inverse_frequencies: Arc::from(inverse_frequencies),
        scale,
        out: regions.table,
    });
    let embedding = match layers.start {
        0 => {
            let table = llama.embedding()?;
            llama.builder.push(Op::Embed { table, out: regions.residual.region });
            Some(table)
        }
        _ => None,
    };
    let last = config.num_hidden_layers.saturating_sub(1);
    for layer in layers.start..layers.end.min(last) {
        let q = llama.queries(layer, &regions)?;
        llama.attention(layer, q, regions.residual)?;
        llama.mlp(layer, regions.residual)?;
    }
    if layers.end <= last {
        return llama.builder.finish(regions.residual.region).map_err(ModelError::from);
    }
    // After the last layer's keys and values only sampled rows are of use.
    let q = llama.queries(last, &regions)?;
    let head = llama.builder.position();
    let sampled = llama.sampled_rows(regions.residual);
    llama.attention(last, q, sampled)?;
    llama.mlp(last, sampled)?;
    let logits = llama.head(embedding, sampled)?;
    let end = llama.builder.position();
    for (name, operations) in [(FORWARD, 0..end), (PREFILL, 0..head), (HEAD, head..end)] {
        llama.builder.entry(name, operations);
    }
    llama.builder.finish(logits).map_err(ModelError::from)
}

/// Regions that live from the first layer to the last.
struct SharedRegions {
    table: RegionId,
    residual: Stream,
}

/// The residual stream: of every token, or, after the last layer's keys, of the sampled rows.
#[derive(Clone, Copy)]
struct Stream {
    region: RegionId,
    rows: RowSet,
}

struct Llama<'a> {
    config: &'a ModelConfig,
    formats: &'a Formats,
    storage_of: StorageOf<'a>,
    /// The layer whose keys and values are the first in the cache.
    first_layer: usize,
    builder: ProgramBuilder,
}

impl Llama<'_> {
    fn region(&mut self, name: &str, rows: RowSet, columns: usize) -> RegionId {
        self.builder.region(RegionSpec::activations(name, rows, columns))
    }

    /// What `weight` reads.
    fn input_region(&mut self, name: &str, rows: RowSet, weight: WeightId) -> RegionId {
        // Every weight here is this builder's; another's is refused at the end.
        let columns = self.builder.weight_spec(weight).map_or(0, |spec| spec.k);
        let format = self.builder.input_format(weight).unwrap_or(RegionFormat::F32);
        self.builder.region(RegionSpec::activations(name, rows, columns).in_format(format))
    }

    fn shared_regions(&mut self) -> SharedRegions {
        SharedRegions {
            table: self.region("rotary_table", RowSet::Tokens, self.config.head_dim),
            residual: match self.first_layer {
                0 => self.stream("residual", RowSet::Tokens),
                _ => self.input_stream(),
            },
        }
    }

    /// The residual stream that layers before these leave.
    fn input_stream(&mut self) -> Stream {
        let (rows, columns) = (RowSet::Tokens, self.config.hidden_size);
        Stream { region: self.builder.input(RegionSpec::activations("residual", rows, columns)), rows }
    }

    fn embedding(&mut self) -> Result<WeightId> {
        let (vocab_size, hidden) = (self.config.vocab_size, self.config.hidden_size);
        self.matrix("model.embed_tokens.weight", vocab_size, hidden, Role::Embedding)
    }

    fn stream(&mut self, name: &str, rows: RowSet) -> Stream {
        Stream { region: self.region(name, rows, self.config.hidden_size), rows }
    }

    fn matrix(&mut self, name: &str, n: usize, k: usize, role: Role) -> Result<WeightId> {
        let (format, placement) = self.formats.matrix(role, (self.storage_of)(name)?);
        let category = if role == Role::Embedding { Category::Embeddings } else { Category::Weights };
        let spec = WeightSpec::new(name, (n, k), format, category).with_placement(placement);
        Ok(self.builder.weight(spec))
    }

    fn vector(&mut self, name: String, len: usize, category: Category) -> VectorId {
        self.builder.vector(VectorSpec::new(name, len, self.formats.vectors, category))
    }

    /// A projection of a layer, with its bias where the architecture has one.
    fn projection(
        &mut self,
        module: &str,
        n: usize,
        k: usize,
        bias: bool,
    ) -> Result<(WeightId, Option<VectorId>)> {
        let weight = self.matrix(&format!("{module}.weight"), n, k, Role::Projection)?;
        Ok((weight, bias.then(|| self.vector(format!("{module}.bias"), n, Category::Weights))))
    }

    /// A norm of the residual stream, for each of `weights` in the format that it reads. Where formats differ, as of weights
    /// that a quantised file left in 16 bits, the norm is computed once for each format.
    fn norm(&mut self, name: String, residual: Stream, weights: &[WeightId]) -> Vec<RegionId> {
        let Stream { region: input, rows } = residual;
        let weight = self.vector(name, self.config.hidden_size, Category::Norms);
        let eps = self.config.rms_norm_eps as f32;
        let mut normed: Vec<(Option<RegionFormat>, RegionId)> = Vec::new();
        let mut regions = Vec::new();
        for &reader in weights {
            let format = self.builder.input_format(reader);
            let known = normed.iter().find(|(known, _)| *known == format).map(|(_, region)| *region);
            regions.push(match known {
                Some(region) => region,
                None => {
                    let out = self.input_region("normed", rows, reader);
                    self.builder.push(Op::RmsNorm { input, weight, eps, out });
                    normed.push((format, out));
                    out
                }
            });
        }
        regions
    }

    /// Queries, keys and values of every token; keys and values go into the cache.
    fn queries(&mut self, layer: usize, regions: &SharedRegions) -> Result<RegionId> {
        let config = self.config;
        let prefix = format!("model.layers.{layer}");
        let attention = format!("{prefix}.self_attn");
        let hidden = config.hidden_size;
        let query_columns = config.num_attention_heads * config.head_dim;
        let key_columns = config.num_key_value_heads * config.head_dim;
        let q = self.projection(&format!("{attention}.q_proj"), query_columns, hidden, config.qkv_bias)?;
        let k = self.projection(&format!("{attention}.k_proj"), key_columns, hidden, config.qkv_bias)?;
        let v = self.projection(&format!("{attention}.v_proj"), key_columns, hidden, config.qkv_bias)?;
        let norm = format!("{prefix}.input_layernorm.weight");
        let inputs = self.norm(norm, regions.residual, &[q.0, k.0, v.0]);
        let mut region =
            |name, columns| self.region(&format!("layers.{layer}.{name}"), RowSet::Tokens, columns);
        let outs = (region("q", query_columns), region("k", key_columns), region("v", key_columns));
        let parts = [(q, outs.0), (k, outs.1), (v, outs.2)]
            .into_iter()
            .zip(inputs)
            .map(|(((weight, bias), out), input)| LinearPart::new(Matmul::new(input, weight, bias), out))
            .collect();
        self.builder.push(Op::Linear { parts });
        let qk_norm = config.qk_norm.then(|| {
            let mut norm =
                |name| self.vector(format!("{attention}.{name}.weight"), config.head_dim, Category::Norms);
            (norm("q_norm"), norm("k_norm"))
        });
        self.builder.push(Op::RopeAndCacheWrite {
            q: outs.0,
            k: outs.1,
            v: outs.2,
            table: regions.table,
            qk_norm,
            eps: config.rms_norm_eps as f32,
            layer: layer - self.first_layer,
        });
        Ok(outs.0)
    }

    /// The residual stream of the sampled rows only.
    fn sampled_rows(&mut self, residual: Stream) -> Stream {
        let sampled = self.stream("residual_sampled", RowSet::Sampled);
        self.builder.push(Op::Gather { input: residual.region, out: sampled.region });
        sampled
    }

    fn attention(&mut self, layer: usize, q: RegionId, residual: Stream) -> Result<()> {
        let config = self.config;
        let query_columns = config.num_attention_heads * config.head_dim;
        let o = self.projection(
            &format!("model.layers.{layer}.self_attn.o_proj"),
            config.hidden_size,
            query_columns,
            config.attention_out_bias,
        )?;
        let attended = self.input_region(&format!("layers.{layer}.attended"), residual.rows, o.0);
        self.builder.push(Op::Attention {
            q,
            layer: layer - self.first_layer,
            scale: (1.0 / (config.head_dim as f64).sqrt()) as f32,
            window: config.sliding_windows.get(layer).copied().flatten(),
            out: attended,
        });
        self.add_to_residual(attended, o, residual.region);
        Ok(())
    }

    fn mlp(&mut self, layer: usize, residual: Stream) -> Result<()> {
        let config = self.config;
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let prefix = format!("model.layers.{layer}");
        let gate = self.projection(&format!("{prefix}.mlp.gate_proj"), inner, hidden, config.mlp_bias)?;
        let up = self.projection(&format!("{prefix}.mlp.up_proj"), inner, hidden, config.mlp_bias)?;
        let down = self.projection(&format!("{prefix}.mlp.down_proj"), hidden, inner, config.mlp_bias)?;
        let norm = format!("{prefix}.post_attention_layernorm.weight");
        let inputs = self.norm(norm, residual, &[gate.0, up.0]);
        let gated = self.input_region(&format!("layers.{layer}.gated"), residual.rows, down.0);
        self.builder.push(Op::SwiGluLinear {
            gate: Matmul::new(inputs[0], gate.0, gate.1),
            up: Matmul::new(inputs[1], up.0, up.1),
            out: gated,
        });
        self.add_to_residual(gated, down, residual.region);
        Ok(())
    }

    fn add_to_residual(
        &mut self,
        input: RegionId,
        (weight, bias): (WeightId, Option<VectorId>),
        residual: RegionId,
    ) {
        let matmul = Matmul::new(input, weight, bias);
        self.builder.push(Op::Linear { parts: vec![LinearPart::accumulating(matmul, residual)] });
    }

    /// The last norm and lm_head; one that is tied to an embedding table elsewhere is a copy of it.
    fn head(&mut self, embedding: Option<WeightId>, residual: Stream) -> Result<RegionId> {
        let config = self.config;
        let lm_head = match embedding.filter(|_| config.tie_word_embeddings) {
            Some(embedding) => embedding,
            None if config.tie_word_embeddings => self.embedding()?,
            None => self.matrix("lm_head.weight", config.vocab_size, config.hidden_size, Role::Head)?,
        };
        let inputs = self.norm("model.norm.weight".into(), residual, &[lm_head]);
        let logits = RegionSpec::activations("logits", residual.rows, config.vocab_size);
        let logits = self.builder.region(logits.in_category(Category::Logits));
        let part = LinearPart::new(Matmul::new(inputs[0], lm_head, None), logits);
        self.builder.push(Op::Linear { parts: vec![part] });
        Ok(logits)
    }
}
