//! The vocabulary inside a GGUF as the parts of a tokenizer: byte-level BPE with its pre-tokenizer, or SentencePiece
//! BPE.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokenizers::{AddedToken, models::bpe::Vocab};

use super::{
    end_tokens,
    library_errors::guarded,
    parts::{self, Bpe, Library, Pipeline},
};
use crate::{ModelError, Result, checkpoint::gguf::Metadata};

/// Token types of `tokenizer.ggml.token_type`.
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;

/// The key that names the pre-tokenizer.
const PRE: &str = "tokenizer.ggml.pre";

/// Its names for LLaMA 3's.
const LLAMA3_NAMES: [&str; 4] = ["llama-bpe", "llama3", "llama-v3", "falcon3"];

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// What llama.cpp splits by where a file names no pre-tokenizer, one pattern after another.
const DEFAULT: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    "[0-9][0-9][0-9]",
];
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The sum of the squares of all tokens' lengths; those of a vocabulary of 256,000 are below 50 million.
const MAX_SQUARES: u64 = 1 << 28;

pub(super) fn tokenizer(metadata: &Metadata<'_>) -> Result<Library> {
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
    let added = tokens
        .iter()
        .zip(&types)
        .filter(|(content, kind)| {
            matches!(**kind, UNKNOWN | CONTROL | USER_DEFINED) || end_tokens::ends_a_turn(content)
        })
        .map(|(content, kind)| {
            // What ends a turn is special, whatever a converter made of it.
            let is_special = matches!(*kind, UNKNOWN | CONTROL) || end_tokens::ends_a_turn(content);
            AddedToken::from(*content, is_special).normalized(false)
        })
        .collect();
    let (mut pipeline, model) = match kind {
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
    pipeline.post_processor = post_processor(metadata, &tokens, kind)?;
    guarded(metadata.path(), "tokenizer.ggml", || parts::assemble(pipeline, model, added))
}

/// The tokens a prompt begins and ends with.
fn post_processor(metadata: &Metadata<'_>, tokens: &[&str], kind: &str) -> Result<Value> {
    let mut single = vec![json!({"Sequence": {"id": "A", "type_id": 0}})];
    let mut special = serde_json::Map::new();
    // As llama.cpp has it: LLaMA's tokenizers begin with a BOS where the file says nothing.
    let begins = kind == "llama" || metadata.string(PRE)?.is_some_and(|pre| LLAMA3_NAMES.contains(&pre));
    for (flag, id_key, default, at_start) in [
        ("tokenizer.ggml.add_bos_token", "tokenizer.ggml.bos_token_id", begins, true),
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
fn byte_level(metadata: &Metadata<'_>, tokens: &[&str]) -> Result<(Pipeline, Bpe)> {
    let merges = metadata
        .strings("tokenizer.ggml.merges")?
        .ok_or_else(|| metadata.missing("tokenizer.ggml.merges"))?;
    let merges = merges
        .filter(|line| !parts::is_heading(line))
        .enumerate()
        .map(|(index, line)| {
            let problem = || format!("merge {index} is not two tokens");
            parts::split_merge(line).ok_or_else(|| metadata.malformed("tokenizer.ggml.merges", problem()))
        })
        .collect::<Result<_>>()?;
    let split = |pattern: &str| json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false});
    let bytes = |use_regex: bool| json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex});
    let digits = json!({"type": "Digits", "individual_digits": true});
    let (pre_tokenizer, ignore_merges) = match metadata.string(PRE)?.unwrap_or("default") {
        "default" => (DEFAULT.into_iter().map(split).chain([bytes(false)]).collect(), false),
        "gpt-2" | "gpt2" | "mpt" | "olmo" | "jais" => (vec![split(GPT2), bytes(false)], false),
        "smollm" | "refact" | "command-r" | "starcoder" | "codeshell" | "exaone" => {
            (vec![digits, bytes(true)], false)
        }
        name if LLAMA3_NAMES.contains(&name) => (vec![split(LLAMA3), bytes(false)], true),
        "qwen2" | "deepseek-r1-qwen" | "stablelm2" => (vec![split(QWEN2), bytes(false)], false),
        other => {
            return Err(ModelError::unsupported(
                metadata.path(),
                PRE,
                format!("the pre-tokenizer {other:?}"),
                "supported: default, gpt-2, smollm, starcoder, llama-bpe, qwen2, deepseek-r1-qwen and their kin",
            ));
        }
    };
    let pipeline = Pipeline {
        pre_tokenizer: json!({"type": "Sequence", "pretokenizers": pre_tokenizer}),
        decoder: json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        ..Pipeline::default()
    };
    let model =
        Bpe { ignore_merges: Some(ignore_merges), vocab: vocabulary(tokens), merges, ..Bpe::default() };
    Ok((pipeline, model))
}

/// The first of equal tokens keeps its id.
fn vocabulary(tokens: &[&str]) -> Vocab {
    let mut vocabulary = Vocab::with_capacity(tokens.len());
    for (id, token) in (0..).zip(tokens) {
        vocabulary.entry((*token).to_owned()).or_insert(id);
    }
    vocabulary
}

/// SentencePiece BPE: the pieces' scores order the merges. Any two pieces that join to a third may merge; the best
/// score goes first, as in SentencePiece itself.
fn sentence_piece(metadata: &Metadata<'_>, tokens: &[&str], types: &[i32]) -> Result<(Pipeline, Bpe)> {
    let scores: Vec<f32> = metadata
        .f32s("tokenizer.ggml.scores")?
        .ok_or_else(|| metadata.missing("tokenizer.ggml.scores"))?
        .collect();
    if scores.len() != tokens.len() {
        let problem = format!("{} scores for {} tokens", scores.len(), tokens.len());
        return Err(metadata.malformed("tokenizer.ggml.scores", problem));
    }
    // Each token is looked up in all the ways it falls in two: the square of its length.
    let work: u64 = tokens.iter().map(|token| (token.len() as u64).saturating_mul(token.len() as u64)).sum();
    if work > MAX_SQUARES {
        let problem = "tokens so long that their merges cannot be found".to_owned();
        return Err(metadata.malformed("tokenizer.ggml.tokens", problem));
    }
    let ids: HashMap<&str, usize> = tokens.iter().enumerate().rev().map(|(id, token)| (*token, id)).collect();
    let mut merges: Vec<(f32, usize, usize, (String, String))> = Vec::new();
    for (id, token) in tokens.iter().enumerate().filter(|(id, _)| types[*id] == 1) {
        for (at, _) in token.char_indices().skip(1) {
            let (left, right) = token.split_at(at);
            if let (Some(left_id), Some(_)) = (ids.get(left), ids.get(right)) {
                merges.push((scores[id], *left_id, id, (left.to_owned(), right.to_owned())));
            }
        }
    }
    merges.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.2.cmp(&b.2)).then(a.1.cmp(&b.1)));
    let merges = merges.into_iter().map(|merge| merge.3).collect();
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
    let unknown = types.iter().position(|kind| *kind == UNKNOWN).map(|id| tokens[id].to_owned());
    let pipeline = Pipeline {
        normalizer: json!({"type": "Sequence", "normalizers": normalizers}),
        decoder: json!({"type": "Sequence", "decoders": decoders}),
        ..Pipeline::default()
    };
    let model = Bpe {
        unk_token: unknown,
        fuse_unk: Some(true),
        byte_fallback: Some(true),
        vocab: vocabulary(tokens),
        merges,
        ..Bpe::default()
    };
    Ok((pipeline, model))
}
