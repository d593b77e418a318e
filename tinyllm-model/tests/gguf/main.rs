//! GGUF files, from outside: reference models, damaged files, split files, seeded mutations.

mod config;
mod malformed;
mod mutations;
mod oracle;
mod split;
mod support;
mod writer;
