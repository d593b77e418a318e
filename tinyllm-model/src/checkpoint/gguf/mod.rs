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
mod keys;
mod metadata;
mod reader;
mod rope;
mod split;
mod tensors;
mod types;
mod value;

use std::{fs::File, io::Read, path::Path};

pub use checkpoint::GgufCheckpoint;
pub use metadata::Metadata;
pub use reader::{Gguf, GgufTensor};
pub use types::GgmlType;
pub use value::{Array, Strings, Value, ValueType};

/// The first bytes of a file.
const MAGIC: [u8; 4] = *b"GGUF";

/// Whether a path is that of a GGUF file: by its name, or by its first bytes whatever it is called.
pub fn is_gguf(path: &Path) -> bool {
    let begins_so = || {
        let mut magic = [0; MAGIC.len()];
        File::open(path).and_then(|mut file| file.read_exact(&mut magic)).is_ok_and(|()| magic == MAGIC)
    };
    let is_named_so = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    // Reading a pipe would consume it.
    is_named_so && !path.is_dir() || path.is_file() && begins_so()
}
