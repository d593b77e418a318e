//! The tokens of chunks are those of the whole, as the library encodes it, wherever text is cut.

use proptest::prelude::*;

use super::*;
use crate::{checkpoint::gguf::Gguf, test_data};

/// Cuts at every place there is.
const EVERYWHERE: Lengths = Lengths { whole: 0, shortest: 1, longest: usize::MAX >> 1 };

/// The reference vocabularies, and the one in the repository.
fn vocabularies() -> Vec<(String, Library)> {
    let mut found = Vec::new();
    for name in [
        "tok/smollm2",
        "tok/tiny_addedtoken_flags",
        "tok/tiny_bytelevel320_digits",
        "tok/tiny_llama2style_1000",
        "tok/tiny_llama3style_1000",
        "tok/tiny_qwen2style_1000",
        "tiny/llama_gqa_tied_bf16",
    ] {
        let Some(folder) = test_data::oracle(name) else { continue };
        let json = std::fs::read(folder.join("tokenizer.json")).unwrap();
        found.push((name.to_owned(), crate::tokenizer::parts::from_json(&json).unwrap()));
    }
    if let Some(path) = test_data::oracle("gguf/tiny_spm1000.f16.gguf") {
        let gguf = Gguf::open(&path).unwrap();
        found.push(("gguf".to_owned(), crate::tokenizer::gguf::tokenizer(&gguf.metadata()).unwrap()));
    }
    assert!(!found.is_empty());
    found
}

/// How many chunks; what they are encoded to is held against the whole, with special tokens and without.
fn check(name: &str, tokenizer: &mut Library, text: &str, lengths: Lengths) -> usize {
    for (parse_special, add_special) in [(false, false), (true, false), (true, true)] {
        tokenizer.set_encode_special_tokens(!parse_special);
        // Twice the text, and what surrounds it.
        tokenizer.get_normalizer().iter().for_each(|normalizer| normalizer.begin(2 * text.len()));
        let whole = tokenizer.encode_fast(text, add_special).unwrap().get_ids().to_vec();
        let found = encode_as(tokenizer, text, add_special, lengths).unwrap();
        assert!(found == whole, "{name}, {parse_special}, {add_special}: {text:?}");
    }
    Seams::of(tokenizer).and_then(|seams| seams.chunks(text, lengths)).map_or(0, |chunks| chunks.len())
}

const WORDS: [&str; 44] = [
    "the",
    "quick",
    "fox",
    "I'll",
    "it's",
    "don't",
    "o'clock",
    "naïve",
    "e\u{301}te",
    "Straße",
    "мир",
    "東京",
    "日本語",
    "한국어",
    "ᄀ",
    "\u{1161}",
    "42",
    "3.14",
    "1234567",
    "x",
    "a",
    ".",
    "。",
    ", ",
    "!?",
    "--",
    "(",
    "{}",
    "</s>",
    "<s>",
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<unk>",
    "▁",
    "▁▁a",
    "🙂",
    "\u{200d}",
    "\u{a0}",
    "_",
    "'",
    "'S",
    "ſ",
    "\u{1}",
];

const SPACES: [&str; 10] = [" ", " ", " ", "\n", "\n\n", "  ", " \n", "\r\n", "\t", ""];

/// Words and white space of all kinds, and what a vocabulary adds of its own.
fn texts() -> impl Strategy<Value = Vec<(usize, usize)>> {
    prop::collection::vec((0..WORDS.len() + 12, 0..SPACES.len()), 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_tokens_of_the_whole(choices in texts()) {
        thread_local! {
            static VOCABULARIES: std::cell::RefCell<Vec<(String, Library)>> = vocabularies().into();
        }
        VOCABULARIES.with_borrow_mut(|vocabularies| {
            for (name, tokenizer) in vocabularies {
                let mut added: Vec<String> =
                    tokenizer.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
                added.sort();
                let word = |index: usize| match index.checked_sub(WORDS.len()) {
                    None => WORDS[index],
                    Some(index) => added[index % added.len()].as_str(),
                };
                let text: String = choices.iter().flat_map(|(w, s)| [word(*w), SPACES[*s]]).collect();
                check(name, tokenizer, &text, EVERYWHERE);
            }
        });
    }
}

/// Some sentences in several scripts, and code, to a length that is cut by the lengths in use.
fn long_text(bytes: usize) -> String {
    let mut text = String::new();
    let mut state = 1u32;
    while text.len() < bytes {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let (word, space) = (state >> 8, state >> 20);
        text.push_str(WORDS[word as usize % WORDS.len()]);
        text.push_str(SPACES[space as usize % SPACES.len()]);
    }
    text
}

#[test]
fn the_lengths_in_use_cut_every_reference_vocabulary() {
    let text = long_text(300 << 10);
    for (name, mut tokenizer) in vocabularies() {
        let chunks = check(&name, &mut tokenizer, &text, LENGTHS);
        assert!((4..=5).contains(&chunks), "{name}: {chunks} chunks of 64 KiB and more");
        // No more than this is cut.
        let short = &text[..text.floor_char_boundary(LENGTHS.whole)];
        assert_eq!(
            encode(&tokenizer, short, false).unwrap(),
            tokenizer.encode_fast(short, false).unwrap().get_ids()
        );
    }
}

/// A run without a place to cut, longer than the library can be trusted with.
#[test]
fn text_without_a_place_stays_whole() {
    for (_, tokenizer) in vocabularies() {
        let Some(seams) = Seams::of(&tokenizer) else { continue };
        for run in ["9", ".", "  "] {
            let text = format!("{}{}{0}", "some words ".repeat(7000), run.repeat(300 << 10));
            assert!(seams.chunks(&text, LENGTHS).is_none(), "{run:?}");
        }
        // At the end there is nothing to cut any more.
        let text = format!("{}{}", "some words ".repeat(7000), "9".repeat(100 << 10));
        assert_eq!(seams.chunks(&text, LENGTHS).unwrap().len(), 2);
    }
}

/// A tokenizer of two letters and a space, with other parts.
fn small(change: impl FnOnce(&mut Value)) -> Library {
    let mut json = serde_json::json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        "post_processor": null, "decoder": null,
        "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": {"a": 0, "b": 1, "Ġ": 2, "▁": 3, "a▁": 4}, "merges": []},
    });
    change(&mut json);
    crate::tokenizer::parts::from_json(&serde_json::to_vec(&json).unwrap()).unwrap()
}

#[test]
fn parts_of_which_nothing_is_known_forbid_cuts() {
    let split = |pattern: &str, behavior: &str| serde_json::json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": false});
    let spaces = serde_json::json!({"type": "Replace", "pattern": {"String": " "}, "content": "▁"});
    let metaspace = |split: bool| serde_json::json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": split});
    let is_cut = |change: &dyn Fn(&mut Value)| Seams::of(&small(change)).is_some();
    assert!(is_cut(&|_| {}));
    assert!(is_cut(&|json| json["pre_tokenizer"] = split(r" ?\p{L}+|\s+(?!\S)|\s+", "Isolated")));
    assert!(is_cut(&|json| json["pre_tokenizer"] = metaspace(true)));
    let refused: [&dyn Fn(&mut Value); 11] = [
        &|json| json["pre_tokenizer"] = Value::Null,
        &|json| json["pre_tokenizer"]["use_regex"] = false.into(),
        &|json| json["pre_tokenizer"] = split(r"\p{L}+ ?|\s+", "Isolated"),
        &|json| json["pre_tokenizer"] = split(r" ?\p{L}+|\s+", "MergedWithPrevious"),
        &|json| json["pre_tokenizer"] = serde_json::json!({"type": "Whitespace"}),
        &|json| json["pre_tokenizer"] = metaspace(false),
        &|json| {
            json["normalizer"] = serde_json::json!({"type": "Strip", "strip_left": true, "strip_right": true})
        },
        &|json| json["normalizer"] = serde_json::json!({"type": "Lowercase"}),
        &|json| json["model"]["dropout"] = 0.5.into(),
        &|json| {
            json["added_tokens"] = serde_json::json!([{"id": 5, "content": "a b", "single_word": false, "lstrip": false, "rstrip": false, "normalized": true, "special": false}]);
        },
        // A token reaches across the space.
        &|json| (json["normalizer"], json["pre_tokenizer"]) = (spaces.clone(), Value::Null),
    ];
    for (index, change) in refused.into_iter().enumerate() {
        assert!(!is_cut(change), "{index}");
    }
    let one_word = |json: &mut Value| {
        (json["normalizer"], json["pre_tokenizer"]) = (spaces.clone(), Value::Null);
        json["model"]["vocab"] = serde_json::json!({"a": 0, "b": 1, "▁": 2, "▁▁": 3});
    };
    assert!(is_cut(&one_word));
}
