//! Fills of bytes in a row.

use std::ffi::c_int;

use crate::{
    contexts::on_device,
    copies::When,
    driver::Driver,
    export::exports,
    outcome::Answer,
    streams::{PER_THREAD, Stream},
};

/// Fills bytes of a device.
pub(crate) fn fill_bytes(driver: &Driver, dst: u64, value: c_int, bytes: usize, when: When) -> Answer {
    // The low byte of the number, as `memset` has it.
    let value = value.to_le_bytes()[0];
    // SAFETY: memory that is not there the driver refuses.
    unsafe {
        match when {
            When::AtReturn => driver.memset_d8(dst, value, bytes),
            When::AtReturnOfThread => {
                driver.memset_d8_async(dst, value, bytes, PER_THREAD)?;
                driver.stream_synchronize(PER_THREAD)
            }
            When::On(stream) => driver.memset_d8_async(dst, value, bytes, stream),
        }
    }
}

fn fill(dst: u64, value: c_int, bytes: usize, when: When) -> Answer {
    let driver = on_device()?;
    if bytes == 0 { Ok(()) } else { fill_bytes(driver, dst, value, bytes, when) }
}

exports! {
    cudaMemset(dst: u64, value: c_int, bytes: usize) {
        fill(dst, value, bytes, When::AtReturn)
    }
    cudaMemset_ptds(dst: u64, value: c_int, bytes: usize) {
        fill(dst, value, bytes, When::AtReturnOfThread)
    }
    cudaMemsetAsync; stream => cudaMemsetAsync_ptsz (dst: u64, value: c_int, bytes: usize, stream: Stream) {
        fill(dst, value, bytes, When::On(stream))
    }
}
