//! Templates and tokenizers that would take a program down: an error each, in bounded time and memory.
#![allow(clippy::unwrap_used)] // a test ends where it fails

use std::path::Path;

use serde_json::{Value, json};
use tinyllm_model::{
    Result, Tokenizer,
    chat::{ChatTemplate, TemplateSource},
    checkpoint::gguf::Gguf,
    tokenizer::{EncodeOptions, SpecialTokens},
};

fn render(text: &str, messages: &Value) -> Result<String> {
    let source =
        TemplateSource { path: "t.jinja".into(), text: text.into(), tokens: SpecialTokens::default() };
    ChatTemplate::new(&source)?.render(messages, true)
}

/// What the error says.
fn refusal(text: &str) -> String {
    let shown: String = text.chars().take(200).collect();
    let rendered = render(text, &json!([{"role": "user", "content": "Hi"}]));
    rendered.map(|rendered| format!("{shown}: {} bytes", rendered.len())).unwrap_err().to_string()
}

#[test]
fn values_that_hold_themselves_or_grow_without_end() {
    let ns = "{% set ns = namespace(x=[1]) %}{% for i in range(90000) %}{% set ns.x = ";
    let end = " %}{% endfor %}{{ ns.x }}";
    for (text, word) in [
        ("{% set ns=namespace(x=1) %}{% set ns.x = ns %}{{ ns }}".to_owned(), "namespace"),
        ("{% set ns=namespace(x=1) %}{% set ns.x = [ns] %}{{ ns }}".into(), "namespace"),
        (
            "{% set ns=namespace(x=1) %}{% for i in range(9) %}{% set ns.x = loop %}{% endfor %}".into(),
            "namespace",
        ),
        (
            "{% set a=namespace(v=1) %}{% for i in range(90000) %}{% set a=namespace(v=a) %}{% endfor %}"
                .into(),
            "",
        ),
        (format!("{ns}[ns.x]{end}"), "nested"),
        (format!("{ns}(ns.x,){end}"), "nested"),
        (format!("{ns}{{'a': ns.x}}{end}"), "nested"),
        (format!("{ns}dict(a=ns.x){end}"), "nested"),
        (format!("{ns}[ns.x, ns.x]{end}"), "larger"),
        (format!("{ns}ns.x + ns.x{end}"), ""),
        (format!("{ns}ns.x|zip(ns.x)|list{end}"), "larger"),
        ("{% macro f(x) %}{{ f([x, x]) }}{% endmacro %}{{ f([1]) }}".into(), ""),
        ("{% for x in [[1]] recursive %}{{ loop([[x, x]]) }}{% endfor %}".into(), "larger"),
        ("{% set a=[1] %}".to_owned() + &"{% set a=[a,a] %}".repeat(60) + "{{ a == a[:] }}", "larger"),
        ("{{ [[1]*100000000]*100000000 }}".into(), "constant"),
        ("{{ ([1]*100000000)|tojson|length }}".into(), "constant"),
        ("{{ [1]*9000 == [1]*9000 }}{{ [1]*9000 == [1]*9000 }}".into(), "constant"),
        ("{% set a=[1] %}{{ [a*100000000]*100000000 }}".into(), "larger"),
        ("{% set a=[1] %}{{ (a*100000000) ~ '' }}".into(), "larger"),
    ] {
        let said = refusal(&text);
        assert!(said.contains("template") && said.contains(word), "{text:.200}: {said}");
    }
}

#[test]
fn work_that_costs_little_to_write() {
    let again = "{% set a='é'*1000000 %}{% set b='é'*1000000 %}{% for i in range(100000) %}";
    for text in [
        "{{ x|indent(100000000) }}".repeat(3000),
        "{{ ['']|map('indent', 1000000000)|list }}".into(),
        "{{ '%999999999d'|format(1) }}".into(),
        "{{ '{:>999999999}'.format(1) }}".into(),
        "{% set a='a'*1000000 %}{{ ('{0}'*100000).format(a) }}".into(),
        "{% set a='a'*1000000 %}{{ ('%(a)s'*100000)|format(a=a) }}".into(),
        "{{ (','*100000000).split(',')|length }}".into(),
        "{{ (','*50000000)|split(',')|length }}".into(),
        "{% set a='a'*1000000 %}{{ a.strip('b'*1000000 ~ 'a') }}".into(),
        "{% set a='a'*1000000 %}{{ a|trim('b'*1000000 ~ 'a') }}".into(),
        "{{ ('b'*100000).join(['a','b']*9000) }}".into(),
        "{{ ('a'*100000).replace('a', 'b'*100000) }}".into(),
        "{{ raise_exception('a'*50000000) }}".into(),
        "{{ 'a'*1000000000 }}".into(),
        "{{ debug() }}".into(),
        "{% include 'chat_template' %}".into(),
        format!("{again}{{% if a == b %}}{{% endif %}}{{% endfor %}}"),
        format!("{again}{{% if a is eq(b) %}}{{% endif %}}{{% endfor %}}"),
        format!("{again}{{{{ a[999999] }}}}{{% endfor %}}"),
        format!("{again}{{{{ a[999998:999999] }}}}{{% endfor %}}"),
        format!("{again}{{% for c in a %}}{{% break %}}{{% endfor %}}{{% endfor %}}"),
        format!("{again}{{{{ loop.changed([a, i]) }}}}{{% endfor %}}"),
        format!("{again}{{% if b in [a] %}}{{% endif %}}{{% endfor %}}"),
    ] {
        let said = refusal(&text);
        assert!(said.contains("template") && said.len() < 4000, "{text:.200}: {said:.200}");
    }
}

#[test]
fn texts_that_are_too_long_to_read() {
    for text in [
        "1+".repeat(100_000) + "1",
        "not ".repeat(100_000) + "1",
        "a".to_owned() + &".b".repeat(100_000),
        "1".to_owned() + &"|string".repeat(100_000),
        "2".to_owned() + &"**2".repeat(100_000),
        "-".repeat(100_000) + "1",
        "1".to_owned() + &" if 1 else 1".repeat(80_000),
        "[".repeat(100_000),
    ] {
        assert!(refusal(&format!("{{{{ {text} }}}}")).contains("t.jinja: chat_template: "), "{text:.20}");
    }
    assert!(refusal(&format!("{{% if a %}}{}{{% endif %}}", "{% elif a %}".repeat(50_000))).contains("elif"));
    assert!(refusal(&"a".repeat(2 << 20)).contains("bytes of template"));
    assert!(refusal(&"\n".repeat(70_000)).contains("lines"));
}

#[test]
fn what_long_conversations_need_is_there() {
    let messages: Vec<Value> = (0..1000)
        .map(|index| json!({"role": if index % 2 == 0 { "user" } else { "assistant" }, "content": "word ".repeat(100)}))
        .collect();
    let rendered = |text: &str| render(text, &json!(messages)).unwrap();
    assert_eq!(
        rendered("{% for m in messages %}{{ m.role ~ m['content'] + '\n' }}{% endfor %}").len(),
        507_500
    );
    // Every message is looked at for every message.
    let nested = "{% for m in messages %}{% for k in messages %}{% if k.role == 'system' %}S{% endif %}{% endfor %}x{% endfor %}";
    assert_eq!(rendered(nested), "x".repeat(1000));
    // Lists and texts that grow with the conversation.
    let kept = "{% set ns = namespace(kept=[], text='') %}{% for m in messages %}{% set ns.kept = ns.kept + [m] %}\
        {% set ns.text = ns.text + m.role[0] %}{% endfor %}{{ ns.kept|length }} {{ ns.text|length }} \
        {{ messages[1:][::-1][0].role }} {{ messages|selectattr('role', 'equalto', 'user')|list|length }}";
    assert_eq!(rendered(kept), "1000 1000 assistant 500");
    // One long message, whose text goes through many hands.
    let long = json!([{"role": "user", "content": " word".repeat(1_000_000)}]);
    let hands = "{% for m in messages %}{% set c = m.content|trim %}{% if '<think>' in c %}{% set c = c.split('x')[-1] %}{% endif %}\
        {{ '<' + m.role + '>' + c.strip() ~ '\n' }}{% endfor %}";
    assert_eq!(render(hands, &long).unwrap().len(), 5_000_006);
}

/// A sound tokenizer with other parts.
fn tokenizer(parts: Value) -> Value {
    let mut file = json!({
        "version": "1.0", "truncation": null, "padding": null, "normalizer": null, "pre_tokenizer": null,
        "post_processor": null, "decoder": null,
        "added_tokens": [{"id": 3, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "<s>": 3}, "merges": ["a b"]},
    });
    for (field, part) in parts.as_object().unwrap() {
        file[field] = part.clone();
    }
    file
}

/// The tokens of "aaaa…ab", through this file and back.
fn tokens(file: &Value) -> Result<Vec<u32>> {
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes(), Path::new("tokenizer.json"))?;
    let text = "a".repeat(40) + "b";
    let ids = tokenizer.encode(&text, EncodeOptions { parse_special: true, add_special: true })?;
    tokenizer.decode(&ids, false)?;
    Ok(ids)
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

#[test]
fn tokenizers_over_which_the_library_stops() {
    let text = |text: &str| json!({"String": text});
    let template = |single: Value| {
        json!({"type": "TemplateProcessing", "single": single, "pair": [], "special_tokens":
            {"two": {"id": "two", "ids": [0, 1], "tokens": ["a"]}}})
    };
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let steps =
        |kind: &str, field: &str, step: Value, count: usize| json!({"type": kind, field: vec![step; count]});
    let charsmap = |map: &str| json!({"type": "Precompiled", "precompiled_charsmap": map});
    let byte_level =
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});
    for (field, part) in [
        ("normalizer", replace(json!({"Regex": "^"}), "x")),
        ("normalizer", replace(json!({"Regex": "x*"}), "x")),
        ("normalizer", replace(json!({"Regex": r"\b"}), "x")),
        ("normalizer", replace(json!({"Regex": r"\G"}), "x")),
        ("normalizer", replace(json!({"Regex": "(?=b)"}), "x")),
        ("normalizer", replace(text(""), "x")),
        ("normalizer", steps("Sequence", "normalizers", replace(text("a"), &"a".repeat(10)), 8)),
        (
            "normalizer",
            steps("Sequence", "normalizers", replace(json!({"Regex": "[a-b]"}), &"a".repeat(10)), 8),
        ),
        (
            "normalizer",
            steps("Sequence", "normalizers", json!({"type": "Prepend", "prepend": "a".repeat(60_000)}), 60),
        ),
        ("normalizer", steps("Sequence", "normalizers", json!({"type": "Lowercase"}), 70)),
        ("normalizer", charsmap("")),
        ("normalizer", charsmap("/////w==")),
        ("normalizer", charsmap("BAAAAAEAAAB4eHh4")),
        ("normalizer", json!({"type": "Precompiled"})),
        ("pre_tokenizer", json!({"type": "FixedLength", "length": 0})),
        ("pre_tokenizer", steps("Sequence", "pretokenizers", json!({"type": "FixedLength", "length": 0}), 1)),
        ("pre_tokenizer", steps("Sequence", "pretokenizers", byte_level, 40)),
        (
            "pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": r"(?i)\p{L}".repeat(9000)},
            "behavior": "Isolated", "invert": false}),
        ),
        ("post_processor", template(json!([special("none"), sequence("A")]))),
        ("post_processor", template(json!([special("two"), sequence("A")]))),
        ("post_processor", template(json!([sequence("B")]))),
        ("post_processor", template(json!([sequence("A"), sequence("A")]))),
        ("decoder", steps("Sequence", "decoders", replace(json!({"Regex": "."}), &"a".repeat(10)), 8)),
        ("decoder", replace(text("a"), &"a".repeat(60_000))),
        ("decoder", json!({"type": "Strip", "content": "a", "start": 0, "stop": 9})),
        (
            "model",
            json!({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0], ["a".repeat(1_000_000), -1]]}),
        ),
        ("model", json!({"type": "Unigram", "unk_id": null, "vocab": []})),
        (
            "model",
            json!({"type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "#",
            "max_input_chars_per_word": 1u64 << 60, "vocab": {"a": 0}}),
        ),
        ("model", json!({"type": "BPE", "vocab": {"a": u32::MAX}, "merges": []})),
        (
            "model",
            json!({"type": "BPE", "vocab": {"a": 0}, "merges": [], "end_of_word_suffix": "x".repeat(100_000)}),
        ),
    ] {
        let shown: String = part.to_string().chars().take(200).collect();
        let error = tokens(&tokenizer(json!({field: part}))).expect_err(&shown).to_string();
        assert!(error.starts_with("tokenizer.json: ") && error.len() < 1200, "{shown}: {error}");
    }
    let deep =
        (0..40).fold(json!({"type": "NFC"}), |inner, _| json!({"type": "Sequence", "normalizers": [inner]}));
    assert!(tokens(&tokenizer(json!({"normalizer": deep}))).is_err());
}

#[test]
fn what_training_left_behind_says_nothing() {
    let expected = tokens(&tokenizer(json!({}))).unwrap();
    assert_eq!(expected.len(), 40);
    let truncated = json!({"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 8});
    let padding = |strategy: Value, multiple: Value| {
        json!({"strategy": strategy, "direction": "Right", "pad_to_multiple_of": multiple, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "a"})
    };
    for state in [
        json!({"truncation": truncated}),
        json!({"padding": padding(json!({"Fixed": 1_000_000_000}), Value::Null)}),
        json!({"padding": padding(json!("BatchLongest"), json!(1u64 << 63))}),
    ] {
        assert_eq!(tokens(&tokenizer(state.clone())).unwrap(), expected, "{state}");
    }
}

#[test]
fn replacements_that_make_something_of_something_stay() {
    let sequence = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "b"}, replace(json!({"Regex": "a{2}"}), "a"), {"type": "NFKC"}]});
    // "b", 20 of "a", "b": of these the last two merge.
    assert_eq!(tokens(&tokenizer(json!({"normalizer": sequence}))).unwrap().len(), 21);
}

/// A GGUF of a SentencePiece vocabulary.
fn vocabulary(tokens: &[String]) -> Vec<u8> {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend((text.len() as u64).to_le_bytes());
        out.extend(text.as_bytes());
    };
    let array = |out: &mut Vec<u8>, key: &str, kind: u32| {
        text(out, key);
        out.extend(9u32.to_le_bytes());
        out.extend(kind.to_le_bytes());
        out.extend((tokens.len() as u64).to_le_bytes());
    };
    let mut out = b"GGUF".to_vec();
    out.extend(3u32.to_le_bytes());
    out.extend([0u64, 3].map(u64::to_le_bytes).concat());
    text(&mut out, "tokenizer.ggml.model");
    out.extend(8u32.to_le_bytes());
    text(&mut out, "llama");
    array(&mut out, "tokenizer.ggml.tokens", 8);
    tokens.iter().for_each(|token| text(&mut out, token));
    array(&mut out, "tokenizer.ggml.scores", 6);
    tokens.iter().for_each(|_| out.extend(0f32.to_le_bytes()));
    out
}

#[test]
fn merges_of_endless_tokens_are_not_looked_for() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let read = |tokens: &[String]| {
        std::fs::write(file.path(), vocabulary(tokens)).unwrap();
        Tokenizer::from_gguf(&Gguf::open(file.path())?)
    };
    let tokens: Vec<String> = (1..5).map(|length| "a".repeat(length)).collect();
    let sound = read(&tokens).unwrap();
    assert_eq!(sound.encode("a", EncodeOptions::default()).unwrap().last(), Some(&0));
    // A million ways to fall in two, each a million bytes long.
    let error = read(&["a".to_owned(), "a".repeat(1_000_000)]).err().unwrap().to_string();
    assert!(error.contains("tokenizer.ggml.tokens"), "{error}");
}
