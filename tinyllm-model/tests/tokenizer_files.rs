//! Tokens that files beside a tokenizer.json add, and the tokens that end an answer. Expected ids are those of
//! transformers 4.57 and 5.24, which agree.
#![allow(clippy::unwrap_used)] // a test ends where it fails

use serde_json::{Value, json};
use tempfile::TempDir;
use tinyllm_model::{
    Tokenizer,
    chat::TemplateSource,
    tokenizer::{EncodeOptions, SpecialTokens},
};

/// A directory with a tokenizer of the letters a to d, `<e>` and `<f>`, and other files.
fn directory(files: &[(&str, Value)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let vocab = json!({"a": 0, "b": 1, "c": 2, "d": 3, "<": 4, ">": 5, "e": 6, "<e>": 7});
    let tokenizer = json!({
        "version": "1.0",
        "truncation": {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "a"},
        "added_tokens": [], "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
        "model": {"type": "BPE", "vocab": vocab, "merges": []}});
    for (name, content) in [("tokenizer.json", tokenizer)].iter().chain(files) {
        std::fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

fn encode(folder: &TempDir, text: &str) -> Vec<u32> {
    let tokenizer = Tokenizer::from_directory(folder.path()).unwrap();
    tokenizer.encode(text, EncodeOptions { parse_special: true, add_special: false }).unwrap()
}

#[test]
fn truncation_and_padding_are_not_obeyed() {
    assert_eq!(encode(&directory(&[]), "abcd"), [0, 1, 2, 3]);
}

#[test]
fn tokens_are_added_by_each_file() {
    let plain = directory(&[]);
    assert_eq!(encode(&plain, "a<e>"), [0, 4, 6, 5]);
    let token = |content: &str| {
        json!({"content": content, "lstrip": false, "normalized": false, "rstrip": false,
        "single_word": false, "special": true})
    };
    let decoder = json!({"added_tokens_decoder": {"8": token("<x>"), "7": token("<e>")}});
    let by_config = directory(&[("tokenizer_config.json", decoder)]);
    assert_eq!(encode(&by_config, "<x><e>b"), [8, 7, 1]);
    let by_list = directory(&[("added_tokens.json", json!({"<y>": 9, "<x>": 8}))]);
    assert_eq!(encode(&by_list, "<x><y>"), [8, 9]);
    let by_map = directory(&[(
        "special_tokens_map.json",
        json!({"pad_token": "<e>", "bos_token": {"content": "<z>"}}),
    )]);
    assert_eq!(encode(&by_map, "<z><e>a"), [8, 7, 0]);
    // The older files do not count beside a list in tokenizer_config.json.
    let listed = json!({"added_tokens_decoder": {"7": token("<e>")}});
    let both = directory(&[
        ("tokenizer_config.json", listed),
        ("special_tokens_map.json", json!({"bos_token": "d"})),
        ("added_tokens.json", json!({"c": 8})),
    ]);
    assert_eq!(SpecialTokens::from_directory(both.path()).unwrap().get("bos_token"), None);
}

#[test]
fn names_come_from_both_files() {
    let folder = directory(&[
        (
            "special_tokens_map.json",
            json!({"bos_token": "<z>", "pad_token": null, "additional_special_tokens": ["<q>"]}),
        ),
        (
            "tokenizer_config.json",
            json!({"bos_token": "a", "eos_token": "b", "pad_token": "c",
            "model_max_length": 1, "chat_template": "{{ bos_token }}"}),
        ),
    ]);
    let source = TemplateSource::from_directory(folder.path()).unwrap().unwrap();
    assert_eq!(source.tokens.named().collect::<Vec<_>>(), [("bos_token", "<z>"), ("eos_token", "b")]);
    assert_eq!(source.tokens.additional(), ["<q>"]);
    let tokenizer = Tokenizer::from_directory(folder.path()).unwrap();
    assert_eq!(tokenizer.end_token_ids(), [1]);
}

#[test]
fn python_writes_infinity() {
    let folder = directory(&[]);
    let config = "{\"model_max_length\": Infinity, \"eos_token\": \"b\"}";
    std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
    assert_eq!(Tokenizer::from_directory(folder.path()).unwrap().end_token_ids(), [1]);
}

#[test]
fn an_id_without_a_token_is_no_text() {
    let tokenizer = Tokenizer::from_directory(directory(&[]).path()).unwrap();
    let mut stream = tokenizer.decode_stream(true);
    let pieces: Vec<Option<String>> = [0, 99, 1].into_iter().map(|id| stream.push(id).unwrap()).collect();
    assert_eq!(pieces, [Some("a".into()), None, Some("b".into())]);
    assert!(tokenizer.decode(&[99], true).is_err());
}
