//! A buffer whose bytes are counted by category: `cargo run -p tinyllm-mem --example tracked_buffer`.
#![allow(clippy::print_stdout)] // an example shows what it does

use std::sync::Arc;

use tinyllm_mem::{Buffer, Category, HostMemory, HostResource, MemError, Stream, Tracking};

fn main() -> Result<(), MemError> {
    let tracking = Arc::new(Tracking::new(HostResource::shared()));
    let memory: HostMemory = tracking.clone();
    let mut logits = Buffer::<f32>::zeroed(&memory, Category::Logits, "logits", 1000)?;
    logits.as_mut_slice()[7] = 1.0;
    let copy = logits.try_clone(&Stream::DEFAULT)?;
    drop(logits);
    let usage = tracking.report().categories[&Category::Logits];
    println!(
        "{} bytes live, {} at the peak; copy[7] = {}",
        usage.live_bytes,
        usage.peak_bytes,
        copy.as_slice()[7]
    );
    assert_eq!((usage.live_bytes, usage.peak_bytes), (4000, 8000));
    Ok(())
}
