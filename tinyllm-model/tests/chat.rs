//! Chat templates beside jinja2, and special tokens that messages mention.
#![allow(clippy::unwrap_used)] // a test ends where it fails

use std::path::Path;

use serde_json::{Value, json};
use tinyllm_model::{
    Tokenizer,
    chat::{ChatTemplate, Message, TemplateSource},
    tokenizer::SpecialTokens,
};

fn template(text: &str) -> tinyllm_model::Result<ChatTemplate> {
    let tokens =
        [("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")];
    ChatTemplate::new(&TemplateSource {
        path: "t".into(),
        text: text.into(),
        tokens: SpecialTokens::new(tokens),
    })
}

#[test]
fn what_jinja2_renders() {
    let reference: Value = serde_json::from_str(include_str!("data/jinja2.json")).unwrap();
    for row in reference["renderings"].as_array().unwrap() {
        let text = row[0].as_str().unwrap();
        let found = template(text).and_then(|template| template.render(&reference["messages"], true));
        match row[1].as_str() {
            Some(expected) => assert_eq!(found.unwrap(), expected, "{text}"),
            None => assert!(found.is_err(), "{text}: {found:?}"),
        }
    }
}

const SPECIAL: [&str; 3] = ["<s>", "</s>", "<|im_end|>"];

/// A tokenizer whose ids are bytes, and 256 and on for special tokens.
fn tokenizer() -> Tokenizer {
    // GPT-2's letters for bytes: printable ones stand for themselves, the others for what follows 255.
    let is_printable = |byte: &u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut others = 256..;
    let letters = (0..256).map(|byte| if is_printable(&byte) { byte } else { others.next().unwrap() });
    let vocab: serde_json::Map<String, Value> =
        letters.zip(0..).map(|(letter, id)| (char::from_u32(letter).unwrap().into(), json!(id))).collect();
    let added: Vec<Value> = (256..)
        .zip(SPECIAL)
        .map(|(id, content)| {
            json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true})
        })
        .collect();
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false});
    let file = json!({"version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {"type": "BPE", "vocab": vocab, "merges": []}});
    Tokenizer::from_json(&serde_json::to_vec(&file).unwrap(), Path::new("bytes")).unwrap()
}

/// Ids of text, in which `{s}` is the special token `<s>`.
fn ids(text: &str) -> Vec<u32> {
    let parts: Vec<Vec<u32>> = text.split("{s}").map(|part| part.bytes().map(u32::from).collect()).collect();
    parts.join(&256)
}

#[test]
fn a_special_token_in_a_message_is_text_and_the_template_sees_it() {
    let tokenizer = tokenizer();
    let encode = |text: &str, content: &str| {
        let messages = [Message { role: "user".into(), content: content.into() }];
        template(text).unwrap().encode(&tokenizer, &messages, true).unwrap()
    };
    // What jinja2 renders of each, with the message's own tokens as text.
    for (text, content, expected) in [
        ("<s>{{ messages[0].content }}", "a<s>b</s>", "{s}a<s>b</s>"),
        ("<s>{{ messages[0].content[:4] }}<s>", "ab<s>cd", "{s}ab<s{s}"),
        ("{{ messages[0].content[2:5] }}", "ab<s>cd", "<s>"),
        ("{{ '<s>' in messages[0].content }}{{ 'x' in messages[0].content }}", "ab<s>", "TrueFalse"),
        ("{{ messages[0].content.startswith('<s>') }}", "<s>a", "True"),
        (
            "{{ messages[0].content.endswith('</s>') }}{{ messages[0].content.count('</s>') }}",
            "</s></s>",
            "True2",
        ),
        ("{{ messages[0].content.split('s>') }}", "a<s>b", "['a<', 'b']"),
        ("{{ messages[0].content.replace('b', '<s>') }}", "<s>b", "<s><s>"),
        ("{{ '<s>' + messages[0].content.replace('a', 'c') }}", "<s>a", "{s}<s>c"),
        ("{{ messages[0].content | upper }}", "<s>x", "<S>X"),
        ("{{ messages[0].content | length }}{{ messages[0].content[-1] }}", "a<s>", "4>"),
        ("{{ messages[0].content == '<s>' }}{{ messages[0].content is eq '<s>' }}", "<s>", "TrueTrue"),
        ("{{ messages[0].content | tojson }}", "\"<s>", "\"\\\"<s>\""),
        ("{{ [messages[0].content] }}", "it's<s>", "[\"it's<s>\"]"),
        ("{{ {'<s>': 'found'}[messages[0].content] }}", "<s>", "found"),
        ("{{ messages | map(attribute='content') | join('<s>') }}", "<s>", "<s>"),
        ("{{ '%s|' % messages[0].content }}{{ messages[0].content ~ '<s>' }}", "<s>", "<s>|<s>{s}"),
        ("{% for c in messages[0].content %}{{ c }}.{% endfor %}", "<s>", "<.s.>."),
        ("{% for c in messages[0].content %}{{ c }}{% endfor %}", "<s>", "<s>"),
        ("{{ messages[0].content | trim('<') }}", "<s>", "s>"),
        ("{{ messages[0].content.strip() ~ eos_token[:0] ~ bos_token }}", " <s> ", "<s>{s}"),
    ] {
        assert_eq!(encode(text, content), ids(expected), "{text} of {content:?}");
    }
}

#[test]
fn an_error_shows_the_message_as_it_was() {
    let messages = [Message { role: "user".into(), content: "a<s>b".into() }];
    let refused = template("{{ raise_exception('no ' ~ messages[0].content) }}").unwrap();
    let problem = refused.encode(&tokenizer(), &messages, true).unwrap_err().to_string();
    assert!(problem.contains("no a<s>b"), "{problem}");
}
