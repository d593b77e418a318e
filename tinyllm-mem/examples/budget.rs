//! A budget of a megabyte, of which the KV cache gets half: `cargo run -p tinyllm-mem --example budget`.
#![allow(clippy::print_stdout)] // an example shows what it does

use std::sync::Arc;

use tinyllm_mem::{Budget, Buffer, Category, HostMemory, HostResource, Limiting, MemError};

fn main() -> Result<(), MemError> {
    let budget = Budget::total(1_000_000).with(Category::Kv, 500_000);
    let memory: HostMemory = Arc::new(Limiting::new(HostResource::shared(), budget));
    let kv = Buffer::<u8>::zeroed(&memory, Category::Kv, "kv", 400_000)?;
    match Buffer::<u8>::zeroed(&memory, Category::Kv, "more kv", 200_000) {
        Ok(_) => println!("there was room"),
        Err(refusal) => println!("refused: {refusal}"),
    }
    drop(kv);
    let more = Buffer::<u8>::zeroed(&memory, Category::Kv, "more kv", 200_000)?;
    println!("{} bytes after the first were freed", more.len());
    Ok(())
}
