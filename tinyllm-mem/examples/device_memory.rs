//! Memory of a device: a buffer on a stream, a pool that keeps what is freed, a budget, how much is left, and what leaked.
//!
//! `cargo run -p tinyllm-mem --example device_memory` runs on the emulated device, with `-- --gpu` on this machine's GPU.

#![allow(clippy::print_stdout)] // an example shows what it does

use std::{error::Error, sync::Arc};

use tinyllm_emulator::Emulator;
use tinyllm_mem::{
    Budget, Buffer, Category, Device, Limiting, MemoryResource, Request, Stream, StreamOrderedResource,
    Tracking,
};
use tinyllm_sys::{DevicePointer, DriverApi, LibCuda, StreamFlags};

const MIB: usize = 1 << 20;

fn main() -> Result<(), Box<dyn Error>> {
    let emulator = Emulator::builder().memory(1 << 30).build();
    let driver: Arc<dyn DriverApi> = match std::env::args().nth(1).as_deref() {
        Some("--gpu") => Arc::new(LibCuda::load()?),
        _ => Arc::new(emulator.clone()),
    };
    // SAFETY: the context is this driver's.
    unsafe { driver.context_set_current(driver.primary_context_retain(driver.device_get(0)?)?)? };
    let handle = driver.stream_create(StreamFlags::NonBlocking)?;
    // SAFETY: a stream of this driver that lives to the end of the program.
    let stream = unsafe { Stream::from_raw(handle.0) };

    // A pool that keeps 64 MiB of what is freed instead of giving it back, counted, with at most 100 MiB handed out.
    let pool = Arc::new(StreamOrderedResource::new(driver.clone(), 0, 64 * MIB as u64)?);
    let tracking = Arc::new(Tracking::new(pool.clone()));
    let budget = Budget { total_bytes: Some(100 * MIB), ..Budget::default() };
    let memory: Arc<dyn MemoryResource<Space = Device>> = Arc::new(Limiting::new(tracking.clone(), budget));

    let request = |name, bytes| Request::new(Category::Activations, name, bytes, 256).on(stream);
    let buffer = Buffer::<u8, Device>::allocate(&memory, request("x", 48 * MIB))?;
    let mut first = [0u8; 4];
    // SAFETY: inside of the buffer, in the order of its stream; the copy has been waited for before it is looked at.
    unsafe {
        let address = DevicePointer(buffer.address().addr() as u64);
        driver.memset_d8_async(address, 7, buffer.len(), handle)?;
        driver.memcpy_dtoh_async(first.as_mut_ptr(), address, first.len(), handle)?;
        driver.stream_synchronize(handle)?;
    }
    println!("the first bytes: {first:?}");
    if let Err(refusal) = Buffer::<u8, Device>::allocate(&memory, request("y", 60 * MIB)) {
        println!("refused: {refusal}");
    }

    let left = |when: &str| -> Result<(), Box<dyn Error>> {
        let (free, total) = driver.mem_get_info()?;
        println!("{when}: {} of {} MiB free", free / MIB as u64, total / MIB as u64);
        Ok(())
    };
    left("with the buffer")?;
    drop(buffer);
    pool.synchronize(stream)?;
    left("freed, and kept by the pool")?;

    // Leaked on purpose: the report names it, and so does the emulator.
    std::mem::forget(Buffer::<u8, Device>::allocate(&memory, request("forgotten", MIB))?);
    for (name, bytes) in &tracking.report().live {
        println!("still allocated: {name}, {bytes} bytes");
    }
    // SAFETY: nothing names the stream any more but what was forgotten.
    unsafe { driver.stream_destroy(handle)? };
    emulator.finish().iter().for_each(|finding| println!("{finding}"));
    Ok(())
}
