//! LLaMA models: config, loading, tokenizer, KV cache, forward, sampling, generation.
//!
//! No `unsafe`, no printing, no argument parsing: those live in the crates below and in the program above.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod config;
pub mod engine;
mod error;
pub mod perplexity;
pub mod sampling;

pub use config::ModelConfig;
pub use engine::Engine;
pub use error::{ModelError, Result};
