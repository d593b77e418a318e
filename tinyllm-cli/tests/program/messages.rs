//! What is passed in a model's place is named for what it is, with the way out.

use std::{fs, path::Path};

use serde_json::{Value, json};

use super::{austen, refusal, root, run, text, tiny};

/// A copy of a model's directory, to be spoilt.
fn copy_of(model: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(model).unwrap().flatten() {
        fs::copy(entry.path(), folder.path().join(entry.file_name())).unwrap();
    }
    folder
}

fn says(arguments: &[&str], words: &[&str]) {
    let stderr = refusal(arguments, b"");
    for word in words {
        assert!(stderr.contains(word), "{arguments:?} does not say {word:?}: {stderr}");
    }
}

/// As git-lfs and the hub write them.
const POINTER: &str = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
const PAGE: &str = "<!doctype html>\n<html class=\"\">\n<head><title>model.safetensors</title>";

#[test]
fn a_pointer_or_a_page_in_a_files_place_is_named() {
    for (contents, words) in
        [(POINTER, ["git-lfs pointer", "git lfs pull"]), (PAGE, ["HTML page", "resolve"])]
    {
        for file in ["model.safetensors", "config.json", "tokenizer.json"] {
            let folder = copy_of(&austen());
            fs::write(folder.path().join(file), contents).unwrap();
            let model = folder.path().to_str().unwrap();
            says(&["run", model, "hi"], &[file, words[0], words[1]]);
        }
        let folder = tempfile::tempdir().unwrap();
        for file in ["model.gguf", "model.bin"] {
            let path = folder.path().join(file);
            fs::write(&path, contents).unwrap();
            for verb in ["show", "template"] {
                let path = path.to_str().unwrap();
                let arguments =
                    [&[verb, path][..], &["/dev/null"][..usize::from(verb == "template")]].concat();
                let stderr = String::from_utf8(run(&arguments).stderr).unwrap();
                assert!(verb == "template" || stderr.contains(words[0]), "{stderr}");
            }
        }
    }
}

#[test]
fn directories_that_are_no_models_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().to_str().unwrap();
    says(&["show", model], &["neither config.json nor a .gguf file"]);
    fs::write(folder.path().join("params.json"), "{}").unwrap();
    says(&["show", model], &["params.json", "config.json"]);
    let adapter = json!({"base_model_name_or_path": "org/base", "peft_type": "LORA"});
    fs::write(folder.path().join("adapter_config.json"), adapter.to_string()).unwrap();
    says(&["show", model], &["LoRA adapter", "org/base", "merge"]);

    let mlx = copy_of(tiny("qwen3").as_ref());
    let path = mlx.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    config["quantization"] = json!({"group_size": 64, "bits": 4});
    fs::write(&path, config.to_string()).unwrap();
    fs::remove_file(mlx.path().join("model.safetensors")).unwrap();
    fs::write(mlx.path().join("model.safetensors"), safetensors(&["model.embed_tokens.biases"])).unwrap();
    says(&["show", mlx.path().to_str().unwrap()], &["MLX", "4 bits"]);
}

/// A file with tensors of no elements.
fn safetensors(names: &[&str]) -> Vec<u8> {
    let empty = json!({"dtype": "F32", "shape": [0], "data_offsets": [0, 0]});
    let header: serde_json::Map<String, Value> =
        names.iter().map(|name| ((*name).to_owned(), empty.clone())).collect();
    let header = Value::Object(header).to_string();
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes()].concat()
}

#[test]
fn names_of_tensors_tell_what_a_model_is() {
    let folder = copy_of(tiny("qwen3").as_ref());
    let model = folder.path().to_str().unwrap();
    for (tensor, words) in [
        ("_orig_mod.model.embed_tokens.weight", ["prefix _orig_mod.", "torch.compile"]),
        ("language_model.model.embed_tokens.weight", ["prefix language_model.", "pictures"]),
        ("embed_tokens.weight", ["embedding models", "vectors"]),
    ] {
        fs::write(folder.path().join("model.safetensors"), safetensors(&[tensor])).unwrap();
        says(&["show", model], &[tensor, words[0], words[1]]);
    }
}

#[test]
fn a_tokenizer_of_another_kind_is_named() {
    let folder = copy_of(&austen());
    let model = folder.path().to_str().unwrap();
    fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
    says(&["tokenize", model, "hi"], &["tokenizer.json", "published"]);
    fs::write(folder.path().join("tokenizer.model"), "").unwrap();
    says(&["tokenize", model, "hi"], &["tokenizer.model", "AutoTokenizer"]);
}

#[test]
fn a_gguf_is_known_by_its_contents_and_in_its_directory() {
    let gguf = root().join("tests/oracle/gguf/tiny256.q8_0.gguf");
    let folder = tempfile::tempdir().unwrap();
    let ids = ["--ids", "1,2,3"];
    let logits = |model: &Path| text(&[&["logits", model.to_str().unwrap()], &ids[..]].concat());
    let expected = logits(&gguf);
    let blob = folder.path().join("sha256-0123");
    fs::copy(&gguf, &blob).unwrap();
    assert_eq!(logits(&blob), expected);
    fs::rename(&blob, folder.path().join("model.gguf")).unwrap();
    fs::write(folder.path().join("README.md"), "").unwrap();
    assert_eq!(logits(folder.path()), expected);
    fs::copy(&gguf, folder.path().join("other.gguf")).unwrap();
    says(&["logits", folder.path().to_str().unwrap(), "--ids", "1"], &["several", "model.gguf, other.gguf"]);
}

#[test]
fn what_was_meant_is_guessed() {
    says(&["run", "smolm2", "hi"], &["did you mean smollm2?"]);
    says(&["show", "SmolLM2"], &["did you mean smollm2?"]);
    says(&["run", "What is the capital of France?"], &["did you forget it?", "run smollm2 \"What is"]);
    says(&["run", "what", "is", "the", "sky"], &["run MODEL PROMPT"]);
    for verb in ["show", "plan", "tokenize"] {
        says(&[verb], &["MODEL"]);
    }
    says(&["show"], &["org/name", "smollm2"]);
    let stderr = refusal(&["run", "-m", "model.gguf", "-p", "hi"], b"");
    assert!(stderr.contains("tinyllm run MODEL PROMPT") && !stderr.contains("as a value"), "{stderr}");
}

#[test]
fn no_error_names_a_file_by_what_it_is_called_meanwhile() {
    let austen = austen();
    for arguments in [
        &["plan", austen.to_str().unwrap(), "--svg", "/nonexistent/x.svg"][..],
        &["run", austen.to_str().unwrap(), "hi", "-n", "1", "--memory-trace", "/nonexistent/x.json"],
    ] {
        let output = run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("/nonexistent/x.") && stderr.contains("No such file"), "{stderr}");
        assert!(!stderr.contains(".tmp"), "{stderr}");
    }
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("out");
    // The input's last number is none: the error comes when the rest has been written.
    let folder = copy_of(tiny("llama_gqa_tied_bf16").as_ref());
    let path = folder.path().join("model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let stderr = refusal(&["quantize", folder.path().to_str().unwrap(), out.to_str().unwrap()], b"");
    assert!(!stderr.contains("tinyllm-quantize"), "{stderr}");
}
