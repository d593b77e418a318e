//! The shapes that other programs read.

use serde_json::Value;

use super::{austen, json, text, text_with, tiny};

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn logits_are_a_list_for_each_position() {
    let model = tiny("llama_gqa_tied_bf16");
    let answer = json(&["logits", &model, "--ids", "1,2,3", "--json"]);
    assert_eq!(keys(&answer), ["ids", "logits"]);
    assert_eq!(answer["ids"], serde_json::json!([1, 2, 3]));
    let rows = answer["logits"].as_array().unwrap();
    assert_eq!(rows.len(), 3);
    let config: Value =
        serde_json::from_slice(&std::fs::read(format!("{model}/config.json")).unwrap()).unwrap();
    for row in rows {
        assert_eq!(row.as_array().unwrap().len() as u64, config["vocab_size"].as_u64().unwrap());
    }
}

#[test]
fn run_prints_one_object() {
    let model = austen();
    let model = model.to_str().unwrap();
    let answer = json(&["run", model, "It is a truth", "--raw", "--temp", "0", "-n", "8", "--json"]);
    assert_eq!(keys(&answer), ["prompt_ids", "ids", "text", "finish_reason", "timings", "memory"]);
    assert_eq!(answer["ids"].as_array().unwrap().len(), 8);
    assert_eq!(answer["finish_reason"], "length");
    let timings = ["load_ms", "prefill_ms", "decode_ms", "prefill_tokens_per_s", "decode_tokens_per_s"];
    assert_eq!(keys(&answer["timings"]), timings);
    for category in ["weights", "scales", "kv", "activations", "logits"] {
        let usage = &answer["memory"][category];
        assert_eq!(keys(usage), ["live_bytes", "peak_bytes", "count"], "{category}");
        assert!(usage["peak_bytes"].as_u64().unwrap() > 0, "{category}");
    }
    // The same tokens, given as ids, go on the same way.
    let ids: Vec<String> = answer["prompt_ids"].as_array().unwrap().iter().map(ToString::to_string).collect();
    let again = json(&["run", model, "--ids", &ids.join(","), "--temp", "0", "-n", "8", "--json"]);
    assert_eq!(again["ids"], answer["ids"]);
    assert_eq!(again["prompt_ids"], answer["prompt_ids"]);
}

#[test]
fn a_seed_repeats_an_answer_with_any_number_of_threads() {
    let answer = |seed: &str, threads: &str| {
        text(&[
            "run",
            austen().to_str().unwrap(),
            "She was",
            "-n",
            "24",
            "--temp",
            "1.2",
            "-s",
            seed,
            "-t",
            threads,
        ])
    };
    assert_eq!(answer("7", "1"), answer("7", "3"));
    assert_ne!(answer("7", "1"), answer("8", "1"));
}

#[test]
fn tokenize_and_detokenize_are_inverse() {
    let model = austen();
    let model = model.to_str().unwrap();
    let from_argument = json(&["tokenize", model, "It is\n"]);
    assert_eq!(keys(&from_argument), ["ids"]);
    // stdin is taken byte for byte, the last newline included.
    let from_stdin: Value = serde_json::from_str(&text_with(&["tokenize", model], b"It is\n")).unwrap();
    assert_eq!(from_stdin, from_argument);
    let ids: Vec<String> = from_argument["ids"].as_array().unwrap().iter().map(ToString::to_string).collect();
    let back = json(&["detokenize", model, "--ids", &ids.join(",")]);
    assert_eq!(back, serde_json::json!({"text": "It is\n"}));
}

#[test]
fn perplexity_has_three_figures() {
    let folder = tempfile::tempdir().unwrap();
    let ids = folder.path().join("ids.json");
    std::fs::write(&ids, "[1,2,3,4,5,6,7,8,9,10]").unwrap();
    let model = tiny("llama_gqa_tied_bf16");
    let ids = ids.to_str().unwrap();
    let answer = json(&["perplexity", &model, "--ids-file", ids, "--window", "5", "--json"]);
    assert_eq!(answer["predictions"], 8);
    let mean = answer["mean_nll"].as_f64().unwrap();
    assert!((answer["ppl"].as_f64().unwrap() - mean.exp()).abs() < 1e-6 * mean.exp());
}

#[test]
fn show_lists_every_tensor() {
    let answer = json(&["show", &tiny("llama_sharded"), "--json"]);
    let tensors = answer["tensors"].as_array().unwrap();
    let sum: u64 = tensors.iter().map(|tensor| tensor["bytes"].as_u64().unwrap()).sum();
    assert_eq!(answer["bytes"].as_u64(), Some(sum));
    assert!(tensors.iter().any(|tensor| tensor["name"] == "model.embed_tokens.weight"));
}
