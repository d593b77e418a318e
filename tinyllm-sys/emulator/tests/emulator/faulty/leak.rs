//! What a program does not give back.

use tinyllm_emulator::Emulator;
use tinyllm_sys::{DriverApi, EventTiming, StreamFlags, StreamHandle};

use crate::{
    corpus::{check, kernel},
    program::Program,
};

#[test]
fn memory_by_its_name() {
    let program = Program::new(Emulator::builder());
    let driver = &program.driver;
    let plain = driver.mem_alloc(100).unwrap();
    driver.name_memory(plain, 100, "weights of layer 3");
    let pool = driver.mem_pool_create(0, 0).unwrap();
    // SAFETY: the pool is there, and the default stream always is.
    unsafe { driver.mem_alloc_from_pool_async(64, pool, StreamHandle::LEGACY) }.unwrap();
    let page_locked = driver.mem_alloc_host(10).unwrap();
    let text = format!("leak: page-locked memory of 10 bytes, 10 bytes at {:#x}", page_locked.addr());
    check(
        "memory",
        &driver.finish(),
        &[
            &["leak: weights of layer 3, 100 bytes at 0x7000", "cuMemAlloc without cuMemFree"],
            &[
                "leak: a pool's allocation of 64 bytes, 64 bytes at",
                "cuMemAllocFromPoolAsync without cuMemFreeAsync",
            ],
            &[text.as_str()],
            &["leak: 1 memory pools: cuMemPoolCreate without cuMemPoolDestroy"],
        ],
    );
}

#[test]
fn everything_else() {
    let program = Program::new(Emulator::builder());
    let driver = &program.driver;
    driver.stream_create(StreamFlags::Default).unwrap();
    driver.event_create(EventTiming::Disabled).unwrap();
    driver.event_create(EventTiming::Enabled).unwrap();
    program.kernel(&kernel(""), "k");
    driver.mem_address_reserve(2 << 20, 0).unwrap();
    driver.mem_create(0, 2 << 20).unwrap();
    check(
        "objects",
        &driver.finish(),
        &[
            &["leak: memory without an address: cuMemCreate without cuMemRelease"],
            &["leak: 1 streams: cuStreamCreate without cuStreamDestroy"],
            &["leak: 2 events"],
            &["leak: 1 modules"],
            &["leak: 1 reservations"],
        ],
    );
}
