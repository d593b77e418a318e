//! The model that is part of the program, used where no MODEL is given. Its provenance is in `assets/README.md`.

use tinyllm_model::files::EmbeddedFiles;

pub(super) const FILES: EmbeddedFiles = EmbeddedFiles {
    name: "tiny-austen",
    config: include_bytes!("../../assets/tiny-austen/config.json"),
    safetensors: include_bytes!("../../assets/tiny-austen/model.safetensors"),
    tokenizer: include_bytes!("../../assets/tiny-austen/tokenizer.json"),
};
