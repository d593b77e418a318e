//! GGUF files, from outside: reference models, damaged files, split files, seeded mutations.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests fail by panicking, and say on stderr what they skip"
)]

mod config;
mod malformed;
mod mutations;
mod oracle;
mod split;
mod support;
mod writer;
