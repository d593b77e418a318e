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

#[test]
fn no_text_is_the_source_codes_own() {
    let model = tiny("llama_gqa_tied_bf16");
    let folder = tempfile::tempdir().unwrap();
    for (option, expected) in [("32", serde_json::json!(32)), ("channel", serde_json::json!("channel"))] {
        let out = folder.path().join(option);
        let out = out.to_str().unwrap();
        let report = json(&["quantize", &model, out, "--group-size", option, "--json"]);
        assert_eq!(report["group_size"], expected);
        let config = json(&["show", out, "--json"]);
        assert_eq!(config["config"]["quantization"], "W8A16");
        assert_eq!(config["config"]["group_size"], expected);
    }
    let config = json(&["show", &model, "--json"]);
    assert_eq!(config["config"]["quantization"], Value::Null);
}

#[test]
fn numbers_of_a_gguf_are_those_that_were_written() {
    let gguf = super::root().join("tests/oracle/gguf/tiny256.q8_0.gguf");
    let shown = text(&["show", gguf.to_str().unwrap(), "--json"]);
    // A GGUF has 32-bit floats: 1e-5 there is 9.999999747378752e-6 in 64 bits.
    assert!(shown.contains("\"rms_norm_eps\":0.00001,"), "{shown}");
}

#[test]
fn show_is_a_screen_and_tensors_come_in_the_order_of_layers() {
    let model = austen();
    let model = model.to_str().unwrap();
    let screen = text(&["show", model]);
    assert!(screen.lines().count() < 20, "{screen}");
    assert!(screen.contains("512 tokens") && screen.contains("<|endoftext|>"), "{screen}");
    assert!(!screen.contains("layers.0"), "{screen}");
    let names: Vec<String> = json(&["show", model, "--json"])["tensors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tensor| tensor["name"].as_str().unwrap().to_owned())
        .collect();
    let all = text(&["show", model, "-v"]);
    let places: Vec<usize> = names.iter().map(|name| all.find(&format!(" {name} ")).unwrap()).collect();
    assert!(places.is_sorted(), "{all}");
}

#[test]
fn quantize_sums_up() {
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name).display().to_string();
    let q4 = super::root().join("tests/oracle/gguf/tiny256.q4_k_m.gguf").display().to_string();
    let output = super::run(&["quantize", &q4, &out("a")]);
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert!(output.status.success(), "{stderr}");
    assert!(stderr.contains("fewer bits than int8"), "{stderr}");
    assert!(stdout.lines().count() == 2 && stdout.contains("relative rms error"), "{stdout}");
    let bf16 = tiny("llama_gqa_tied_bf16");
    let output = super::run(&["quantize", &bf16, &out("b"), "-v"]);
    assert!(!String::from_utf8(output.stderr).unwrap().contains("fewer bits"));
    assert!(String::from_utf8(output.stdout).unwrap().contains("layers.0.self_attn.q_proj"));
}
