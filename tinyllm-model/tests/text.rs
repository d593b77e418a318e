//! Tokenizers and chat templates against the reference set.
#![allow(clippy::unwrap_used, clippy::print_stderr)] // a test ends where it fails, and says what it skips

mod common;

use std::path::Path;

use common::oracle_dir;
use tinyllm_model::{
    Tokenizer,
    chat::{ChatTemplate, TemplateSource},
    checkpoint::gguf::Gguf,
    tokenizer::{EncodeOptions, SpecialTokens},
};

fn json(path: &Path) -> Option<serde_json::Value> {
    let text = std::fs::read_to_string(path);
    if text.is_err() {
        eprintln!("skipped: {} is absent", path.display());
    }
    text.ok().map(|text| serde_json::from_str(&text).unwrap())
}

fn ids(value: &serde_json::Value) -> Option<Vec<u32>> {
    Some(value.as_array()?.iter().map(|id| id.as_u64().unwrap() as u32).collect())
}

#[test]
fn every_string_of_every_tokenizer() {
    let Some(reference) = json(&oracle_dir().join("tok/tokenizer_oracle.json")) else { return };
    let strings = reference["strings"].as_array().unwrap();
    for (name, entry) in reference["tokenizers"].as_object().unwrap() {
        let folder = oracle_dir().join("tok").join(name);
        if !folder.exists() {
            eprintln!("skipped: {} is absent", folder.display());
            continue;
        }
        let gguf = match name.as_str() {
            "tiny_llama2style_1000" => Some("gguf/tiny_spm1000.f16.gguf"),
            "tiny_bytelevel320_digits" => Some("gguf/llama_mha_untied.f32.gguf"),
            _ => None,
        };
        let mut tokenizers = vec![(true, Tokenizer::from_directory(&folder).unwrap())];
        if let Some(path) = gguf.map(|path| oracle_dir().join(path)).filter(|path| path.exists()) {
            tokenizers.push((false, Tokenizer::from_gguf(&Gguf::open(&path).unwrap()).unwrap()));
        }
        for (from_json, tokenizer) in &tokenizers {
            for (index, row) in entry["rows"].as_array().unwrap().iter().enumerate() {
                let text = row["text"].as_str().or_else(|| strings[index].as_str()).unwrap();
                let encode = |parse_special, add_special| {
                    tokenizer.encode(text, EncodeOptions { parse_special, add_special }).unwrap()
                };
                let parsed = ids(&row["ids"]).unwrap();
                assert_eq!(encode(true, false), parsed, "{name} {text:?} parsed");
                let plain = ids(&row["ids_plain"]).unwrap_or_else(|| parsed.clone());
                assert_eq!(encode(false, false), plain, "{name} {text:?} plain");
                if *from_json {
                    assert_eq!(
                        encode(true, true),
                        ids(&row["ids_special"]).unwrap(),
                        "{name} {text:?} special"
                    );
                    let decoded = tokenizer.decode(&parsed, false).unwrap();
                    assert_eq!(decoded, row["decode"].as_str().unwrap(), "{name} {text:?}");
                }
                let mut stream = tokenizer.decode_stream(false);
                let mut streamed = String::new();
                for id in &parsed {
                    streamed.extend(stream.push(*id).unwrap());
                }
                streamed.extend(stream.finish().unwrap());
                assert_eq!(streamed, tokenizer.decode(&parsed, false).unwrap(), "{name} {text:?} streamed");
            }
        }
    }
}

#[test]
fn every_rendering_and_error_of_every_template() {
    let Some(reference) = json(&oracle_dir().join("chat_templates/chat_oracle.json")) else { return };
    for (name, text) in reference["templates"].as_object().unwrap() {
        let tokens = &reference["bos_eos"][name];
        let template = ChatTemplate::new(&TemplateSource {
            path: name.into(),
            text: text.as_str().unwrap().into(),
            tokens: SpecialTokens::new([
                ("bos_token", tokens[0].as_str().unwrap()),
                ("eos_token", tokens[1].as_str().unwrap()),
            ]),
        })
        .unwrap();
        for (case, conversation) in reference["cases"].as_object().unwrap() {
            let extra = conversation.as_object().unwrap().keys().any(|key| key != "messages" && key != "gen");
            if extra {
                continue; // tools and documents are not offered
            }
            let add_generation_prompt = conversation["gen"].as_bool().unwrap_or(true);
            let found = template.render(&conversation["messages"], add_generation_prompt);
            match reference["renderings"][name][case]["text"].as_str() {
                Some(expected) => assert_eq!(found.unwrap(), expected, "{name} {case}"),
                None => assert!(found.is_err(), "{name} {case}: {found:?}"),
            }
        }
    }
}

#[test]
fn a_template_that_never_ends_is_stopped() {
    let source =
        |text: &str| TemplateSource { path: "t".into(), text: text.into(), tokens: SpecialTokens::default() };
    let endless = "{% for i in range(1000000) %}{% for j in range(1000000) %}x{% endfor %}{% endfor %}";
    let many = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
    for text in [endless, many] {
        let template = ChatTemplate::new(&source(text)).unwrap();
        assert!(template.render(&serde_json::json!([]), true).is_err());
    }
    assert!(ChatTemplate::new(&source("{% if %}")).err().unwrap().to_string().contains(":1)"));
}
