//! What still lives, by name: `cargo run -p tinyllm-mem --example leak_report`.
#![allow(clippy::print_stdout)] // an example shows what it does

use std::sync::Arc;

use tinyllm_mem::{Buffer, Category, HostMemory, HostResource, MemError, Tracking};

fn main() -> Result<(), MemError> {
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let memory: HostMemory = tracking.clone();
    drop(Buffer::<u8>::zeroed(&memory, Category::Workspace, "scratch", 64)?);
    std::mem::forget(Buffer::<u8>::zeroed(&memory, Category::Kv, "forgotten", 128)?);
    for (name, bytes) in tracking.report().live {
        println!("{name}: {bytes} bytes were not freed");
    }
    Ok(())
}
