//! LLaMA as a program: the operations of a forward pass over named regions, from a config and the weights' formats.

use std::sync::Arc;

use tinyllm_kernels::{
    InputFormat, KvLayout, Limits, LinearPart, Op, Product, Program, ProgramBuilder, RegionId, RegionSpec,
    Rows, VectorId, VectorSpec, WeightId, WeightSpec,
};
use tinyllm_mem::Category;

use super::formats::{Formats, Role};
use crate::{ModelConfig, ModelError, Result, checkpoint::Storage};

/// What the program needs to know of a checkpoint: how a tensor is stored.
pub(crate) type StorageOf<'a> = &'a dyn Fn(&str) -> Result<Storage>;

/// The forward pass of `config`. Weights and vectors carry the tensors' names.
pub(crate) fn program(
    config: &ModelConfig,
    formats: &Formats,
    limits: Limits,
    kv: KvLayout,
    rotary: (Vec<f64>, f64),
    storage_of: StorageOf<'_>,
) -> Result<Program> {
    let builder = ProgramBuilder::new(limits, config.num_attention_heads, kv);
    let mut llama = Llama { config, formats, storage_of, builder };
    let (inverse_frequencies, scale) = rotary;
    let regions = llama.shared_regions();
    llama.builder.push(Op::RotaryTable {
        inverse_frequencies: Arc::from(inverse_frequencies),
        scale,
        out: regions.table,
    });
    let embedding =
        llama.matrix("model.embed_tokens.weight", config.vocab_size, config.hidden_size, Role::Embedding)?;
    llama.builder.push(Op::Embed { table: embedding, out: regions.residual.region });
    let last = config.num_hidden_layers.saturating_sub(1);
    for layer in 0..last {
        let q = llama.queries(layer, &regions)?;
        llama.attention(layer, q, regions.residual)?;
        llama.mlp(layer, regions.residual)?;
    }
    // After the last layer's keys and values only sampled rows are of use.
    let q = llama.queries(last, &regions)?;
    let sampled = llama.begin_head(regions.residual);
    llama.attention(last, q, sampled)?;
    llama.mlp(last, sampled)?;
    let logits = llama.head(embedding, sampled)?;
    llama.builder.finish(logits).map_err(|error| ModelError::Request(error.to_string()))
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
    rows: Rows,
}

struct Llama<'a> {
    config: &'a ModelConfig,
    formats: &'a Formats,
    storage_of: StorageOf<'a>,
    builder: ProgramBuilder,
}

impl Llama<'_> {
    fn region(&mut self, name: &str, rows: Rows, columns: usize) -> RegionId {
        self.builder.region(RegionSpec {
            name: name.into(),
            rows,
            columns,
            input_format: None,
            category: Category::Activations,
        })
    }

    fn shared_regions(&mut self) -> SharedRegions {
        SharedRegions {
            table: self.region("rotary_table", Rows::Tokens, self.config.head_dim),
            residual: self.stream("residual", Rows::Tokens),
        }
    }

    fn stream(&mut self, name: &str, rows: Rows) -> Stream {
        Stream { region: self.region(name, rows, self.config.hidden_size), rows }
    }

    fn matrix(&mut self, name: &str, n: usize, k: usize, role: Role) -> Result<WeightId> {
        let (format, placement) = self.formats.matrix(role, (self.storage_of)(name)?);
        let category = if role == Role::Embedding { Category::Embeddings } else { Category::Weights };
        Ok(self.builder.weight(WeightSpec { name: name.into(), n, k, format, category, placement }))
    }

    fn vector(&mut self, name: String, len: usize, category: Category) -> VectorId {
        self.builder.vector(VectorSpec { name, len, format: self.formats.vectors, category })
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

    /// A norm of the residual stream, in the formats that `weights` read: one region for each format.
    fn norm(&mut self, name: String, residual: Stream, weights: &[WeightId]) -> Vec<RegionId> {
        let Stream { region: input, rows } = residual;
        let columns = self.config.hidden_size;
        let weight = self.vector(name, columns, Category::Norms);
        let formats: Vec<InputFormat> = weights.iter().map(|&id| self.input_format(id)).collect();
        let uniform = formats.iter().all(|format| *format == formats[0]);
        let mut region = |name: &str, input_format| {
            self.builder.region(RegionSpec {
                name: name.into(),
                rows,
                columns,
                input_format,
                category: Category::Activations,
            })
        };
        let packed = |format| match format {
            InputFormat::Float => None,
            format => Some(format),
        };
        let normed = region("normed", if uniform { packed(formats[0]) } else { None });
        let eps = self.config.rms_norm_eps as f32;
        if uniform {
            self.builder.push(Op::RmsNorm { input, weight, eps, out: normed });
            return vec![normed; weights.len()];
        }
        // Weights of several formats read this norm: each format gets its own copy.
        let mut converted: Vec<(InputFormat, RegionId)> = Vec::new();
        for &format in &formats {
            if format != InputFormat::Float && !converted.iter().any(|(known, _)| *known == format) {
                let out = region("normed_converted", Some(format));
                converted.push((format, out));
            }
        }
        self.builder.push(Op::RmsNorm { input, weight, eps, out: normed });
        for &(_, out) in &converted {
            self.builder.push(Op::ConvertInput { input: normed, out });
        }
        let region_of = |format: &InputFormat| {
            converted.iter().find(|(known, _)| known == format).map_or(normed, |(_, region)| *region)
        };
        formats.iter().map(region_of).collect()
    }

    /// What a product with a weight reads. Every weight here is this builder's; another's is refused at the end.
    fn input_format(&self, weight: WeightId) -> InputFormat {
        let spec = self.builder.weight_spec(weight);
        spec.map_or(InputFormat::Float, |spec| spec.format.input_format(spec.k))
    }

    /// Makes f32 rows what `weight` reads, where they are.
    fn convert_in_place(&mut self, region: RegionId, weight: WeightId) {
        let format = self.input_format(weight);
        if format != InputFormat::Float {
            self.builder.push(Op::ConvertInPlace { region, format });
        }
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
            |name, columns| self.region(&format!("layers.{layer}.{name}"), Rows::Tokens, columns);
        let outs = (region("q", query_columns), region("k", key_columns), region("v", key_columns));
        let parts = [(q, outs.0), (k, outs.1), (v, outs.2)]
            .into_iter()
            .zip(inputs)
            .map(|(((weight, bias), out), input)| LinearPart {
                product: Product { input, weight, bias },
                out,
                accumulate: false,
            })
            .collect();
        self.builder.push(Op::Linear { parts });
        let qk_norm = config.qk_norm.then(|| {
            let mut norm =
                |name| self.vector(format!("{attention}.{name}.weight"), config.head_dim, Category::Norms);
            (norm("q_norm"), norm("k_norm"))
        });
        self.builder.push(Op::RotateAndStore {
            q: outs.0,
            k: outs.1,
            v: outs.2,
            table: regions.table,
            qk_norm,
            eps: config.rms_norm_eps as f32,
            layer,
        });
        Ok(outs.0)
    }

    /// What follows is of use for sampled rows only: their residual stream.
    fn begin_head(&mut self, residual: Stream) -> Stream {
        self.builder.begin_head();
        let sampled = self.stream("residual_sampled", Rows::Sampled);
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
        let attended = self.region(&format!("layers.{layer}.attended"), residual.rows, query_columns);
        self.builder.push(Op::Attention {
            q,
            layer,
            scale: (1.0 / (config.head_dim as f64).sqrt()) as f32,
            window: config.sliding_windows.get(layer).copied().flatten(),
            out: attended,
        });
        self.convert_in_place(attended, o.0);
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
        let gated = self.region(&format!("layers.{layer}.gated"), residual.rows, inner);
        self.builder.push(Op::GatedLinear {
            gate: Product { input: inputs[0], weight: gate.0, bias: gate.1 },
            up: Product { input: inputs[1], weight: up.0, bias: up.1 },
            out: gated,
        });
        self.convert_in_place(gated, down.0);
        self.add_to_residual(gated, down, residual.region);
        Ok(())
    }

    fn add_to_residual(
        &mut self,
        input: RegionId,
        (weight, bias): (WeightId, Option<VectorId>),
        residual: RegionId,
    ) {
        let product = Product { input, weight, bias };
        self.builder
            .push(Op::Linear { parts: vec![LinearPart { product, out: residual, accumulate: true }] });
    }

    /// The last norm and lm_head.
    fn head(&mut self, embedding: WeightId, residual: Stream) -> Result<RegionId> {
        let config = self.config;
        let lm_head = if config.tie_word_embeddings {
            embedding
        } else {
            self.matrix("lm_head.weight", config.vocab_size, config.hidden_size, Role::Head)?
        };
        let inputs = self.norm("model.norm.weight".into(), residual, &[lm_head]);
        let logits = self.builder.region(RegionSpec {
            name: "logits".into(),
            rows: residual.rows,
            columns: config.vocab_size,
            input_format: None,
            category: Category::Logits,
        });
        let product = Product { input: inputs[0], weight: lm_head, bias: None };
        self.builder.push(Op::Linear { parts: vec![LinearPart { product, out: logits, accumulate: false }] });
        Ok(logits)
    }
}
