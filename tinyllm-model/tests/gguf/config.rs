//! Metadata that no reference file has: what it means, and what is refused by name.

use tinyllm_model::{
    ModelConfig, Result,
    checkpoint::{Checkpoint, gguf::GgufCheckpoint},
    config::{Architecture, RopeScaling},
};

use crate::writer::{Meta, Writer, tiny_model};

fn open(file: &Writer) -> Result<ModelConfig> {
    let dir = tempfile::tempdir().unwrap();
    Ok(GgufCheckpoint::open(&file.write(dir.path(), "model.gguf"))?.config().clone())
}

fn refusal(file: &Writer) -> String {
    open(file).err().map(|error| error.to_string()).unwrap_or_else(|| "it loads".to_owned())
}

#[test]
fn each_architecture_has_its_tensors() {
    let llama = open(&tiny_model("llama")).unwrap();
    assert_eq!((llama.architecture, llama.qkv_bias, llama.qk_norm), (Architecture::Llama, false, false));
    assert!(llama.tie_word_embeddings, "there is no output.weight");
    let qwen2 = open(&tiny_model("qwen2")).unwrap();
    assert_eq!((qwen2.architecture, qwen2.qkv_bias, qwen2.qk_norm), (Architecture::Qwen2, true, false));
    let qwen3 = open(&tiny_model("qwen3")).unwrap();
    assert_eq!((qwen3.architecture, qwen3.qkv_bias, qwen3.qk_norm), (Architecture::Qwen3, false, true));

    let mut gemma = tiny_model("llama");
    gemma.set("general.architecture", Meta::Text("gemma2"));
    let message = refusal(&gemma);
    assert!(message.contains("general.architecture") && message.contains("gemma2"), "{message}");
    assert!(message.contains("supported: llama"), "{message}");
}

/// The two versions differ in what a big-endian file may say, not in layout.
#[test]
fn version_2_reads_as_version_3() {
    let dir = tempfile::tempdir().unwrap();
    let mut bytes = tiny_model("llama").to_bytes();
    bytes[4] = 2;
    let path = dir.path().join("version2.gguf");
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(*GgufCheckpoint::open(&path).unwrap().config(), open(&tiny_model("llama")).unwrap());
}

#[test]
fn yarn_has_its_temperature() {
    let mut file = tiny_model("llama");
    file.set("llama.rope.scaling.type", Meta::Text("yarn"))
        .set("llama.rope.scaling.factor", Meta::F32(4.0))
        .set("llama.rope.scaling.original_context_length", Meta::U32(16));
    let scaling = open(&file).unwrap().rope.scaling;
    let RopeScaling::Yarn { factor, attention_factor, original_max_position_embeddings, .. } = scaling else {
        panic!("{scaling:?}")
    };
    assert_eq!((factor, original_max_position_embeddings), (4.0, 16));
    // 0.1 ln 4 + 1
    assert!((attention_factor - 1.138_629_436_111_989).abs() < 1e-15, "{attention_factor}");
}

#[test]
fn old_files_have_a_linear_factor_without_a_type() {
    let mut file = tiny_model("llama");
    file.set("llama.rope.scale_linear", Meta::F32(4.0));
    assert_eq!(open(&file).unwrap().rope.scaling, RopeScaling::Linear { factor: 4.0 });
}

#[test]
fn a_sliding_window_is_for_every_layer() {
    let mut file = tiny_model("llama");
    file.set("llama.attention.sliding_window", Meta::U32(16));
    assert_eq!(open(&file).unwrap().sliding_windows, [Some(16)]);
}

#[test]
fn the_ends_of_turn_and_message_are_ends_too() {
    let mut file = tiny_model("llama");
    file.set("tokenizer.ggml.eot_token_id", Meta::U32(3)).set("tokenizer.ggml.eom_token_id", Meta::U32(2));
    // Written for "none".
    file.set("tokenizer.ggml.bos_token_id", Meta::U32(u32::MAX));
    let config = open(&file).unwrap();
    assert_eq!((config.bos_token_id, config.eos_token_ids), (None, vec![2, 3]));
}

#[test]
fn variants_are_refused_by_name() {
    for (key, value) in [
        ("llama.expert_count", Meta::U32(8)),
        ("llama.rope.dimension_count", Meta::U32(8)),
        ("llama.attention.value_length", Meta::U32(8)),
        ("llama.vocab_size", Meta::U32(9)),
        ("llama.block_count", Meta::U32(u32::MAX)),
        ("llama.attention.sliding_window_pattern", Meta::U32(2)),
        ("llama.attention.head_count_kv", Meta::Texts(vec!["1"])),
    ] {
        let mut file = tiny_model("llama");
        file.set(key, value);
        let message = refusal(&file);
        assert!(message.contains(key), "{key}: {message}");
    }
}

#[test]
fn tensors_must_fit_the_metadata() {
    let mut extra = tiny_model("llama");
    extra.f32_tensor("blk.0.attn_q_norm.weight", &[16]);
    assert!(refusal(&extra).contains("blk.0.attn_q_norm.weight"), "{}", refusal(&extra));

    let mut misshapen = tiny_model("qwen2");
    misshapen.tensors.iter_mut().find(|tensor| tensor.0 == "blk.0.attn_k.weight").unwrap().1 = vec![16, 32];
    let message = refusal(&misshapen);
    assert!(message.contains("blk.0.attn_k.weight") && message.contains("[32, 16]"), "{message}");

    let mut frequencies = tiny_model("llama");
    frequencies.f32_tensor("blk.0.attn_rot_embd.weight", &[8]);
    open(&frequencies).unwrap();

    // The first divisor of `f32_tensor` is 0.
    let mut divisors = tiny_model("llama");
    divisors.f32_tensor("rope_freqs.weight", &[8]);
    assert!(refusal(&divisors).contains("rope_freqs.weight"), "{}", refusal(&divisors));
}
