//! The CUDA runtime's C interface over the driver's: what a program that nvcc made, with the runtime as a shared library, calls.
//! `v12` and `v13` beside this crate are the libraries. Calls are grouped as the runtime's documentation groups them.

// The names and paths of libraries are Linux's; elsewhere nothing looks for this one.
#![cfg(target_os = "linux")]

mod attributes;
mod binaries;
mod captures;
mod contexts;
mod copies;
mod devices;
mod driver;
mod entry_points;
mod error_texts;
mod errors;
mod events;
mod export;
mod fatbin;
mod fills;
mod launches;
mod memory;
mod outcome;
mod peers;
mod pools;
mod properties;
mod property_table;
mod rectangles;
mod registration;
mod streams;
mod symbols;

pub use driver::{Find, use_driver};
pub use entry_points::runtime_version;
