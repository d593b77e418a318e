//! Text to tokens and back: tokenizer.json, or the vocabulary inside a GGUF, both through the `tokenizers` crate.

mod bounded;
mod checks;
mod chunks;
mod end_tokens;
mod files;
mod gguf;
mod library_errors;
mod parts;
mod special;
mod stream;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

pub(crate) use files::TokenizerFiles;
pub use special::SpecialTokens;
pub use stream::DecodeStream;

use crate::{ModelError, Result, config::read_bounded};
use library_errors::guarded;
use parts::Library;

/// The longest tokenizer.json that is read; the largest published ones are below 40 MB.
const MAX_TOKENIZER_BYTES: u64 = 128 << 20;

/// How text becomes tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EncodeOptions {
    /// Special tokens written in the text become those tokens; else they stay text.
    pub parse_special: bool,
    /// Adds what the tokenizer's own post-processor adds (a beginning of sequence, say).
    pub add_special: bool,
}

/// A model's tokenizer.
pub struct Tokenizer {
    path: PathBuf,
    end_token_ids: Vec<u32>,
    /// Whether special tokens are text is a state of the library's tokenizer, hence the lock.
    inner: Mutex<Library>,
}

impl Tokenizer {
    /// The tokenizer.json of a directory, which need hold nothing else, with the tokens that the files next to it add.
    ///
    /// # Errors
    /// A file that is missing, malformed, or too large.
    pub fn from_directory(directory: &Path) -> Result<Self> {
        let path = directory.join("tokenizer.json");
        let json = read_bounded(&path, MAX_TOKENIZER_BYTES)?;
        let files = TokenizerFiles::read(directory)?;
        let inner = guarded(&path, "tokenizer", || {
            let mut inner = parts::from_json(&json)?;
            let added = inner.get_added_tokens_decoder();
            let added: HashSet<&str> = added.values().map(|token| token.content.as_str()).collect();
            inner.add_tokens(files.added_tokens(|token| added.contains(token)))?;
            Ok(inner)
        })?;
        let end_token_ids = end_tokens::named(&files.special_tokens(), &inner);
        Ok(Tokenizer { path, end_token_ids, inner: Mutex::new(inner) })
    }

    /// The contents of a tokenizer.json; `label` is what errors call it.
    ///
    /// # Errors
    /// As [`Tokenizer::from_directory`].
    pub fn from_json(json: &[u8], label: &Path) -> Result<Self> {
        let inner = guarded(label, "tokenizer", || parts::from_json(json))?;
        Ok(Tokenizer { path: label.to_owned(), end_token_ids: Vec::new(), inner: Mutex::new(inner) })
    }

    /// The vocabulary inside a GGUF.
    ///
    /// # Errors
    /// A vocabulary that is missing, contradicts itself, or is of a kind that is not supported.
    pub fn from_gguf(gguf: &crate::checkpoint::gguf::Gguf) -> Result<Self> {
        let metadata = gguf.metadata();
        let inner = gguf::tokenizer(&metadata)?;
        let end_token_ids = end_tokens::of_gguf(&SpecialTokens::from_gguf(&metadata)?, &inner);
        Ok(Tokenizer { path: gguf.path().to_owned(), end_token_ids, inner: Mutex::new(inner) })
    }

    /// The tokens of `text`.
    ///
    /// # Errors
    /// Where the tokenizer has no token for a part of the text.
    pub fn encode(&self, text: &str, options: EncodeOptions) -> Result<Vec<u32>> {
        let mut inner = self.lock();
        inner.set_encode_special_tokens(!options.parse_special);
        guarded(&self.path, "tokenizer", || {
            let normalizer = inner.get_normalizer();
            normalizer.iter().for_each(|normalizer| normalizer.begin(text.len()));
            let ids = chunks::encode(&inner, text, options.add_special)?;
            match normalizer.and_then(|normalizer| normalizer.problem()) {
                Some(problem) => Err(format!("normalizer: {problem}").into()),
                None => Ok(ids),
            }
        })
    }

    /// The text of `ids`, with or without special tokens.
    ///
    /// # Errors
    /// An id that the vocabulary does not have.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String> {
        let inner = self.lock();
        if let Some(id) = ids.iter().copied().find(|id| inner.id_to_token(*id).is_none()) {
            return Err(ModelError::UnknownToken { id });
        }
        guarded(&self.path, "decoder", || inner.decode(ids, skip_special))
    }

    /// The tokenizer as a tokenizer.json.
    ///
    /// # Errors
    /// Where the library cannot write it.
    pub fn to_json(&self) -> Result<String> {
        let inner = self.lock();
        guarded(&self.path, "tokenizer", || inner.to_string(true))
    }

    /// A decoder of one token after another.
    pub fn decode_stream(&self, skip_special: bool) -> DecodeStream<'_> {
        DecodeStream::new(self, skip_special)
    }

    /// Tokens of the vocabulary, added ones included.
    pub fn vocab_size(&self) -> usize {
        self.lock().get_vocab_size(true)
    }

    /// The tokens that end an answer, as far as the tokenizer's files say so.
    pub fn end_token_ids(&self) -> &[u32] {
        &self.end_token_ids
    }

    /// The text of a special token; `None` for others, and for ids that have no token.
    pub fn special_token(&self, id: u32) -> Option<String> {
        let inner = self.lock();
        let token = inner.id_to_token(id)?;
        inner.get_added_vocabulary().is_special_token(&token).then_some(token)
    }

    /// The special tokens, as they are written.
    pub fn special_tokens(&self) -> Vec<String> {
        let decoder = self.lock().get_added_tokens_decoder();
        decoder.into_values().filter(|token| token.special).map(|token| token.content).collect()
    }

    /// The id of a token.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.lock().token_to_id(token)
    }

    /// The token of an id.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.lock().id_to_token(id)
    }

    /// A panic elsewhere leaves the tokenizer as it is: encoding does not change it.
    fn lock(&self) -> MutexGuard<'_, Library> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
