//! Memory: the record of a run equals its plan, and whatever fails leaves nothing behind.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // a test ends where it fails, and says what it skips

#[path = "../common/mod.rs"]
mod common;
mod failures;
mod heap;
mod plan;
mod record;
mod soak;
