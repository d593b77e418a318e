//! Builds the library's tokenizer from parts: a BPE model, whose vocabulary and merges are parsed here, and the rest,
//! which the library parses from JSON.
//!
//! The library's own reader of a tokenizer.json copies the model through three trees of JSON. That takes most of a
//! tokenizer's time and memory, so plain BPE models are parsed here; other models and malformed ones are left to the
//! library and its errors.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeOwned, Error, SeqAccess, Visitor},
};
use serde_json::Value;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessorWrapper, PreTokenizerWrapper,
    TokenizerImpl,
    models::bpe::{BPE, Merges, Vocab},
};

use super::{
    bounded::{Decoder, Normalizer},
    checks,
};

/// The library's tokenizer with a bound on what it makes of a text.
pub(super) type Library =
    TokenizerImpl<ModelWrapper, Normalizer, PreTokenizerWrapper, PostProcessorWrapper, Decoder>;

/// The normaliser, pre-tokeniser and so on, as a tokenizer.json has them; null where there is none. Truncation and
/// padding are not among them: they are what training left behind, and say nothing about other texts.
#[derive(Default)]
pub(super) struct Pipeline {
    pub(super) normalizer: Value,
    pub(super) pre_tokenizer: Value,
    pub(super) post_processor: Value,
    pub(super) decoder: Value,
}

/// A BPE model, read and not yet built.
#[derive(Default, Deserialize)]
pub(super) struct Bpe {
    #[serde(rename = "type")]
    pub(super) _tag: Option<BpeTag>,
    pub(super) dropout: Option<f32>,
    pub(super) unk_token: Option<String>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    pub(super) fuse_unk: Option<bool>,
    pub(super) byte_fallback: Option<bool>,
    pub(super) ignore_merges: Option<bool>,
    pub(super) vocab: Vocab,
    #[serde(deserialize_with = "merges")]
    pub(super) merges: Merges,
}

#[derive(Deserialize)]
pub(super) enum BpeTag {
    #[serde(rename = "BPE")]
    Bpe,
}

/// A tokenizer.json.
#[derive(Deserialize)]
struct File<M> {
    #[serde(rename = "version", default)]
    _version: Version,
    #[serde(default)]
    added_tokens: Vec<NumberedToken>,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
    model: M,
}

#[derive(Default, Deserialize)]
enum Version {
    #[default]
    #[serde(rename = "1.0")]
    One,
}

/// An added token. Its id follows from the vocabulary; the library, too, asks only that there is one.
#[derive(Deserialize)]
struct NumberedToken {
    #[serde(rename = "id")]
    _id: u32,
    #[serde(flatten)]
    token: AddedToken,
}

impl<M> File<M> {
    fn parts(self) -> (Pipeline, M, Vec<AddedToken>) {
        let pipeline = Pipeline {
            normalizer: self.normalizer,
            pre_tokenizer: self.pre_tokenizer,
            post_processor: self.post_processor,
            decoder: self.decoder,
        };
        (pipeline, self.model, self.added_tokens.into_iter().map(|numbered| numbered.token).collect())
    }
}

/// The tokenizer that a tokenizer.json describes.
pub(super) fn from_json(json: &[u8]) -> tokenizers::Result<Library> {
    match serde_json::from_slice::<File<Bpe>>(json) {
        Ok(file) => {
            let (pipeline, model, added_tokens) = file.parts();
            let model = model.build().map_err(|problem| format!("model: {problem}"))?;
            pipeline.build(model.into(), added_tokens)
        }
        Err(_) => whole(json),
    }
}

/// A tokenizer.json whose model the library reads.
fn whole(json: &[u8]) -> tokenizers::Result<Library> {
    let (pipeline, model, added_tokens) = serde_json::from_slice::<File<Value>>(json)?.parts();
    checks::model(&model).map_err(|problem| format!("model: {problem}"))?;
    let model =
        serde_json::from_value::<ModelWrapper>(model).map_err(|problem| format!("model: {problem}"))?;
    pipeline.build(model, added_tokens)
}

/// The tokenizer of parts that come from elsewhere.
pub(super) fn assemble(
    pipeline: Pipeline,
    model: Bpe,
    added_tokens: Vec<AddedToken>,
) -> tokenizers::Result<Library> {
    pipeline.build(model.build()?.into(), added_tokens)
}

/// A part that the library reads from `written`; none where that is null.
fn part<T: DeserializeOwned>(name: &str, written: Value) -> tokenizers::Result<Option<T>> {
    checks::written(&written).map_err(|problem| format!("{name}: {problem}"))?;
    Ok(serde_json::from_value(written).map_err(|problem| format!("{name}: {problem}"))?)
}

impl Pipeline {
    /// The tokenizer of these parts and a model. Added tokens come last: their ids are the vocabulary's.
    fn build(
        self,
        model: ModelWrapper,
        added_tokens: impl IntoIterator<Item = AddedToken>,
    ) -> tokenizers::Result<Library> {
        let normalizer = part::<NormalizerWrapper>("normalizer", self.normalizer)?;
        let pre_tokenizer = part::<PreTokenizerWrapper>("pre_tokenizer", self.pre_tokenizer)?;
        let post_processor = part::<PostProcessorWrapper>("post_processor", self.post_processor)?;
        let decoder = part::<DecoderWrapper>("decoder", self.decoder)?;
        if let Some(pre_tokenizer) = &pre_tokenizer {
            checks::pre_tokenizer(pre_tokenizer).map_err(|problem| format!("pre_tokenizer: {problem}"))?;
        }
        if let Some(post_processor) = &post_processor {
            let written = serde_json::to_value(post_processor)?;
            checks::post_processor(&written).map_err(|problem| format!("post_processor: {problem}"))?;
        }
        let normalizer = normalizer.map(Normalizer::new).transpose();
        let decoder = decoder.map(Decoder::new).transpose();
        let mut library = Library::new(model);
        library.with_normalizer(normalizer.map_err(|problem| format!("normalizer: {problem}"))?)?;
        library.with_pre_tokenizer(pre_tokenizer);
        library.with_post_processor(post_processor);
        library.with_decoder(decoder.map_err(|problem| format!("decoder: {problem}"))?);
        library.add_tokens(added_tokens)?;
        Ok(library)
    }
}

impl Bpe {
    fn build(self) -> tokenizers::Result<BPE> {
        checks::ids(&self.vocab)?;
        checks::affix(
            "continuing_subword_prefix",
            self.continuing_subword_prefix.as_deref().unwrap_or_default(),
        )?;
        checks::affix("end_of_word_suffix", self.end_of_word_suffix.as_deref().unwrap_or_default())?;
        let longest = self.vocab.keys().map(String::len).max().unwrap_or(0);
        let prefix = self.continuing_subword_prefix.as_ref().map_or(0, String::len);
        // The library panics over these instead of finding that no vocabulary has them.
        let is_beyond = |(left, right): &&(String, String)| {
            !right.is_char_boundary(prefix) || left.len() + right.len() - prefix > longest
        };
        if let Some((left, right)) = self.merges.iter().find(is_beyond) {
            return Err(format!("Token `{left}{right}` out of vocabulary").into());
        }
        let mut builder = BPE::builder()
            .vocab_and_merges(self.vocab, self.merges)
            .fuse_unk(self.fuse_unk.unwrap_or(false))
            .byte_fallback(self.byte_fallback.unwrap_or(false))
            .ignore_merges(self.ignore_merges.unwrap_or(false));
        if let Some(dropout) = self.dropout {
            builder = builder.dropout(dropout);
        }
        if let Some(token) = self.unk_token {
            builder = builder.unk_token(token);
        }
        if let Some(prefix) = self.continuing_subword_prefix {
            builder = builder.continuing_subword_prefix(prefix);
        }
        if let Some(suffix) = self.end_of_word_suffix {
            builder = builder.end_of_word_suffix(suffix);
        }
        builder.build()
    }
}

/// `left right`, as older files write a merge; `None` where that is not two tokens.
pub(super) fn split_merge(line: &str) -> Option<(String, String)> {
    let (left, right) = line.split_once(' ')?;
    (!right.contains(' ')).then(|| (left.to_owned(), right.to_owned()))
}

/// Whether a line among the merges is the heading of the file they once came from.
pub(super) fn is_heading(line: &str) -> bool {
    line.starts_with("#version")
}

/// Merges as `["left", "right"]`, or all as `"left right"`.
fn merges<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Merges, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Merges;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("merges")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Merges, A::Error> {
            let mut merges = Vec::new();
            let (mut pairs, mut lines) = (false, false);
            while let Some(merge) = items.next_element::<Merge>()? {
                match merge {
                    Merge::Pair(left, right) => {
                        pairs = true;
                        merges.push((left, right));
                    }
                    Merge::Line(merge) => {
                        lines = true;
                        merges.extend(merge);
                    }
                }
            }
            if pairs && lines { Err(A::Error::custom("merges in two forms")) } else { Ok(merges) }
        }
    }
    deserializer.deserialize_seq(List)
}

/// One element of the list of merges.
enum Merge {
    Pair(String, String),
    /// Without a merge where the line is a heading.
    Line(Option<(String, String)>),
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Element;
        impl<'de> Visitor<'de> for Element {
            type Value = Merge;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a merge")
            }

            fn visit_str<E: Error>(self, line: &str) -> Result<Merge, E> {
                if is_heading(line) {
                    return Ok(Merge::Line(None));
                }
                match split_merge(line) {
                    Some(merge) => Ok(Merge::Line(Some(merge))),
                    None => Err(E::custom("a merge is two tokens")),
                }
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Merge, A::Error> {
                match (items.next_element()?, items.next_element()?) {
                    (Some(left), Some(right)) => Ok(Merge::Pair(left, right)),
                    _ => Err(A::Error::custom("a merge is two tokens")),
                }
            }
        }
        deserializer.deserialize_any(Element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOUND: &str = r#"{"version":"1.0","added_tokens":[
        {"id":5,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
        "decoder":{"type":"Fuse"},
        "model":{"type":"BPE","unk_token":"u","fuse_unk":true,"vocab":{"u":0,"a":1,"b":2,"ab":3},"merges":["a b"]}}"#;

    #[test]
    fn what_is_read_here_is_what_the_library_reads() {
        let in_pairs = SOUND.replace(r#"["a b"]"#, r#"[["a","b"]]"#);
        let headed = SOUND.replace(r#"["a b"]"#, r##"["#version: 0.2","a b"]"##);
        let untyped = SOUND.replace(r#""type":"BPE","#, "");
        for json in [SOUND, &in_pairs, &headed, &untyped] {
            assert!(serde_json::from_str::<File<Bpe>>(json).is_ok(), "{json}");
            let (read, library) = (from_json(json.as_bytes()).unwrap(), whole(json.as_bytes()).unwrap());
            assert_eq!(read.to_string(false).unwrap(), library.to_string(false).unwrap());
        }
    }

    #[test]
    fn what_is_wrong_is_an_error_here_too() {
        for (from, to) in [
            (r#"["a b"]"#, r#"["a b c"]"#),
            (r#"["a b"]"#, r#"["a b",["a","b"]]"#),
            (r#"["a b"]"#, r#"["a c"]"#),
            (r#"["a b"]"#, r#"[["ab","ab"]]"#),
            ("Fuse", "Fuze"),
            ("1.0", "2.0"),
            (r#""unk_token":"u""#, r#""continuing_subword_prefix":"bb""#),
            ("Fuse", "\\uD800"),
            (r#""merges":["a b"]}}"#, r#""merges":["a b"]}"#),
        ] {
            let json = SOUND.replace(from, to);
            assert!(json != SOUND && from_json(json.as_bytes()).is_err(), "{json}");
        }
    }
}
