//! LLaMA models: config, loading, tokenizer, KV cache, forward, sampling, generation.
//!
//! No `unsafe`, no printing, no argument parsing: those live in the crates below and in the program above.
//!
//! ```
//! use std::{ops::ControlFlow, path::Path, sync::Arc};
//! use tinyllm_mem::{HostResource, Tracking};
//! use tinyllm_model::{ModelFiles, engine::EngineOptions, generation, tokenizer::EncodeOptions};
//!
//! # let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tinyllm-cli/assets/tiny-austen");
//! # #[cfg(any())]
//! let path = Path::new("a directory with config.json, or a .gguf file");
//! let memory = Arc::new(Tracking::new(HostResource::shared()));
//! let mut model =
//!     ModelFiles::open(&path)?.load(&EngineOptions::default(), &(memory.clone() as _), &|_| {})?;
//! let prompt = model.tokenizer.encode("It is a truth", EncodeOptions { add_special: true, ..Default::default() })?;
//! let parameters = generation::GenerationParameters::default().with_max_tokens(8);
//! let (tokenizer, sequence) = (Some(&model.tokenizer), model.engine.create_sequence()?);
//! let answer = generation::generate(
//!     &mut model.engine, sequence, tokenizer, &prompt, &parameters, &mut |_| ControlFlow::Continue(()),
//! )?;
//! assert!(answer.ids.len() <= 8);
//! println!("{} ({} bytes)", answer.text, memory.report().total.live_bytes);
//! # Ok::<(), tinyllm_model::ModelError>(())
//! ```
#![forbid(unsafe_code)]

pub mod chat;
pub mod checkpoint;
pub mod config;
pub mod engine;
mod error;
pub mod files;
pub mod generation;
mod library_panics;
mod llama;
pub mod perplexity;
pub mod quantize;
pub mod sampling;
#[cfg(test)]
mod test_data;
pub mod tokenizer;

pub use tinyllm_kernels::{GroupSize, Isa, KvFormat};
pub use tinyllm_mem::{HostMemory, HostResource, Tracking};

pub use config::ModelConfig;
pub use engine::Engine;
pub use error::{ModelError, Result};
pub use files::ModelFiles;
pub use tokenizer::Tokenizer;
