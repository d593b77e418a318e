//! LLaMA models: config, loading, tokenizer, KV cache, forward, sampling, generation.
//!
//! No `unsafe`, no printing, no argument parsing: those live in the crates below and in the program above.
//!
//! ```
//! use std::{path::Path, sync::Arc};
//! use tinyllm_mem::{HostResource, Tracking};
//! use tinyllm_model::{Engine, checkpoint, engine::EngineOptions, generation};
//!
//! # let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tinyllm-cli/assets/tiny-austen");
//! # #[cfg(any())]
//! let path = Path::new("a directory with config.json, or a .gguf file");
//! let checkpoint = checkpoint::open(&path)?;
//! let memory = Arc::new(Tracking::new(HostResource::shared()));
//! let mut engine = Engine::load(&*checkpoint, &EngineOptions::default(), &(memory.clone() as _), &|_| {})?;
//! let parameters = generation::GenerationParameters { max_tokens: Some(8), ..Default::default() };
//! let answer = generation::generate(&mut engine, None, &[1, 2, 3], &parameters, &mut |_| std::ops::ControlFlow::Continue(()))?;
//! assert!(answer.ids.len() <= 8);
//! println!("{} bytes", memory.report().total.live_bytes);
//! # Ok::<(), tinyllm_model::ModelError>(())
//! ```
#![forbid(unsafe_code)]

pub mod chat;
pub mod checkpoint;
pub mod config;
pub mod engine;
mod error;
pub mod generation;
mod library_panics;
pub mod perplexity;
pub mod quantize;
pub mod sampling;
#[cfg(test)]
mod test_data;
pub mod tokenizer;

pub use config::ModelConfig;
pub use engine::Engine;
pub use error::{ModelError, Result};
pub use tokenizer::Tokenizer;
