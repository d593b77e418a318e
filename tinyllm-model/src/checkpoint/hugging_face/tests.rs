//! Every reference model opens; every malformed directory is refused with file and field; quantised layers hold what the
//! files' bytes say.

use std::{fs, path::Path};

use serde_json::{Value, json};
use tinyllm_mem::MappedFile;

use super::*;
use crate::{
    checkpoint::{
        ScaleType, Storage,
        safetensors::{StoredTensor, read_safetensors_header},
    },
    test_data,
};

fn stored_tensors(path: &Path) -> Result<Vec<StoredTensor>> {
    let file = MappedFile::open(path)?;
    read_safetensors_header(&file)
}

fn open(directory: &Path) -> Result<HuggingFaceCheckpoint> {
    HuggingFaceCheckpoint::open(directory)
}

fn message(directory: &Path) -> String {
    match open(directory) {
        Ok(_) => panic!("{} opens", directory.display()),
        Err(error) => error.to_string(),
    }
}

fn copy_of(directory: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        fs::write(copy.path().join(path.file_name().unwrap()), fs::read(&path).unwrap()).unwrap();
    }
    copy
}

fn edit_config(directory: &Path, edit: impl FnOnce(&mut Value)) {
    let path = directory.join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    edit(&mut config);
    fs::write(&path, config.to_string()).unwrap();
}

fn read_floats(checkpoint: &HuggingFaceCheckpoint, name: &str) -> Vec<f32> {
    let index = checkpoint.tensors().iter().position(|tensor| tensor.name == name).unwrap();
    let TensorData::Float(rows) = Checkpoint::open(checkpoint, index).unwrap() else { panic!("{name}") };
    let (n, k) = rows.shape();
    let mut values = vec![0.0; n * k];
    rows.read(0..n, &mut values).unwrap();
    values
}

/// A safetensors file of given entries.
fn safetensors(entries: &[(&str, &str, &[usize], &[u8])]) -> Vec<u8> {
    let mut header = serde_json::Map::new();
    let mut data = Vec::new();
    for (name, dtype, shape, bytes) in entries {
        let start = data.len();
        data.extend_from_slice(bytes);
        header.insert(
            (*name).to_owned(),
            json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, data.len()] }),
        );
    }
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
}

#[test]
fn every_reference_model_opens_and_reads() {
    let Some(tiny) = test_data::oracle("tiny") else { return };
    for directory in test_data::folders(&tiny) {
        let checkpoint = open(&directory).unwrap_or_else(|error| panic!("{error}"));
        let config = checkpoint.config();
        let embedding = read_floats(&checkpoint, "model.embed_tokens.weight");
        assert_eq!(embedding.len(), config.vocab_size * config.hidden_size);
        assert!(embedding.iter().all(|value| value.is_finite()));
        assert!(checkpoint.tensors().iter().all(|tensor| tensor.storage == Storage::Float));
        let head = checkpoint.tensors().iter().any(|tensor| tensor.name == "lm_head.weight");
        assert_eq!(head, !config.tie_word_embeddings);
    }
    if let Some(sharded) = test_data::oracle("tiny/llama_sharded") {
        let checkpoint = open(&sharded).unwrap();
        let files: std::collections::BTreeSet<&str> =
            checkpoint.tensors().iter().map(|tensor| tensor.file.as_str()).collect();
        assert_eq!(files.len(), 4);
    }
}

#[test]
fn malformed_directories_are_refused_naming_file_and_field() {
    let Some(base) = test_data::malformed("dirs") else { return };
    for (name, parts) in [
        ("01_hidden_mismatch", &["model.safetensors", "model.embed_tokens.weight", "[32, 16]"][..]),
        ("03_layers_missing", &["model.safetensors", "model.layers.1."]),
        ("04_layers_0", &["config.json", "num_hidden_layers"]),
        ("06_heads_0", &["config.json", "num_attention_heads"]),
        ("07_rope_unknown", &["config.json", "spiral", "yarn"]),
        ("09_cfg_truncated", &["config.json", "JSON"]),
        ("10_cfg_no_hidden", &["config.json", "hidden_size", "missing"]),
        ("12_cfg_negative", &["config.json", "num_hidden_layers", "-1"]),
        ("13_cfg_huge", &["config.json", "hidden_size"]),
        ("15_arch_bert", &["config.json", "bert", "qwen3"]),
        ("16_act_unknown", &["config.json", "hidden_act", "swishish"]),
        ("18_tied_but_head_present", &["model.safetensors", "lm_head.weight", "tie_word_embeddings"]),
        ("19_untied_head_missing", &["model.safetensors", "lm_head.weight", "missing"]),
        ("31_shard_missing", &["index.json", "model-00002-of-00002.safetensors"]),
        ("33_index_absolute", &["index.json", "lm_head.weight", "/etc/passwd"]),
        ("34_index_cyclic", &["index.json", "lm_head.weight"]),
        ("36_tensor_in_two_shards", &["model-00002-of-00002.safetensors", "model.norm.weight"]),
        ("37_index_bad_json", &["index.json", "weight_map"]),
        ("62_only_pickle", &["pytorch_model.bin", "save_pretrained"]),
    ] {
        let directory = base.join(name);
        if !directory.exists() {
            continue;
        }
        let message = message(&directory);
        for part in parts {
            assert!(message.contains(part), "{name}: {message}");
        }
    }
    for name in ["00_valid", "30_sharded_valid", "60_gen_cfg_bad"] {
        if base.join(name).exists() {
            open(&base.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}

#[test]
fn malformed_weight_files_are_refused_as_the_weights_of_a_model() {
    let Some(base) = test_data::malformed("") else { return };
    let config = base.join("dirs/00_valid/config.json");
    if !config.exists() {
        return;
    }
    for path in test_data::files(&base.join("safetensors"), "safetensors") {
        let directory = tempfile::tempdir().unwrap();
        fs::copy(&config, directory.path().join("config.json")).unwrap();
        fs::copy(&path, directory.path().join("model.safetensors")).unwrap();
        let message = message(directory.path());
        assert!(message.contains("model.safetensors: "), "{message}");
    }
}

#[test]
fn what_is_not_a_directory_says_what_to_pass() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("model.safetensors");
    fs::write(&file, b"").unwrap();
    let lone = message(&file);
    assert!(lone.contains(&format!("pass {}", directory.path().display())), "{lone}");
    fs::write(directory.path().join("config.json"), b"{}").unwrap();
    assert!(message(&directory.path().join("absent")).contains("absent"));
}

#[test]
fn extra_tensors_are_refused_but_for_the_documented_ones() {
    let Some(valid) = test_data::malformed("dirs/00_valid") else { return };
    let file = fs::read(valid.join("model.safetensors")).unwrap();
    let stored = stored_tensors(&valid.join("model.safetensors")).unwrap();
    let add = |name: &str, bytes: &[u8]| {
        let copy = copy_of(&valid);
        let dtypes: Vec<String> = stored.iter().map(|tensor| tensor.dtype.to_string()).collect();
        let mut entries: Vec<(&str, &str, &[usize], &[u8])> = stored
            .iter()
            .zip(&dtypes)
            .map(|(t, dtype)| (t.name.as_str(), dtype.as_str(), t.shape.as_slice(), &file[t.bytes.clone()]))
            .collect();
        let shape = [bytes.len() / 4];
        entries.push((name, "F32", &shape, bytes));
        fs::write(copy.path().join("model.safetensors"), safetensors(&entries)).unwrap();
        copy
    };
    for harmless in ["rope_freqs.weight", "model.layers.0.self_attn.rotary_emb.inv_freq"] {
        open(add(harmless, &[0; 16]).path()).unwrap_or_else(|error| panic!("{error}"));
    }
    for extra in ["model.layers.1.input_layernorm.weight", "model.layers.0.self_attn.q_proj.bias", "inv_freq"]
    {
        let message = message(add(extra, &[0; 16]).path());
        assert!(message.contains(extra), "{message}");
    }

    // The output projection of this model, made equal to the embedding and declared tied.
    let tied = copy_of(&valid);
    edit_config(tied.path(), |config| config["tie_word_embeddings"] = json!(true));
    assert!(message(tied.path()).contains("lm_head.weight"));
    let place = |name: &str| stored.iter().find(|tensor| tensor.name == name).unwrap().bytes.clone();
    let mut equal = file.clone();
    equal.copy_within(place("model.embed_tokens.weight"), place("lm_head.weight").start);
    fs::write(tied.path().join("model.safetensors"), equal).unwrap();
    let checkpoint = open(tied.path()).unwrap();
    assert!(checkpoint.tensors().iter().all(|tensor| tensor.name != "lm_head.weight"));
}

#[test]
fn an_embedded_model_reads_like_its_directory() {
    let Some(valid) = test_data::malformed("dirs/00_valid") else { return };
    let leak = |name: &str| &*fs::read(valid.join(name)).unwrap().leak();
    let embedded =
        HuggingFaceCheckpoint::from_memory(leak("config.json"), leak("model.safetensors"), "built in")
            .unwrap();
    let on_disk = open(&valid).unwrap();
    assert_eq!(embedded.config(), on_disk.config());
    assert_eq!(embedded.tensors(), on_disk.tensors());
    let name = "model.layers.0.mlp.down_proj.weight";
    assert_eq!(read_floats(&embedded, name), read_floats(&on_disk, name));
    let broken = HuggingFaceCheckpoint::from_memory(b"{}", b"", "built in");
    assert!(broken.err().unwrap().to_string().starts_with("built in/config.json: model_type"));
}

/// The bytes of a tensor, straight from a file.
fn raw(directory: &Path, name: &str) -> (Vec<usize>, Vec<u8>) {
    let path = directory.join("model.safetensors");
    let file = fs::read(&path).unwrap();
    let tensors = stored_tensors(&path).unwrap();
    let tensor = tensors.into_iter().find(|tensor| tensor.name == name).unwrap();
    (tensor.shape, file[tensor.bytes].to_vec())
}

#[test]
fn quantised_reference_models_open_with_the_layers_of_their_files() {
    let Some(base) = test_data::oracle("ct") else { return };
    for (name, group_size, scales, quantised_tensors, offset_binary) in [
        ("pack_g32_lmhead_f16", Some(32), ScaleType::F16, 22, true),
        ("pack_channel_tied_bf16", None, ScaleType::Bf16, 21, true),
        ("pack_g32_ignored_layers_bf16", Some(32), ScaleType::Bf16, 20, true),
        ("int_g32_f16", Some(32), ScaleType::F16, 21, false),
    ] {
        let directory = base.join(name);
        if !directory.exists() {
            continue;
        }
        let checkpoint = open(&directory).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(checkpoint.config().group_size, group_size);
        let quantised =
            checkpoint.tensors().iter().filter(|t| t.storage == (Storage::W8A16 { group_size, scales }));
        assert_eq!(quantised.count(), quantised_tensors, "{name}");
        let others = checkpoint.tensors().iter().filter(|t| !matches!(t.storage, Storage::W8A16 { .. }));
        assert!(others.clone().all(|tensor| tensor.storage == Storage::Float16), "{name}");

        let layer = "model.layers.1.self_attn.q_proj";
        let index = checkpoint.tensors().iter().position(|t| t.name == format!("{layer}.weight")).unwrap();
        let TensorData::Quantized(tensor) = Checkpoint::open(&checkpoint, index).unwrap() else {
            panic!("{layer}")
        };
        let part = if offset_binary { "weight_packed" } else { "weight" };
        let (_, values) = raw(&directory, &format!("{layer}.{part}"));
        let (scale_shape, scale_bytes) = raw(&directory, &format!("{layer}.weight_scale"));
        let (n, k) = tensor.shape();
        assert_eq!(n, scale_shape[0]);
        assert_eq!((tensor.row_bytes(), tensor.row_scale_bytes()), (k, scale_bytes.len() / n));
        assert_eq!(tensor.is_offset_binary(), offset_binary);
        let (mut found, mut found_scales) = (vec![0; values.len()], vec![0; scale_bytes.len()]);
        tensor.read_values(0..n, &mut found).unwrap();
        tensor.read_scales(0..n, &mut found_scales).unwrap();
        assert!((found, found_scales) == (values, scale_bytes));
    }
}

#[test]
fn configurations_that_are_not_w8a16_are_refused_by_name() {
    let Some(base) = test_data::oracle("ct") else { return };
    let weights = base.join("pack_g32_lmhead_f16/model.safetensors");
    if !weights.exists() {
        return;
    }
    for path in test_data::files(&base.join("refuse"), "json") {
        let expected = match path.file_stem().unwrap().to_str().unwrap() {
            "actorder_g_idx" => "activation order",
            "asymmetric_zero_points" => "asymmetric",
            "bitsandbytes" => "bitsandbytes",
            "fp8_weights" => "float-quantized",
            "gptq_quant_method" => "gptq",
            "hadamard_transform" => "transform_config",
            "int4_weights" => "4-bit",
            "int8_activations_w8a8" => "input_activations",
            "kv_cache_scheme_fp8" => "kv_cache_scheme",
            "marlin_24_format" => "marlin-24",
            "sparse_2of4" => "sparsity_config",
            "tensor_strategy_dynamic_weights" => "dynamic",
            "two_groups_int8_and_int4" => "group_1.weights.num_bits",
            other => panic!("no expectation for {other}"),
        };
        let directory = tempfile::tempdir().unwrap();
        fs::copy(&path, directory.path().join("config.json")).unwrap();
        fs::copy(&weights, directory.path().join("model.safetensors")).unwrap();
        let message = message(directory.path());
        assert!(message.contains("config.json") && message.contains(expected), "{message}");
        assert!(message.contains("is not supported"), "{message}");
    }
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    let Some(source) = test_data::oracle("ct/pack_g32_lmhead_f16") else { return };
    let name = "lm_head.weight_shape";
    let (_, shape) = raw(&source, name);
    assert_eq!(shape, [320_i64, 64].map(i64::to_le_bytes).concat());
    let copy = copy_of(&source);
    let path = copy.path().join("model.safetensors");
    let mut file = fs::read(&path).unwrap();
    let tensors = stored_tensors(&path).unwrap();
    let at = tensors.iter().find(|tensor| tensor.name == name).unwrap().bytes.start;
    file[at + 8] = 63;
    fs::write(&path, &file).unwrap();
    assert!(message(copy.path()).contains("lm_head.weight_shape: says [320, 63]"));

    let group = |group_size: usize| {
        let copy = copy_of(&source);
        edit_config(copy.path(), |config| {
            config["quantization_config"]["config_groups"]["group_0"]["weights"]["group_size"] =
                json!(group_size);
        });
        message(copy.path())
    };
    assert!(group(64).contains("weight_scale: has shape"), "{}", group(64));

    let edited = |edit: &dyn Fn(&mut Value)| {
        let copy = copy_of(&source);
        edit_config(copy.path(), |config| edit(&mut config["quantization_config"]));
        open(copy.path()).err().map(|error| error.to_string())
    };
    let ignored = edited(&|config| config["ignore"] = json!(["lm_head"])).unwrap();
    assert!(ignored.contains("lm_head.weight") && ignored.contains("does not cover"), "{ignored}");
    let targets = json!(["re:.*lm_head$", "Linear"]);
    assert_eq!(edited(&|config| config["config_groups"]["group_0"]["targets"] = targets.clone()), None);
    assert_eq!(edited(&|config| config["quantization_status"] = json!("frozen")), None);
    // Every optional key left out; the strategy follows from the group size.
    let minimal = json!({ "quant_method": "compressed-tensors", "config_groups": { "g": {
        "targets": ["Linear"], "format": "pack-quantized", "weights": { "group_size": 32 } } } });
    assert_eq!(edited(&|config| *config = minimal.clone()), None);
}

#[test]
fn zero_points_may_be_there_as_zeros_only() {
    let Some(source) = test_data::oracle("ct/int_g32_f16") else { return };
    let path = source.join("model.safetensors");
    let file = fs::read(&path).unwrap();
    let stored = stored_tensors(&path).unwrap();
    let with = |name: &str, value: u8| {
        let copy = copy_of(&source);
        let dtypes: Vec<String> = stored.iter().map(|tensor| tensor.dtype.to_string()).collect();
        let mut entries: Vec<(&str, &str, &[usize], &[u8])> = stored
            .iter()
            .zip(&dtypes)
            .map(|(t, dtype)| (t.name.as_str(), dtype.as_str(), t.shape.as_slice(), &file[t.bytes.clone()]))
            .collect();
        let zeros = [value; 64 * 2];
        entries.push((name, "I8", &[64, 2], &zeros));
        fs::write(copy.path().join("model.safetensors"), safetensors(&entries)).unwrap();
        open(copy.path()).err().map(|error| error.to_string())
    };
    assert_eq!(with("model.layers.0.self_attn.q_proj.weight_zero_point", 0), None);
    let refused = with("model.layers.0.self_attn.q_proj.weight_zero_point", 1).unwrap();
    assert!(refused.contains("weight_zero_point") && refused.contains("asymmetric"), "{refused}");
    let refused = with("model.layers.0.self_attn.q_proj.weight_g_idx", 0).unwrap();
    assert!(refused.contains("activation order"), "{refused}");
}
