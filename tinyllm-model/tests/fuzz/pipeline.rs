//! Tokenizers with something in every field: each kind of part that the library knows, sound, and what is put in
//! place of values.

use serde_json::{Value, json};

/// Chooses one of `choices`.
fn pick(choices: &[Value], pick: u8) -> Value {
    choices[pick as usize % choices.len()].clone()
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

fn normalizers() -> Vec<Value> {
    vec![
        Value::Null,
        json!({"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
            "lowercase": true}),
        json!({"type": "Strip", "strip_left": true, "strip_right": true}),
        json!({"type": "StripAccents"}),
        json!({"type": "NFC"}),
        json!({"type": "NFD"}),
        json!({"type": "NFKC"}),
        json!({"type": "NFKD"}),
        json!({"type": "Lowercase"}),
        json!({"type": "Nmt"}),
        json!({"type": "ByteLevel"}),
        json!({"type": "Prepend", "prepend": "▁"}),
        replace(json!({"String": " "}), "▁"),
        replace(json!({"Regex": " {2,}"}), "▁"),
        replace(json!({"String": "a"}), "aaaaaaaaaa"),
        // A table of 256 zeros, which maps nothing, then one text.
        json!({"type": "Precompiled", "precompiled_charsmap": format!("AAQA{}AABhAA==", "AAAA".repeat(341))}),
    ]
}

fn pre_tokenizers() -> Vec<Value> {
    let split = |behavior: &str, invert: bool| {
        json!({"type": "Split", "pattern": {"Regex": r"'s|\p{L}+|\p{N}{1,3}|\s+(?!\S)|\s+"},
            "behavior": behavior, "invert": invert})
    };
    vec![
        Value::Null,
        json!({"type": "BertPreTokenizer"}),
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        json!({"type": "CharDelimiterSplit", "delimiter": " "}),
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true}),
        json!({"type": "Whitespace"}),
        json!({"type": "WhitespaceSplit"}),
        json!({"type": "Punctuation", "behavior": "Isolated"}),
        json!({"type": "Digits", "individual_digits": true}),
        json!({"type": "UnicodeScripts"}),
        json!({"type": "FixedLength", "length": 5}),
        split("Isolated", false),
        split("Removed", true),
        split("MergedWithPrevious", false),
        split("MergedWithNext", false),
        split("Contiguous", true),
    ]
}

fn post_processors() -> Vec<Value> {
    vec![
        Value::Null,
        json!({"type": "BertProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1]}),
        json!({"type": "RobertaProcessing", "sep": ["</s>", 2], "cls": ["<s>", 1], "trim_offsets": true,
            "add_prefix_space": true}),
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        json!({"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}),
    ]
}

fn decoders() -> Vec<Value> {
    vec![
        Value::Null,
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true}),
        json!({"type": "BPEDecoder", "suffix": "</w>"}),
        json!({"type": "WordPiece", "prefix": "##", "cleanup": true}),
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true}),
        json!({"type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": true}),
        json!({"type": "Fuse"}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}),
        replace(json!({"String": "▁"}), " "),
        replace(json!({"Regex": "[ab]"}), "aaaaaaaaaa"),
    ]
}

fn models() -> Vec<Value> {
    let vocab =
        json!({"<unk>": 0, "<s>": 1, "</s>": 2, "a": 3, "b": 4, "ab": 5, "##b": 6, "▁": 7, "é": 8, "Ġ": 9});
    let pieces: Vec<Value> =
        vocab.as_object().unwrap().iter().map(|(token, id)| json!([token, -id.as_f64().unwrap()])).collect();
    vec![
        json!({"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
            "vocab": vocab, "merges": [["a", "b"]]}),
        json!({"type": "BPE", "vocab": vocab, "merges": ["a b"], "end_of_word_suffix": "</w>"}),
        json!({"type": "WordPiece", "unk_token": "<unk>", "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100, "vocab": vocab}),
        json!({"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"}),
        json!({"type": "Unigram", "unk_id": 0, "vocab": pieces, "byte_fallback": false}),
    ]
}

/// What is put in place of a value: any part, and texts and numbers that readers trip over.
pub(crate) fn foreign() -> Vec<Value> {
    let mut all: Vec<Value> = [normalizers(), pre_tokenizers(), post_processors(), decoders(), models()]
        .into_iter()
        .flatten()
        .collect();
    let texts = [
        "",
        "^",
        "x*",
        r"\b",
        r"\G",
        "(?=a)",
        "a|",
        "(a*)*b(?!c)",
        "/////w==",
        "BAAAAAEAAAB4eHh4",
        "B",
        "<pad>",
    ];
    all.extend(texts.into_iter().map(Value::from));
    all.extend([
        json!({"String": ""}),
        json!({"Regex": "^"}),
        json!({"Regex": "x*"}),
        json!({"Regex": r"\b|a"}),
    ]);
    all.extend([json!({"Fixed": 1_000_000_000}), json!({"Sequence": {"id": "B", "type_id": 0}})]);
    all.extend([0u64, 1, 1 << 31, 1 << 40, 1 << 63, u64::MAX].map(Value::from));
    all
}

/// A sound tokenizer of the parts that `picks` names.
pub(crate) fn tokenizer(picks: [u8; 12]) -> Value {
    let [kind, model, normal, second, third, pre, next, post, decode, fuse, state, flags] = picks;
    let several = |kind: &str, field: &str, parts: &[Value], some: [u8; 3], count: u8| {
        let steps: Vec<Value> =
            some.into_iter().map(|which| pick(parts, which)).filter(|part| !part.is_null()).collect();
        // Now and then the same steps again and again.
        let steps = if count.is_multiple_of(16) { vec![steps; 8].concat() } else { steps };
        json!({"type": kind, field: steps})
    };
    let one_or = |sequence: bool, one: Value, all: Value| if sequence { all } else { one };
    let normalizer = several("Sequence", "normalizers", &normalizers(), [normal, second, third], kind);
    let pre_tokenizer = several("Sequence", "pretokenizers", &pre_tokenizers(), [pre, next, third], kind);
    let decoder = several("Sequence", "decoders", &decoders(), [decode, fuse, third], kind);
    let processors = several("Sequence", "processors", &post_processors(), [post, next, next], 1);
    let truncation =
        json!({"direction": "Right", "max_length": state, "strategy": "LongestFirst", "stride": 2});
    let padding = json!({"strategy": {"Fixed": state}, "direction": "Left", "pad_to_multiple_of": 8, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<pad>"});
    let flag = |bit: u8| flags & bit != 0;
    let added = |id: u32, content: &str| {
        json!({"id": id, "content": content, "single_word": flag(1), "lstrip": flag(2), "rstrip": flag(4),
            "normalized": flag(8), "special": flag(16)})
    };
    json!({
        "version": "1.0",
        "truncation": one_or(flag(32), Value::Null, truncation),
        "padding": one_or(flag(64), Value::Null, padding),
        "added_tokens": [added(1, "<s>"), added(2, "</s>"), added(10, "b b")],
        "normalizer": one_or(kind & 1 != 0, pick(&normalizers(), normal), normalizer),
        "pre_tokenizer": one_or(kind & 2 != 0, pick(&pre_tokenizers(), pre), pre_tokenizer),
        "post_processor": one_or(kind & 4 != 0, pick(&post_processors(), post), processors),
        "decoder": one_or(kind & 8 != 0, pick(&decoders(), decode), decoder),
        "model": pick(&models(), model),
    })
}
