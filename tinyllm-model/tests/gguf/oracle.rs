//! Reference GGUFs against the Hugging Face files they were made from.

use std::path::Path;

use half::{bf16, f16};
use safetensors::{Dtype, SafeTensors};
use tinyllm_model::{
    checkpoint::{Checkpoint, gguf::GgufCheckpoint},
    config::RopeScaling,
};

use crate::support::{files, read, reference_dir};

fn oracle() -> Option<std::path::PathBuf> {
    reference_dir("TINYLLM_ORACLE_DIR", "oracle")
}

/// Every tensor of `NAME.f32.gguf` is, bit for bit, the one of `tiny/NAME/model.safetensors`, and none is left over.
#[test]
fn f32_files_equal_their_originals() {
    let Some(oracle) = oracle() else { return };
    for path in files(&oracle.join("gguf"), "gguf") {
        let file_name = path.file_name().unwrap().to_str().unwrap();
        let Some(name) = file_name.strip_suffix(".f32.gguf") else { continue };
        let original = oracle.join("tiny").join(name);
        let Ok(bytes) = std::fs::read(original.join("model.safetensors")) else {
            eprintln!("skipped: {} is absent", original.display());
            continue;
        };
        let original_tensors = SafeTensors::deserialize(&bytes).unwrap();
        let checkpoint = GgufCheckpoint::open(&path).unwrap();
        check_config(&checkpoint, &original);
        assert_eq!(checkpoint.tensors().len(), original_tensors.len(), "{name}");
        for (index, info) in checkpoint.tensors().iter().enumerate() {
            let original = original_tensors.tensor(&info.name).unwrap();
            assert_eq!(info.shape, original.shape(), "{name}: {}", info.name);
            let values = read(&checkpoint, index).unwrap();
            let expected = widen(original.dtype(), original.data());
            assert!(values == expected, "{name}: {} differs", info.name);
        }
    }
}

/// What both files say, though in other words.
fn check_config(checkpoint: &GgufCheckpoint, original: &Path) {
    let json = std::fs::read(original.join("config.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    let number = |key: &str| json[key].as_u64().map(|number| number as usize);
    let config = checkpoint.config();
    let name = original.display();
    assert_eq!(Some(config.hidden_size), number("hidden_size"), "{name}");
    assert_eq!(Some(config.intermediate_size), number("intermediate_size"), "{name}");
    assert_eq!(Some(config.num_hidden_layers), number("num_hidden_layers"), "{name}");
    assert_eq!(Some(config.num_attention_heads), number("num_attention_heads"), "{name}");
    assert_eq!(Some(config.num_key_value_heads), number("num_key_value_heads"), "{name}");
    assert_eq!(Some(config.vocab_size), number("vocab_size"), "{name}");
    assert_eq!(Some(config.max_position_embeddings), number("max_position_embeddings"), "{name}");
    assert_eq!(
        config.head_dim,
        number("head_dim").unwrap_or(config.hidden_size / config.num_attention_heads)
    );
    assert_eq!(Some(config.tie_word_embeddings), json["tie_word_embeddings"].as_bool(), "{name}");
    assert_eq!(config.mlp_bias, json["mlp_bias"].as_bool().unwrap_or(false), "{name}");
    assert_eq!(Some(config.rope.theta), json["rope_theta"].as_f64(), "{name}");
    // The file has the f32 nearest to what config.json says.
    assert_eq!(config.rms_norm_eps as f32, json["rms_norm_eps"].as_f64().unwrap() as f32, "{name}");
    match json["rope_scaling"]["rope_type"].as_str() {
        None => assert_eq!(config.rope.scaling, RopeScaling::Default, "{name}"),
        Some("linear") => assert_eq!(config.rope.scaling, RopeScaling::Linear { factor: 4.0 }, "{name}"),
        Some("llama3") => {
            let RopeScaling::Divisors(divisors) = &config.rope.scaling else { panic!("{:?}", config.rope) };
            // The fastest frequency is kept, the slowest divided by the whole factor.
            assert_eq!(divisors.len(), config.head_dim / 2);
            assert_eq!((divisors[0], divisors[divisors.len() - 1]), (1.0, 8.0));
        }
        Some(other) => panic!("{name}: no GGUF is known with {other}"),
    }
}

/// Quantised files hold the weights of the f16 file, up to what their type loses.
#[test]
fn quantised_files_are_near_the_f16_file() {
    let Some(oracle) = oracle() else { return };
    let dir = oracle.join("gguf");
    let exact = dir.join("tiny256.f16.gguf");
    if !exact.is_file() {
        eprintln!("skipped: {} is absent", exact.display());
        return;
    }
    let exact = GgufCheckpoint::open(&exact).unwrap();
    // Root of the mean square error, relative to that of the weights: about 2^-bits for the types of a file.
    for (kind, largest_error) in [
        ("bf16", 0.003),
        ("q8_0", 0.01),
        ("q6_k", 0.03),
        ("q5_k_m", 0.06),
        ("q5_0", 0.06),
        ("q4_k_m", 0.12),
        ("q4_1", 0.12),
        ("q4_0", 0.12),
        ("iq4_xs", 0.12),
        ("q2_k", 0.4),
    ] {
        let path = dir.join(format!("tiny256.{kind}.gguf"));
        if !path.is_file() {
            eprintln!("skipped: {} is absent", path.display());
            continue;
        }
        let checkpoint = GgufCheckpoint::open(&path).unwrap();
        assert_eq!(checkpoint.config(), exact.config());
        for (index, info) in exact.tensors().iter().enumerate() {
            let same = checkpoint.tensors().iter().position(|other| other.name == info.name).unwrap();
            let (expected, values) = (read(&exact, index).unwrap(), read(&checkpoint, same).unwrap());
            let square = |sum: f64, value: f32| sum + f64::from(value) * f64::from(value);
            let error = values.iter().zip(&expected).map(|(a, b)| a - b).fold(0.0, square);
            let relative = (error / expected.iter().copied().fold(0.0, square)).sqrt();
            assert!(relative <= largest_error, "{kind}: {} is off by {relative}", info.name);
        }
    }
}

/// Metadata as llama.cpp's converter writes it, the vocabulary included.
#[test]
fn metadata_is_typed_and_arrays_are_views() {
    let Some(oracle) = oracle() else { return };
    let path = oracle.join("gguf/tiny_spm1000.f16.gguf");
    if !path.is_file() {
        eprintln!("skipped: {} is absent", path.display());
        return;
    }
    let checkpoint = GgufCheckpoint::open(&path).unwrap();
    let metadata = checkpoint.gguf().metadata();
    assert_eq!(metadata.string("tokenizer.ggml.model").unwrap(), Some("llama"));
    assert_eq!(metadata.bool("tokenizer.ggml.add_space_prefix").unwrap(), Some(true));
    let tokens = metadata.strings("tokenizer.ggml.tokens").unwrap().unwrap();
    assert_eq!(tokens.len(), 1000);
    assert_eq!(tokens.take(4).collect::<Vec<_>>(), ["<unk>", "<s>", "</s>", "<0x00>"]);
    let types = metadata.i32s("tokenizer.ggml.token_type").unwrap().unwrap();
    assert_eq!((types.len(), types.take(4).collect::<Vec<_>>()), (1000, vec![2, 3, 3, 6]));
    assert_eq!(metadata.f32s("tokenizer.ggml.scores").unwrap().unwrap().len(), 1000);
    assert!(metadata.strings("tokenizer.ggml.merges").unwrap().is_none());

    let wrong = metadata.u32("tokenizer.ggml.model").unwrap_err().to_string();
    assert!(wrong.contains("tokenizer.ggml.model") && wrong.contains("the string \"llama\""), "{wrong}");
    assert_eq!(checkpoint.config().eos_token_ids, [2]);
    assert_eq!(checkpoint.config().bos_token_id, Some(1));
}

fn widen(dtype: Dtype, bytes: &[u8]) -> Vec<f32> {
    let halves = bytes.as_chunks::<2>().0;
    match dtype {
        Dtype::F32 => bytes.as_chunks::<4>().0.iter().map(|value| f32::from_le_bytes(*value)).collect(),
        Dtype::F16 => halves.iter().map(|value| f16::from_le_bytes(*value).to_f32()).collect(),
        Dtype::BF16 => halves.iter().map(|value| bf16::from_le_bytes(*value).to_f32()).collect(),
        other => panic!("{other:?}"),
    }
}
