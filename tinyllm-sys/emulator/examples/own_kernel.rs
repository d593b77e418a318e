//! A kernel of one's own in PTX, run and checked without a GPU. One thread too many writes: the emulator says where.
//!
//! `cargo run -p tinyllm-emulator --example own_kernel`

#![allow(clippy::print_stdout)] // an example shows what it does

use std::{error::Error, ffi::c_void, ptr::from_mut};

use tinyllm_emulator::Emulator;
use tinyllm_sys::{DriverApi, LaunchConfig, StreamHandle};

const PTX: &std::ffi::CStr = c".version 8.0 .target sm_80 .address_size 64
.visible .entry squares(.param .u64 out) {
    .reg .b32 %i, %square; .reg .b64 %at, %out;
    ld.param.u64 %out, [out];
    mov.u32 %i, %tid.x;
    mul.lo.u32 %square, %i, %i;
    mad.wide.u32 %at, %i, 4, %out;
    st.global.u32 [%at], %square;
    ret;
}";

fn main() -> Result<(), Box<dyn Error>> {
    let driver = Emulator::default();
    let mut squares = [0u32; 32];
    // SAFETY: handles are this driver's and live; the kernel takes one address, and both sides of the copy are 128 bytes.
    unsafe {
        driver.context_set_current(driver.primary_context_retain(driver.device_get(0)?)?)?;
        let kernel = driver.module_get_function(driver.module_load_data(PTX)?, c"squares")?;
        let mut out = driver.mem_alloc(128)?;
        driver.name_memory(out, 128, "squares");
        let params = [from_mut(&mut out).cast::<c_void>()];
        driver.launch_kernel(
            kernel,
            &LaunchConfig::new([1; 3], [32, 1, 1]),
            StreamHandle::LEGACY,
            &params,
        )?;
        driver.memcpy_dtoh(squares.as_mut_ptr().cast(), out, 128)?;
        println!("{squares:?}");
        driver.launch_kernel(
            kernel,
            &LaunchConfig::new([1; 3], [33, 1, 1]),
            StreamHandle::LEGACY,
            &params,
        )?;
        if let Err(error) = driver.context_synchronize() {
            println!("{error}");
        }
    }
    driver.findings().iter().for_each(|finding| println!("{finding}"));
    Ok(())
}
