//! A small writer of GGUFs, for files that no reference set has.

use std::path::{Path, PathBuf};

/// A metadata value.
#[derive(Clone)]
pub(crate) enum Meta {
    U32(u32),
    F32(f32),
    Text(&'static str),
    Texts(Vec<&'static str>),
}

/// What a file will hold.
#[derive(Clone, Default)]
pub(crate) struct Writer {
    pub(crate) metadata: Vec<(String, Meta)>,
    /// Name, dimensions (fastest first), type number, bytes.
    pub(crate) tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

const ALIGNMENT: usize = 32;

impl Writer {
    pub(crate) fn set(&mut self, key: impl Into<String>, value: Meta) -> &mut Self {
        let key = key.into();
        self.metadata.retain(|(known, _)| *known != key);
        self.metadata.push((key, value));
        self
    }

    pub(crate) fn f32_tensor(&mut self, name: impl Into<String>, dims: &[u64]) -> &mut Self {
        let elems = dims.iter().product::<u64>();
        let bytes = (0..elems).flat_map(|i| (i as f32 * 0.25).to_le_bytes()).collect();
        self.tensors.push((name.into(), dims.to_vec(), 0, bytes));
        self
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            text(&mut out, key);
            match value {
                Meta::U32(number) => {
                    out.extend(4u32.to_le_bytes());
                    out.extend(number.to_le_bytes());
                }
                Meta::F32(number) => {
                    out.extend(6u32.to_le_bytes());
                    out.extend(number.to_le_bytes());
                }
                Meta::Text(value) => {
                    out.extend(8u32.to_le_bytes());
                    text(&mut out, value);
                }
                Meta::Texts(values) => {
                    out.extend(9u32.to_le_bytes());
                    out.extend(8u32.to_le_bytes());
                    out.extend((values.len() as u64).to_le_bytes());
                    values.iter().for_each(|value| text(&mut out, value));
                }
            }
        }
        let mut offset = 0;
        for (name, dims, number, bytes) in &self.tensors {
            text(&mut out, name);
            out.extend((dims.len() as u32).to_le_bytes());
            dims.iter().for_each(|dim| out.extend(dim.to_le_bytes()));
            out.extend(number.to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset += bytes.len().next_multiple_of(ALIGNMENT);
        }
        for (_, _, _, bytes) in &self.tensors {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(bytes);
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out
    }

    pub(crate) fn write(&self, dir: &Path, name: &str) -> PathBuf {
        let path = dir.join(name);
        std::fs::write(&path, self.to_bytes()).unwrap();
        path
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

/// A one-layer model, 32 wide, two heads of 16, one key-value head, 8 tokens; `llama`, `qwen2` or `qwen3`.
pub(crate) fn tiny_model(architecture: &'static str) -> Writer {
    let mut file = Writer::default();
    file.set("general.architecture", Meta::Text(architecture));
    for (key, value) in [
        ("context_length", 64),
        ("embedding_length", 32),
        ("block_count", 1),
        ("feed_forward_length", 48),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
    ] {
        file.set(format!("{architecture}.{key}"), Meta::U32(value));
    }
    file.set(format!("{architecture}.attention.layer_norm_rms_epsilon"), Meta::F32(1e-5));
    file.set("tokenizer.ggml.tokens", Meta::Texts(vec!["a", "b", "c", "d", "e", "f", "g", "h"]));
    file.set("tokenizer.ggml.eos_token_id", Meta::U32(2));
    for (name, dims) in [
        ("token_embd.weight", &[32, 8][..]),
        ("blk.0.attn_norm.weight", &[32]),
        ("blk.0.attn_q.weight", &[32, 32]),
        ("blk.0.attn_k.weight", &[32, 16]),
        ("blk.0.attn_v.weight", &[32, 16]),
        ("blk.0.attn_output.weight", &[32, 32]),
        ("blk.0.ffn_norm.weight", &[32]),
        ("blk.0.ffn_gate.weight", &[32, 48]),
        ("blk.0.ffn_up.weight", &[32, 48]),
        ("blk.0.ffn_down.weight", &[48, 32]),
        ("output_norm.weight", &[32]),
    ] {
        file.f32_tensor(name, dims);
    }
    match architecture {
        "qwen2" => {
            for (name, n) in [("q", 32), ("k", 16), ("v", 16)] {
                file.f32_tensor(format!("blk.0.attn_{name}.bias"), &[n]);
            }
        }
        "qwen3" => {
            file.f32_tensor("blk.0.attn_q_norm.weight", &[16]).f32_tensor("blk.0.attn_k_norm.weight", &[16]);
        }
        _ => {}
    }
    file
}
