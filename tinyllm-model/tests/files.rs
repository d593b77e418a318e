//! Models opened whole: from a directory, a GGUF file and memory, every part that a server needs.
#![allow(clippy::unwrap_used)] // a test ends where it fails

use std::path::{Path, PathBuf};

use serde_json::json;
use tinyllm_mem::HostResource;
use tinyllm_model::{
    ModelError, ModelFiles,
    chat::Message,
    engine::EngineOptions,
    files::{EmbeddedFiles, TextFiles, join},
    tokenizer::EncodeOptions,
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A copy of the model that is part of the program, with a chat template and an end token in the tokenizer's file.
fn directory() -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(repository().join("tinyllm-cli/assets/tiny-austen")).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
    }
    let config = json!({"eos_token": "<|im_end|>", "chat_template": "{{ messages[0].content }}"});
    std::fs::write(copy.path().join("tokenizer_config.json"), config.to_string()).unwrap();
    std::fs::remove_file(copy.path().join("special_tokens_map.json")).unwrap();
    copy
}

#[test]
fn a_directory_is_loaded_with_all_that_answers_need() {
    let directory = directory();
    let files = ModelFiles::open(directory.path()).unwrap();
    assert_eq!(files.path(), directory.path());
    assert_eq!(files.text().directory(), Some(directory.path()));
    assert!(files.text().gguf().is_none() && files.config_json().is_some() && files.notes().is_empty());
    let model = files.load(&EngineOptions::default(), &HostResource::shared(), &|_| {}).unwrap();
    let messages = [Message { role: "user".into(), content: "It is a truth".into() }];
    let ids = model.template.unwrap().encode(&model.tokenizer, &messages, true).unwrap();
    assert_eq!(ids, model.tokenizer.encode("It is a truth", EncodeOptions::default()).unwrap());
    assert_eq!(model.engine.config(), files.config());
    assert_eq!(files.config().eos_token_ids, [0]);
    assert_eq!(model.end_token_ids, [0, 2]);
}

#[test]
fn text_files_need_no_weights() {
    let directory = directory();
    std::fs::remove_file(directory.path().join("model.safetensors")).unwrap();
    assert!(ModelFiles::open(directory.path()).is_err());
    let text = TextFiles::open(directory.path()).unwrap();
    assert!(text.tokenizer().unwrap().vocab_size() > 0);
    assert_eq!(text.template_source().unwrap().unwrap().tokens.get("eos_token"), Some("<|im_end|>"));
    assert_eq!(text.special_tokens().unwrap().get("eos_token"), Some("<|im_end|>"));
}

#[test]
fn a_gguf_is_opened_once_for_weights_and_text() {
    let path = repository().join("tests/oracle/gguf/tiny_spm1000.f16.gguf");
    let files = ModelFiles::open(&path).unwrap();
    assert_eq!(files.text().gguf().unwrap().path(), path);
    assert!(files.config_json().is_none() && files.text().directory().is_none());
    let model = files.load(&EngineOptions::default(), &HostResource::shared(), &|_| {}).unwrap();
    assert_eq!(model.tokenizer.vocab_size(), files.config().vocab_size);
}

#[test]
fn an_embedded_model_is_that_of_its_files() {
    let on_disk = ModelFiles::open(&repository().join("tinyllm-cli/assets/tiny-austen")).unwrap();
    let files = EmbeddedFiles {
        name: "tiny-austen",
        config: include_bytes!("../../tinyllm-cli/assets/tiny-austen/config.json"),
        safetensors: include_bytes!("../../tinyllm-cli/assets/tiny-austen/model.safetensors"),
        tokenizer: include_bytes!("../../tinyllm-cli/assets/tiny-austen/tokenizer.json"),
    };
    let embedded = ModelFiles::embedded(files).unwrap();
    assert_eq!(embedded.config(), on_disk.config());
    assert_eq!(embedded.path(), Path::new("tiny-austen"));
    assert!(embedded.text().template_source().unwrap().is_none());
    let encode = |files: &ModelFiles| {
        files.text().tokenizer().unwrap().encode("It is a truth", EncodeOptions::default()).unwrap()
    };
    assert_eq!(encode(&embedded), encode(&on_disk));
    let error = ModelFiles::embedded(EmbeddedFiles { config: b"{}", ..files }).err().unwrap();
    assert!(error.to_string().starts_with("tiny-austen/config.json: "), "{error}");
}

#[test]
fn an_error_of_the_tokenizer_is_told_before_one_of_the_weights() {
    let wrong = |what: &str| ModelError::malformed(Path::new(what), "field", "wrong");
    let joined = join(|| Err::<(), _>(wrong("tokenizer")), || Err::<(), _>(wrong("weights")));
    assert_eq!(joined.unwrap_err().to_string(), "tokenizer: field: wrong");
    assert_eq!(
        join(|| Ok(1), || Err::<(), _>(wrong("weights"))).unwrap_err().to_string(),
        "weights: field: wrong"
    );
    assert_eq!(join(|| Ok::<_, ModelError>(1), || Ok(2)).unwrap(), (1, 2));
}
