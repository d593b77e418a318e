//! Variables of the program's kernels: where they are, and copies to and from them.

use crate::{
    binaries::variable,
    copies::{Direction, When, copy},
    export::exports,
    outcome::{Answer, Error, put},
    streams::Stream,
};

/// Where bytes of a variable are.
fn part(symbol: usize, offset: usize, bytes: usize) -> Result<u64, Error> {
    let (_, start, size) = variable(symbol)?;
    match offset.checked_add(bytes) {
        Some(end) if end <= size => Ok(start + offset as u64),
        _ => Err(Error::INVALID_VALUE),
    }
}

/// # Safety
/// As [`copy`].
unsafe fn copy_to(symbol: usize, src: u64, bytes: usize, offset: usize, kind: u32, when: When) -> Answer {
    let direction = Direction::from_number(kind)?;
    if !matches!(direction, Direction::HostToDevice | Direction::DeviceToDevice | Direction::Any) {
        return Err(Error::INVALID_COPY_DIRECTION);
    }
    // SAFETY: the caller's promise.
    unsafe { copy(part(symbol, offset, bytes)?, src, bytes, kind, when) }
}

/// # Safety
/// As [`copy`].
unsafe fn copy_from(dst: u64, symbol: usize, bytes: usize, offset: usize, kind: u32, when: When) -> Answer {
    let direction = Direction::from_number(kind)?;
    if !matches!(direction, Direction::DeviceToHost | Direction::DeviceToDevice | Direction::Any) {
        return Err(Error::INVALID_COPY_DIRECTION);
    }
    // SAFETY: the caller's promise.
    unsafe { copy(dst, part(symbol, offset, bytes)?, bytes, kind, when) }
}

exports! {
    cudaGetSymbolAddress(address: *mut u64, symbol: usize) {
        let (_, start, _) = variable(symbol)?;
        // SAFETY: the caller gives room for one address.
        unsafe { put(address, start) }
    }
    cudaGetSymbolSize(bytes: *mut usize, symbol: usize) {
        let (_, _, size) = variable(symbol)?;
        // SAFETY: the caller gives room for one size.
        unsafe { put(bytes, size) }
    }
    cudaMemcpyToSymbol(symbol: usize, src: u64, bytes: usize, offset: usize, kind: u32) {
        // SAFETY: the caller gives so many bytes.
        unsafe { copy_to(symbol, src, bytes, offset, kind, When::AtReturn) }
    }
    cudaMemcpyToSymbol_ptds(symbol: usize, src: u64, bytes: usize, offset: usize, kind: u32) {
        // SAFETY: as above.
        unsafe { copy_to(symbol, src, bytes, offset, kind, When::AtReturnOfThread) }
    }
    cudaMemcpyToSymbolAsync; stream => cudaMemcpyToSymbolAsync_ptsz (
        symbol: usize,
        src: u64,
        bytes: usize,
        offset: usize,
        kind: u32,
        stream: Stream
    ) {
        // SAFETY: as above, as long as the copy lasts.
        unsafe { copy_to(symbol, src, bytes, offset, kind, When::On(stream)) }
    }
    cudaMemcpyFromSymbol(dst: u64, symbol: usize, bytes: usize, offset: usize, kind: u32) {
        // SAFETY: the caller gives so many bytes.
        unsafe { copy_from(dst, symbol, bytes, offset, kind, When::AtReturn) }
    }
    cudaMemcpyFromSymbol_ptds(dst: u64, symbol: usize, bytes: usize, offset: usize, kind: u32) {
        // SAFETY: as above.
        unsafe { copy_from(dst, symbol, bytes, offset, kind, When::AtReturnOfThread) }
    }
    cudaMemcpyFromSymbolAsync; stream => cudaMemcpyFromSymbolAsync_ptsz (
        dst: u64,
        symbol: usize,
        bytes: usize,
        offset: usize,
        kind: u32,
        stream: Stream
    ) {
        // SAFETY: as above, as long as the copy lasts.
        unsafe { copy_from(dst, symbol, bytes, offset, kind, When::On(stream)) }
    }
}
