//! GGUF files, versions 2 and 3, little-endian: header, metadata, tensors, dequantisation, config, checkpoint.
//!
//! The layout is <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. A file is untrusted: every count is
//! checked against the bytes that are left before anything is reserved for it, and the header as a whole is capped.
//! Tokenizers read their vocabulary through [`Gguf::metadata`]; weights come through [`GgufCheckpoint`].

mod checkpoint;
mod config;
mod cursor;
mod dequantize;
mod header;
mod metadata;
mod reader;
mod rope;
mod split;
mod tensors;
mod types;
mod value;

pub use checkpoint::GgufCheckpoint;
pub use metadata::Metadata;
pub use reader::{Gguf, GgufTensor};
pub use types::GgmlType;
pub use value::{Array, Strings, Value, ValueType};
