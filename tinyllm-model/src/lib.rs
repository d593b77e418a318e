//! LLaMA models: config, loading, tokenizer, KV cache, forward, sampling, generation.
//!
//! No `unsafe`, no printing, no argument parsing: those live in the crates below and in the program above.
#![forbid(unsafe_code)]

pub mod chat;
pub mod checkpoint;
pub mod config;
pub mod engine;
mod error;
pub mod generation;
pub mod perplexity;
pub mod quantize;
pub mod sampling;
pub mod tokenizer;

pub use config::ModelConfig;
pub use engine::Engine;
pub use error::{ModelError, Result};
pub use tokenizer::Tokenizer;
