//! Configurations of the reference models in the spellings of both versions of transformers, and faults by name.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{config::RopeScaling, test_data};

fn parse(config: &Value) -> Result<ModelConfig> {
    ModelConfig::from_json_value(config, Path::new("config.json"))
}

/// A small valid config.json with some keys changed; null removes a key.
fn parse_with(changes: Value) -> Result<ModelConfig> {
    let mut config = json!({
        "model_type": "llama", "vocab_size": 320, "hidden_size": 64, "intermediate_size": 160,
        "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_act": "silu"
    });
    for (key, value) in changes.as_object().unwrap() {
        config[key] = value.clone();
    }
    parse(&config)
}

fn message(changes: Value) -> String {
    parse_with(changes).unwrap_err().to_string()
}

#[test]
fn transformers_5_writes_the_same_models_as_4() {
    let (Some(old), Some(new)) = (test_data::oracle("tiny"), test_data::oracle("config_v5")) else { return };
    let mut compared = 0;
    for directory in test_data::folders(&new) {
        let old = old.join(directory.file_name().unwrap()).join("config.json");
        if !old.exists() {
            continue;
        }
        // Without the generation_config.json that only the older folders have.
        let read = |path: &Path| ModelConfig::from_json(&std::fs::read(path).unwrap(), path).unwrap();
        assert_eq!(read(&old), read(&directory.join("config.json")), "{}", directory.display());
        compared += 1;
    }
    assert!(compared > 0);
}

#[test]
fn other_spellings_mean_the_named_model() {
    let (Some(variants), Some(base)) = (test_data::oracle("config_variants"), test_data::oracle("")) else {
        return;
    };
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(variants.join("manifest.json")).unwrap()).unwrap();
    for entry in manifest.as_array().unwrap() {
        let same_as = base.join(entry["use_weights_and_expected_of"].as_str().unwrap()).join("config.json");
        let variant = variants.join(entry["config"].as_str().unwrap());
        if !same_as.exists() || !variant.exists() {
            continue;
        }
        let mut read = ModelConfig::from_hugging_face(&variant).unwrap();
        let expected = ModelConfig::from_hugging_face(&same_as).unwrap();
        if variant.ends_with("ints_lists_unknown_keys.json") {
            assert_eq!(read.eos_token_ids, [2, 5]);
            read.eos_token_ids.truncate(1);
        }
        assert_eq!(read, expected, "{}", variant.display());
    }
}

#[test]
fn the_reference_models_are_read_as_their_files_say() {
    let Some(tiny) = test_data::oracle("tiny") else { return };
    let read = |name: &str| {
        let path = tiny.join(name).join("config.json");
        path.exists().then(|| ModelConfig::from_hugging_face(&path).unwrap())
    };
    if let Some(config) = read("llama_bias") {
        assert!(config.qkv_bias && config.attention_out_bias && config.mlp_bias && !config.qk_norm);
    }
    if let Some(config) = read("qwen2") {
        assert!(config.qkv_bias && !config.attention_out_bias && config.tie_word_embeddings);
        assert_eq!((config.head_dim, config.rope.theta), (16, 1e6));
        assert_eq!(config.sliding_windows, [None; 3]);
    }
    if let Some(config) = read("qwen3") {
        assert!(!config.qkv_bias && config.qk_norm);
        assert_eq!(config.head_dim, 32);
    }
    if let Some(config) = read("mistral_swa16") {
        assert_eq!(config.sliding_windows, [Some(16); 3]);
    }
    if let Some(config) = read("llama_rope_yarn") {
        let expected = RopeScaling::Yarn {
            factor: 4.0,
            // 0.1 · ln 4 + 1
            attention_factor: 1.138_629_436_111_989,
            beta_fast: 32.0,
            beta_slow: 1.0,
            truncate: true,
            original_max_position_embeddings: 64,
        };
        assert_eq!(config.rope.scaling, expected);
    }
    if let Some(config) = read("llama_rope_llama3") {
        let expected = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64,
        };
        assert_eq!(config.rope.scaling, expected);
    }
}

#[test]
fn what_is_absent_has_the_defaults_of_its_family() {
    let llama = parse_with(json!({})).unwrap();
    assert_eq!(llama.num_key_value_heads, 4);
    assert_eq!((llama.head_dim, llama.max_position_embeddings, llama.rms_norm_eps), (16, 2048, 1e-6));
    assert_eq!((llama.bos_token_id, llama.eos_token_ids), (Some(1), vec![2]));
    assert_eq!(llama.rope, RopeConfig { theta: 10_000.0, scaling: RopeScaling::Default });
    assert!(!llama.tie_word_embeddings);

    let mistral = parse_with(json!({ "model_type": "mistral", "num_attention_heads": 16 })).unwrap();
    assert_eq!((mistral.num_key_value_heads, mistral.max_position_embeddings), (8, 131_072));
    assert_eq!(mistral.sliding_windows, [Some(4096); 3]);
    let nulls = json!({ "model_type": "mistral", "num_key_value_heads": null, "sliding_window": null,
                        "bos_token_id": null, "eos_token_id": null });
    let mistral = parse_with(nulls).unwrap();
    assert_eq!((mistral.num_key_value_heads, mistral.bos_token_id), (4, None));
    assert_eq!((mistral.sliding_windows, mistral.eos_token_ids), (vec![None; 3], vec![]));

    let qwen3 = parse_with(json!({ "model_type": "qwen3", "num_key_value_heads": 2 })).unwrap();
    assert_eq!((qwen3.head_dim, qwen3.bos_token_id), (128, None));
}

#[test]
fn qwen_windows_are_on_only_where_switched_on() {
    let windows = |changes: Value| {
        let mut config = json!({ "model_type": "qwen2", "num_key_value_heads": 2, "sliding_window": 16 });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        parse_with(config).unwrap().sliding_windows
    };
    assert_eq!(windows(json!({})), [None; 3]);
    let on = json!({ "use_sliding_window": true, "max_window_layers": 1 });
    assert_eq!(windows(on), [None, Some(16), Some(16)]);
    let types = json!(["sliding_attention", "full_attention", "full_attention"]);
    let on = json!({ "use_sliding_window": true, "layer_types": types });
    assert_eq!(windows(on), [Some(16), None, None]);
    assert_eq!(windows(json!({ "use_sliding_window": false, "layer_types": types })), [None; 3]);
}

#[test]
fn yarn_resolves_its_attention_factor_as_transformers_does() {
    let attention = |more: Value| {
        let mut scaling =
            json!({ "rope_type": "yarn", "factor": 40.0, "original_max_position_embeddings": 64 });
        for (key, value) in more.as_object().unwrap() {
            scaling[key] = value.clone();
        }
        match parse_with(json!({ "rope_scaling": scaling })).unwrap().rope.scaling {
            RopeScaling::Yarn { attention_factor, .. } => attention_factor,
            other => panic!("{other:?}"),
        }
    };
    let close = |a: f64, b: f64| assert!((a - b).abs() < 1e-15, "{a} {b}");
    // python: 0.1 * math.log(40) + 1 and its quotients
    close(attention(json!({})), 1.368_887_945_411_393_6);
    close(attention(json!({ "mscale": 0.707, "mscale_all_dim": 0.0 })), 1.368_887_945_411_393_6);
    close(attention(json!({ "mscale": 1.0, "mscale_all_dim": 0.5 })), 1.155_721_990_196_260_8);
    close(attention(json!({ "attention_factor": 0.75, "mscale": 1.0, "mscale_all_dim": 1.0 })), 0.75);
}

#[test]
fn faults_are_named() {
    for (changes, field) in [
        (json!({ "hidden_size": null }), "hidden_size"),
        (json!({ "num_hidden_layers": -1 }), "num_hidden_layers"),
        (json!({ "num_hidden_layers": 0 }), "num_hidden_layers"),
        (json!({ "num_hidden_layers": 1e18 as u64 }), "num_hidden_layers"),
        (json!({ "vocab_size": 1_000_000_000_000_000_000_u64 }), "vocab_size"),
        (json!({ "num_attention_heads": 0 }), "num_attention_heads"),
        (json!({ "num_key_value_heads": 3 }), "num_key_value_heads"),
        (json!({ "head_dim": 15 }), "head_dim"),
        (json!({ "rms_norm_eps": "tiny" }), "rms_norm_eps"),
        (json!({ "eos_token_id": [2, "x"] }), "eos_token_id"),
        (json!({ "rope_scaling": { "type": "linear" } }), "rope_scaling.factor"),
        (json!({ "rope_scaling": { "factor": 2.0 } }), "rope_scaling.rope_type"),
        (json!({ "rope_scaling": { "type": "linear", "factor": -2.0 } }), "rope_scaling.factor"),
        (json!({ "rope_scaling": { "type": "llama3", "factor": 2.0 } }), "rope_scaling.low_freq_factor"),
        (json!({ "model_type": "qwen2", "layer_types": ["full_attention"] }), "layer_types"),
    ] {
        let message = message(changes);
        assert!(message.starts_with(&format!("config.json: {field}: ")), "{message}");
    }
}

#[test]
fn other_models_are_refused_by_name_with_what_is_supported() {
    for (changes, name, supported) in [
        (json!({ "model_type": "bert" }), "bert", "qwen3"),
        (
            json!({ "architectures": ["LlamaForSequenceClassification"] }),
            "LlamaForSequenceClassification",
            "llama",
        ),
        (json!({ "hidden_act": "gelu" }), "gelu", "silu"),
        (json!({ "rope_scaling": { "type": "longrope", "factor": 2.0 } }), "longrope", "yarn"),
        (json!({ "rope_parameters": { "rope_type": "mrope" } }), "mrope", "yarn"),
        (
            json!({ "rope_parameters": { "full_attention": { "rope_type": "linear" } } }),
            "full_attention",
            "yarn",
        ),
        (json!({ "partial_rotary_factor": 0.5 }), "0.5", "1.0"),
    ] {
        let message = message(changes);
        assert!(message.contains(name) && message.contains(supported), "{message}");
    }
    // A type from a newer transformers must not be taken for the class of an older one.
    let mixed = json!({ "model_type": "qwen2", "architectures": ["LlamaForCausalLM"] });
    assert!(parse_with(mixed).is_err());
}

#[test]
fn generation_config_adds_ids_and_its_faults_are_ignored() {
    let mut config = parse_with(json!({})).unwrap();
    config.add_generation_eos(br#"{"temperature": "hot", "eos_token_id": [2, 7]}"#);
    assert_eq!(config.eos_token_ids, [2, 7]);
    config.add_generation_eos(br#"{"eos_token_id": [2, "x"], "top_p": 7}"#);
    config.add_generation_eos(b"not json");
    assert_eq!(config.eos_token_ids, [2, 7]);
}

#[test]
fn a_config_written_is_read_back_equal() {
    for config in [
        parse_with(json!({ "attention_bias": true, "mlp_bias": true, "eos_token_id": [2, 5] })),
        parse_with(json!({ "model_type": "mistral", "num_key_value_heads": 2, "sliding_window": 16 })),
        parse_with(json!({ "model_type": "qwen2", "num_key_value_heads": 2, "use_sliding_window": true,
                           "sliding_window": 16, "max_window_layers": 1 })),
        parse_with(json!({ "model_type": "qwen3", "num_key_value_heads": 2,
                           "rope_scaling": { "rope_type": "yarn", "factor": 4.0, "truncate": false } })),
    ] {
        let config = config.unwrap();
        let written = config.to_hugging_face(Path::new("model.gguf")).unwrap();
        assert_eq!(parse(&written).unwrap(), config);
    }
    let mut divisors = parse_with(json!({})).unwrap();
    divisors.rope.scaling = RopeScaling::Divisors(vec![1.0; 8]);
    let error = divisors.to_hugging_face(Path::new("model.gguf")).unwrap_err();
    assert!(error.to_string().contains("rope_freqs.weight"), "{error}");
}

proptest! {
    /// A config.json with any values at its keys is refused, or is one whose sizes are within the caps.
    #[test]
    fn odd_values_are_refused_or_sound(
        changes in prop::collection::vec((0..KEYS.len(), odd_value()), 1..5),
    ) {
        let mut config = json!({
            "model_type": "qwen2", "vocab_size": 320, "hidden_size": 64, "intermediate_size": 160,
            "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2
        });
        for (key, value) in changes {
            config[KEYS[key]] = value;
        }
        if let Ok(config) = parse(&config) {
            prop_assert!(config.num_attention_heads.is_multiple_of(config.num_key_value_heads));
            prop_assert!(config.head_dim >= 2 && config.head_dim.is_multiple_of(2));
            prop_assert!(config.vocab_size.checked_mul(config.hidden_size).is_some());
            prop_assert_eq!(config.sliding_windows.len(), config.num_hidden_layers);
            let (frequencies, attention) = config.rope.inverse_frequencies(config.head_dim, 1).unwrap();
            prop_assert!(frequencies.iter().all(|frequency| frequency.is_finite()) && attention.is_finite());
        }
    }
}

const KEYS: [&str; 14] = [
    "model_type",
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "rms_norm_eps",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "sliding_window",
    "layer_types",
    "quantization_config",
];

fn odd_value() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        (0..70_u32).prop_map(|value| json!(value)),
        any::<f64>().prop_map(|value| json!(value)),
        prop::sample::select(vec!["llama", "mistral", "qwen3", "yarn", "group", ""])
            .prop_map(|value| json!(value)),
    ];
    let rope_type = prop::sample::select(vec!["default", "linear", "llama3", "yarn", "dynamic"]);
    let rope = (rope_type, scalar.clone(), scalar.clone(), scalar.clone()).prop_map(
        |(name, factor, low, original)| {
            json!({ "rope_type": name, "factor": factor, "low_freq_factor": low, "high_freq_factor": 4,
                "beta_fast": low, "original_max_position_embeddings": original })
        },
    );
    prop_oneof![
        4 => scalar.clone(),
        1 => prop::collection::vec(scalar, 0..4).prop_map(Value::from),
        2 => rope,
    ]
}
