//! One suite that every resource and every stack of adaptors passes.
#![allow(clippy::unwrap_used)] // a test ends where it fails

mod device;
mod hostile;
mod owners;
mod stacks;
mod suite;
mod threads;
