//! Models on devices: the emulated device gives the processor's logits, bit for bit, in exactly the memory that is planned, and
//! a failing driver leaves nothing behind. Where `TINYLLM_TEST_GPU` asks for it, so does this machine's GPU.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)] // a test ends where it fails, and says what it skips

#[path = "../common/mod.rs"]
mod common;
mod failures;
mod memory;
mod planted;
mod same_bits;
mod schedules;
mod smollm2;
mod splits;
mod tested;
