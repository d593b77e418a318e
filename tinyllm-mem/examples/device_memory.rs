//! Memory of a device: a pool with a budget, a buffer ordered on a stream, and what a leak looks like. Runs on the emulated device;
//! `LibCuda::load()?` in its place takes this machine's GPU: `cargo run -p tinyllm-mem --example device_memory`.
#![allow(clippy::print_stdout)] // an example shows what it does

use std::{error::Error, sync::Arc};

use tinyllm_emulator::Emulator;
use tinyllm_mem::{
    Budget, Buffer, Category, Context, Device, Limiting, MemoryResource, Request, Stream,
    StreamOrderedResource,
};
use tinyllm_sys::{DevicePointer, StreamFlags};

fn main() -> Result<(), Box<dyn Error>> {
    let emulator = Emulator::builder().memory(1 << 30).build();
    let context = Context::primary(Arc::new(emulator.clone()), 0)?;
    let stream = Stream::new(&context, StreamFlags::NonBlocking)?;
    // A pool that keeps 64 MiB of what is freed, and hands out at most 100 MiB.
    let pool = Arc::new(StreamOrderedResource::new(&context, 64 << 20)?);
    let memory: Arc<dyn MemoryResource<Space = Device>> =
        Arc::new(Limiting::new(pool, Budget::total(100 << 20)));
    let request = |name, mib: usize| Request::new(Category::Activations, name, mib << 20, 256).on(&stream);
    let buffer = Buffer::<u8, Device>::allocate(&memory, request("x", 48))?;
    let address = DevicePointer(buffer.address().addr() as u64);
    // SAFETY: inside of the buffer, in the order of its stream.
    context.call(|driver| unsafe { driver.memset_d8_async(address, 7, buffer.len(), stream.handle()) })?;
    if let Err(refusal) = Buffer::<u8, Device>::allocate(&memory, request("y", 60)) {
        println!("refused: {refusal}");
    }
    drop(buffer); // in the order of its stream: the fill may not have run yet
    stream.synchronize()?;
    println!("freed, and kept by the pool: {:?}", context.memory_info());
    std::mem::forget(Buffer::<u8, Device>::allocate(&memory, request("forgotten", 1))?);
    emulator.finish().iter().for_each(|finding| println!("{finding}"));
    Ok(())
}
