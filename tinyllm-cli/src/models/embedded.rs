//! The model that is part of the program, for those who name none. Its provenance is in `assets/README.md`.

use std::path::Path;

use tinyllm_model::{Tokenizer, checkpoint::HuggingFaceCheckpoint};

/// What messages call it.
pub(super) const NAME: &str = "tiny-austen";

pub(super) fn checkpoint() -> tinyllm_model::Result<HuggingFaceCheckpoint> {
    HuggingFaceCheckpoint::from_memory(
        include_bytes!("../../assets/tiny-austen/config.json"),
        include_bytes!("../../assets/tiny-austen/model.safetensors"),
        NAME,
    )
}

pub(super) fn tokenizer() -> tinyllm_model::Result<Tokenizer> {
    Tokenizer::from_json(include_bytes!("../../assets/tiny-austen/tokenizer.json"), Path::new(NAME))
}
