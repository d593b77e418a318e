//! LLaMA models: config, loading, tokenizer, KV cache, forward, sampling, generation.
//!
//! No `unsafe`, no printing, no argument parsing: those live in the crates below and in the program above.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod config;
mod error;

pub use config::ModelConfig;
pub use error::{ModelError, Result};
