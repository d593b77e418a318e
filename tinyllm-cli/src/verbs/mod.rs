//! The verbs: a file or folder each, with its arguments and its `run`.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod detokenize;
pub(crate) mod doctor;
pub(crate) mod list;
pub(crate) mod logits;
pub(crate) mod perplexity;
pub(crate) mod plan;
pub(crate) mod pull;
pub(crate) mod quantize;
pub(crate) mod rm;
pub(crate) mod run;
pub(crate) mod show;
pub(crate) mod template;
pub(crate) mod tokenize;
