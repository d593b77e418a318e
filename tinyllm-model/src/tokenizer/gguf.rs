//! The vocabulary inside a GGUF as a tokenizer.json: byte-level BPE with its pre-tokenizer, or SentencePiece BPE.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::{ModelError, Result, checkpoint::gguf::Metadata};

/// Token types of `tokenizer.ggml.token_type`.
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

pub(super) fn tokenizer_json(metadata: &Metadata<'_>) -> Result<Value> {
    let kind =
        metadata.string("tokenizer.ggml.model")?.ok_or_else(|| metadata.missing("tokenizer.ggml.model"))?;
    let tokens = metadata
        .strings("tokenizer.ggml.tokens")?
        .ok_or_else(|| metadata.missing("tokenizer.ggml.tokens"))?;
    let tokens: Vec<&str> = tokens.collect();
    let types: Vec<i32> = match metadata.i32s("tokenizer.ggml.token_type")? {
        Some(types) => types.collect(),
        None => vec![1; tokens.len()],
    };
    if types.len() != tokens.len() {
        let problem = format!("{} types for {} tokens", types.len(), tokens.len());
        return Err(metadata.malformed("tokenizer.ggml.token_type", problem));
    }
    let added: Vec<Value> = tokens
        .iter()
        .zip(&types)
        .enumerate()
        .filter(|(_, (_, kind))| matches!(**kind, UNKNOWN | CONTROL | USER_DEFINED))
        .map(|(id, (content, kind))| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                   "normalized": false, "special": *kind != USER_DEFINED})
        })
        .collect();
    let mut parts = match kind {
        "gpt2" => byte_level(metadata, &tokens)?,
        "llama" => sentence_piece(metadata, &tokens, &types)?,
        other => {
            return Err(ModelError::unsupported(
                metadata.path(),
                "tokenizer.ggml.model",
                format!("the tokenizer {other:?}"),
                "supported: gpt2 (byte-level BPE), llama (SentencePiece BPE)",
            ));
        }
    };
    if let Some(parts) = parts.as_object_mut() {
        parts.insert("added_tokens".into(), added.into());
        parts.insert("post_processor".into(), post_processor(metadata, &tokens, kind)?);
    }
    Ok(parts)
}

/// The tokens a prompt begins and ends with.
fn post_processor(metadata: &Metadata<'_>, tokens: &[&str], kind: &str) -> Result<Value> {
    let mut single = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
    let mut special = serde_json::Map::new();
    for (flag, id_key, default, at_start) in [
        ("tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id", kind == "llama", true),
        ("tokenizer.ggml.add_eos_token", "tokenizer.ggml.eos_token_id", false, false),
    ] {
        let wanted = metadata.bool(flag)?.unwrap_or(default);
        let Some((id, token)) = metadata
            .u32(id_key)?
            .filter(|_| wanted)
            .and_then(|id| tokens.get(id as usize).map(|token| (id, *token)))
        else {
            continue;
        };
        special.insert(token.into(), json!({"id": token, "ids": [id], "tokens": [token]}));
        let piece = json!({"SpecialToken": {"id": token, "type_id": 0}});
        single.insert(if at_start { 0 } else { single.len() }, piece);
    }
    if special.is_empty() {
        return Ok(Value::Null);
    }
    let mut pair = single.clone();
    pair.push(json!({"Sequence": {"id": "B", "type_id": 1}}));
    Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}))
}

/// Byte-level BPE: merges are in the file, the pre-tokenizer goes by its name.
fn byte_level(metadata: &Metadata<'_>, tokens: &[&str]) -> Result<Value> {
    let merges = metadata
        .strings("tokenizer.ggml.merges")?
        .ok_or_else(|| metadata.missing("tokenizer.ggml.merges"))?;
    let merges: Vec<Value> = merges.map(Value::from).collect();
    let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let digits = json!({"type": "Digits", "individual_digits": true});
    let (pre_tokenizer, ignore_merges) = match metadata.string("tokenizer.ggml.pre")?.unwrap_or("default") {
        "default" | "gpt-2" | "gpt2" | "mpt" | "olmo" | "jais" => (vec![split(GPT2), bytes(false)], false),
        "smollm" | "refact" | "command-r" | "starcoder" | "codeshell" | "exaone" => {
            (vec![digits, bytes(true)], false)
        }
        "llama-bpe" | "llama3" | "llama-v3" | "falcon3" => (vec![split(LLAMA3), bytes(false)], true),
        "qwen2" | "deepseek-r1-qwen" | "stablelm2" => (vec![split(QWEN2), bytes(false)], false),
        other => {
            return Err(ModelError::unsupported(
                metadata.path(),
                "tokenizer.ggml.pre",
                format!("the pre-tokenizer {other:?}"),
                "supported: default, gpt-2, smollm, starcoder, llama-bpe, qwen2, deepseek-r1-qwen and their kin",
            ));
        }
    };
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": pre_tokenizer},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
                  "ignore_merges": ignore_merges, "vocab": vocabulary(tokens), "merges": merges},
    }))
}

/// The first of equal tokens keeps its id.
fn vocabulary(tokens: &[&str]) -> Value {
    let mut vocabulary = serde_json::Map::with_capacity(tokens.len());
    for (id, token) in tokens.iter().enumerate() {
        vocabulary.entry(*token).or_insert_with(|| id.into());
    }
    Value::Object(vocabulary)
}

/// SentencePiece BPE: the pieces' scores order the merges. Any two pieces that join to a third may merge; the best
/// score goes first, as in SentencePiece itself.
fn sentence_piece(metadata: &Metadata<'_>, tokens: &[&str], types: &[i32]) -> Result<Value> {
    let scores: Vec<f32> = metadata
        .f32s("tokenizer.ggml.scores")?
        .ok_or_else(|| metadata.missing("tokenizer.ggml.scores"))?
        .collect();
    if scores.len() != tokens.len() {
        let problem = format!("{} scores for {} tokens", scores.len(), tokens.len());
        return Err(metadata.malformed("tokenizer.ggml.scores", problem));
    }
    let ids: HashMap<&str, usize> = tokens.iter().enumerate().rev().map(|(id, token)| (*token, id)).collect();
    let mut merges: Vec<(f32, usize, usize, String)> = Vec::new();
    for (id, token) in tokens.iter().enumerate().filter(|(id, _)| types[*id] == 1) {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(left_id), Some(_)) = (ids.get(left), ids.get(right)) {
                merges.push((scores[id], *left_id, id, format!("{left} {right}")));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)).then(a.1.cmp(&b.1)));
    let merges: Vec<Value> = merges.into_iter().map(|merge| merge.3.into()).collect();
    let prefix = metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
    let mut normalizers = vec![json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"})];
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if prefix {
        normalizers.insert(0, json!({"type": "Prepend", "prepend": "▁"}));
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let unknown = types.iter().position(|kind| *kind == UNKNOWN).map(|id| tokens[id]);
    Ok(json!({
        "version": "1.0", "truncation": null, "padding": null,
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": null,
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": {"type": "BPE", "dropout": null, "unk_token": unknown, "continuing_subword_prefix": null,
                  "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
                  "vocab": vocabulary(tokens), "merges": merges},
    }))
}
