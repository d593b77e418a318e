//! The CUDA driver's C interface over one emulator that the environment describes: a library to stand where programs look for
//! `libcuda.so.1`. Calls are grouped as the driver's documentation groups them.

// The library's end and the paths of files are Linux's; elsewhere nothing looks for this library.
#![cfg(target_os = "linux")]

mod contexts;
mod copies;
mod devices;
mod driver;
mod errors;
mod events;
mod export;
mod functions;
mod graphs;
mod host_functions;
mod launches;
mod libraries;
mod links;
mod mapped;
mod memory;
mod modules;
mod pools;
mod proc_address;
mod refused;
mod result;
mod streams;
mod structs;

pub use proc_address::find_by_name;
