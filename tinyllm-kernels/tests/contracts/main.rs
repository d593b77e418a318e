//! What safe code can rely on: correct numbers, or a typed error. Each case here once was undefined behaviour, a wrong
//! number or a panic.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test ends where it fails

mod arithmetic;
mod binding;
mod harness;
mod null;
mod programs;
mod regions;
mod steps;
