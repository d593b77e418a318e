//! Copies and fills. Those without a stream are done when they return, as far as the driver promises it.

use std::ffi::c_void;

use tinyllm_emulator::Emulator;
use tinyllm_sys::{DevicePointer, DriverApi, DriverCode, DriverError, StreamHandle};

use crate::{
    contexts::{self, Context, on_context},
    export::exports,
    result::Answer,
    streams::Stream,
};

const LEGACY: StreamHandle = StreamHandle::LEGACY;
const PER_THREAD: StreamHandle = StreamHandle::PER_THREAD;

fn device(pointer: u64) -> DevicePointer {
    DevicePointer(pointer)
}

/// One side of a copy.
#[derive(Clone, Copy, Debug)]
enum Side {
    Device(u64),
    Host(*mut u8),
}

impl Side {
    /// What an address of the unified space is. Page-locked memory is the host's.
    fn of(driver: &Emulator, address: u64) -> Self {
        match driver.is_device_address(address) {
            true => Side::Device(address),
            false => Side::Host(std::ptr::with_exposed_provenance_mut(address as usize)),
        }
    }
}

/// A copy on a stream.
///
/// # Safety
/// As the driver's call: memory of the host can be read or written as long as the copy lasts.
unsafe fn copy(to: Side, from: Side, bytes: usize, stream: StreamHandle) -> Answer {
    let driver = on_context()?;
    // SAFETY: the caller's promise; device memory that is not there is refused.
    unsafe {
        match (to, from) {
            (Side::Device(dst), Side::Device(src)) => {
                driver.memcpy_dtod_async(device(dst), device(src), bytes, stream)?;
            }
            (Side::Device(dst), Side::Host(src)) => {
                driver.memcpy_htod_async(device(dst), src, bytes, stream)?;
            }
            (Side::Host(dst), Side::Device(src)) => {
                driver.memcpy_dtoh_async(dst, device(src), bytes, stream)?;
            }
            (Side::Host(dst), Side::Host(src)) => {
                driver.stream_synchronize(stream)?;
                dst.copy_from(src, bytes);
            }
        }
    }
    Ok(())
}

/// A copy that is done when this returns.
///
/// # Safety
/// As [`copy`].
unsafe fn copy_and_wait(to: Side, from: Side, bytes: usize, stream: StreamHandle) -> Answer {
    let driver = on_context()?;
    // SAFETY: the caller's promise.
    unsafe {
        // The calls without a stream know themselves what they have to wait for.
        match (to, from, stream) {
            (Side::Device(dst), Side::Device(src), LEGACY) => {
                driver.memcpy_dtod(device(dst), device(src), bytes)?
            }
            (Side::Device(dst), Side::Host(src), LEGACY) => driver.memcpy_htod(device(dst), src, bytes)?,
            (Side::Host(dst), Side::Device(src), LEGACY) => driver.memcpy_dtoh(dst, device(src), bytes)?,
            _ => {
                copy(to, from, bytes, stream)?;
                driver.stream_synchronize(stream)?;
            }
        }
    }
    Ok(())
}

/// A copy from one device to another, by way of the host, when everything before it on the stream is done.
///
/// # Safety
/// As the driver's call.
unsafe fn copy_between(to: (u32, u64), from: (u32, u64), bytes: usize, stream: StreamHandle) -> Answer {
    // SAFETY: what is no stream is refused.
    unsafe { on_context()?.stream_synchronize(stream) }?;
    let mut between = vec![0u8; bytes];
    let address = between.as_mut_ptr();
    // SAFETY: device memory that is not there is refused; so many bytes are between.
    contexts::on_device(from.0, |driver| Ok(unsafe { driver.memcpy_dtoh(address, device(from.1), bytes) }?))?;
    // SAFETY: as above.
    contexts::on_device(to.0, |driver| Ok(unsafe { driver.memcpy_htod(device(to.1), address, bytes) }?))
}

/// A copy between addresses of the unified space.
///
/// # Safety
/// As [`copy`].
unsafe fn copy_any(dst: u64, src: u64, bytes: usize, stream: StreamHandle, waits: bool) -> Answer {
    let driver = on_context()?;
    let (to, from) = (Side::of(&driver, dst), Side::of(&driver, src));
    let ordinal = |address| driver.allocated(address).and_then(|found| found.ordinal);
    if let (Some(of_dst), Some(of_src)) = (ordinal(dst), ordinal(src))
        && of_dst != of_src
    {
        // SAFETY: the caller's promise.
        return unsafe { copy_between((of_dst, dst), (of_src, src), bytes, stream) };
    }
    // SAFETY: the caller's promise.
    unsafe {
        match waits {
            true => copy_and_wait(to, from, bytes, stream),
            false => copy(to, from, bytes, stream),
        }
    }
}

/// Words of 16 bits, which the table has no fill for, as a copy.
///
/// # Safety
/// As the driver's call.
unsafe fn fill_16(dst: u64, value: u16, words: usize, stream: StreamHandle) -> Answer {
    let driver = on_context()?;
    if !dst.is_multiple_of(2) {
        return Err(DriverCode::InvalidValue.into());
    }
    let pattern = vec![value; words];
    // SAFETY: memory that is not there is refused; ordinary memory of the host is read before the call returns.
    let copied: Result<(), DriverError> =
        unsafe { driver.memcpy_htod_async(device(dst), pattern.as_ptr().cast(), words * 2, stream) };
    Ok(copied?)
}

/// Waits for a fill without a stream that the table has as an asynchronous one, where the host sees what it fills.
fn filled(driver: &Emulator, dst: u64, stream: StreamHandle) -> Answer {
    if driver.allocated(dst).is_some_and(|found| found.ordinal.is_none()) {
        // SAFETY: a default stream.
        unsafe { driver.stream_synchronize(stream) }?;
    }
    Ok(())
}

exports! {
    cuMemcpy(dst: u64, src: u64, bytes: usize) {
        // SAFETY: the caller's promise is the driver's.
        unsafe { copy_any(dst, src, bytes, LEGACY, true) }
    }
    cuMemcpy_ptds(dst: u64, src: u64, bytes: usize) {
        // SAFETY: as above.
        unsafe { copy_any(dst, src, bytes, PER_THREAD, true) }
    }
    cuMemcpyAsync; stream => cuMemcpyAsync_ptsz (dst: u64, src: u64, bytes: usize, stream: Stream) {
        // SAFETY: as above.
        unsafe { copy_any(dst, src, bytes, StreamHandle(stream), false) }
    }
    cuMemcpyPeer(dst: u64, _dst_context: Context, src: u64, _src_context: Context, bytes: usize) {
        // SAFETY: as above.
        unsafe { copy_any(dst, src, bytes, LEGACY, true) }
    }
    cuMemcpyPeer_ptds(dst: u64, _dst_context: Context, src: u64, _src_context: Context, bytes: usize) {
        // SAFETY: as above.
        unsafe { copy_any(dst, src, bytes, PER_THREAD, true) }
    }
    cuMemcpyPeerAsync; stream => cuMemcpyPeerAsync_ptsz (
        dst: u64,
        _dst_context: Context,
        src: u64,
        _src_context: Context,
        bytes: usize,
        stream: Stream
    ) {
        // SAFETY: as above.
        unsafe { copy_any(dst, src, bytes, StreamHandle(stream), false) }
    }
    cuMemcpyHtoD | cuMemcpyHtoD_v2(dst: u64, src: *mut c_void, bytes: usize) {
        // SAFETY: as above.
        unsafe { copy_and_wait(Side::Device(dst), Side::Host(src.cast()), bytes, LEGACY) }
    }
    cuMemcpyHtoD_v2_ptds(dst: u64, src: *mut c_void, bytes: usize) {
        // SAFETY: as above.
        unsafe { copy_and_wait(Side::Device(dst), Side::Host(src.cast()), bytes, PER_THREAD) }
    }
    cuMemcpyDtoH | cuMemcpyDtoH_v2(dst: *mut c_void, src: u64, bytes: usize) {
        // SAFETY: as above.
        unsafe { copy_and_wait(Side::Host(dst.cast()), Side::Device(src), bytes, LEGACY) }
    }
    cuMemcpyDtoH_v2_ptds(dst: *mut c_void, src: u64, bytes: usize) {
        // SAFETY: as above.
        unsafe { copy_and_wait(Side::Host(dst.cast()), Side::Device(src), bytes, PER_THREAD) }
    }
    cuMemcpyDtoD | cuMemcpyDtoD_v2(dst: u64, src: u64, bytes: usize) {
        // SAFETY: as above.
        unsafe { copy_and_wait(Side::Device(dst), Side::Device(src), bytes, LEGACY) }
    }
    cuMemcpyDtoD_v2_ptds(dst: u64, src: u64, bytes: usize) {
        // SAFETY: as above. A copy on the device does not wait.
        unsafe { copy(Side::Device(dst), Side::Device(src), bytes, PER_THREAD) }
    }
    cuMemcpyHtoDAsync | cuMemcpyHtoDAsync_v2; stream => cuMemcpyHtoDAsync_v2_ptsz (
        dst: u64,
        src: *mut c_void,
        bytes: usize,
        stream: Stream
    ) {
        // SAFETY: as above.
        unsafe { copy(Side::Device(dst), Side::Host(src.cast()), bytes, StreamHandle(stream)) }
    }
    cuMemcpyDtoHAsync | cuMemcpyDtoHAsync_v2; stream => cuMemcpyDtoHAsync_v2_ptsz (
        dst: *mut c_void,
        src: u64,
        bytes: usize,
        stream: Stream
    ) {
        // SAFETY: as above.
        unsafe { copy(Side::Host(dst.cast()), Side::Device(src), bytes, StreamHandle(stream)) }
    }
    cuMemcpyDtoDAsync | cuMemcpyDtoDAsync_v2; stream => cuMemcpyDtoDAsync_v2_ptsz (
        dst: u64,
        src: u64,
        bytes: usize,
        stream: Stream
    ) {
        // SAFETY: as above.
        unsafe { copy(Side::Device(dst), Side::Device(src), bytes, StreamHandle(stream)) }
    }
    cuMemsetD8 | cuMemsetD8_v2(dst: u64, value: u8, bytes: usize) {
        // SAFETY: memory that is not there is refused.
        Ok(unsafe { on_context()?.memset_d8(device(dst), value, bytes) }?)
    }
    cuMemsetD8_v2_ptds(dst: u64, value: u8, bytes: usize) {
        let driver = on_context()?;
        // SAFETY: as above.
        unsafe { driver.memset_d8_async(device(dst), value, bytes, PER_THREAD) }?;
        filled(&driver, dst, PER_THREAD)
    }
    cuMemsetD8Async; stream => cuMemsetD8Async_ptsz (dst: u64, value: u8, bytes: usize, stream: Stream) {
        // SAFETY: as above.
        Ok(unsafe { on_context()?.memset_d8_async(device(dst), value, bytes, StreamHandle(stream)) }?)
    }
    cuMemsetD16 | cuMemsetD16_v2(dst: u64, value: u16, words: usize) {
        // SAFETY: as above.
        unsafe { fill_16(dst, value, words, LEGACY) }?;
        filled(&on_context()?, dst, LEGACY)
    }
    cuMemsetD16_v2_ptds(dst: u64, value: u16, words: usize) {
        // SAFETY: as above.
        unsafe { fill_16(dst, value, words, PER_THREAD) }?;
        filled(&on_context()?, dst, PER_THREAD)
    }
    cuMemsetD16Async; stream => cuMemsetD16Async_ptsz (dst: u64, value: u16, words: usize, stream: Stream) {
        // SAFETY: as above.
        unsafe { fill_16(dst, value, words, StreamHandle(stream)) }
    }
    cuMemsetD32 | cuMemsetD32_v2(dst: u64, value: u32, words: usize) {
        // SAFETY: as above.
        Ok(unsafe { on_context()?.memset_d32(device(dst), value, words) }?)
    }
    cuMemsetD32_v2_ptds(dst: u64, value: u32, words: usize) {
        let driver = on_context()?;
        // SAFETY: as above.
        unsafe { driver.memset_d32_async(device(dst), value, words, PER_THREAD) }?;
        filled(&driver, dst, PER_THREAD)
    }
    cuMemsetD32Async; stream => cuMemsetD32Async_ptsz (dst: u64, value: u32, words: usize, stream: Stream) {
        // SAFETY: as above.
        Ok(unsafe { on_context()?.memset_d32_async(device(dst), value, words, StreamHandle(stream)) }?)
    }
}
