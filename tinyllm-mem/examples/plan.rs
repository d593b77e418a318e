//! A plan for a program that is no LLaMA, an image filter whose buffers share one arena:
//! `cargo run -p tinyllm-mem --example plan`.
#![allow(clippy::print_stdout)] // an example shows what it does

use tinyllm_mem::{Buffer, Category, HostResource, MemError, Plan, Region, Request};

fn main() -> Result<(), MemError> {
    let region = |name, bytes, lifetime| Region::new(name, Category::Activations, bytes, 64, lifetime);
    let plan = Plan::pack(vec![
        region("image", 1 << 20, (0, 1)),
        region("blurred", 1 << 20, (1, 3)),
        region("edges", 1 << 19, (2, 3)),
        region("histogram", 1 << 12, (3, 3)),
    ])?;
    for (region, offset) in plan.regions().iter().zip(plan.offsets()) {
        println!("{:<10}{:>9} bytes at {offset:>8}, steps {:?}", region.name, region.bytes, region.lifetime);
    }
    println!("{} bytes; no arena can be below {}", plan.total_bytes(), plan.lower_bound_bytes());
    let request = Request::slab("arena", plan.parts(), 64);
    let arena = Buffer::<u8>::allocate(&HostResource::shared(), request)?;
    assert_eq!(arena.len(), plan.lower_bound_bytes());
    Ok(())
}
