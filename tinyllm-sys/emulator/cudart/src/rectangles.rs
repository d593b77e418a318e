//! Copies and fills of rectangles: rows that lie a pitch apart. The driver need not have calls for them; a row is a copy of its own.

use std::ffi::c_int;

use crate::{
    contexts::on_device,
    copies::{Direction, When, check, move_bytes},
    export::exports,
    fills::fill_bytes,
    outcome::{Answer, Error},
    streams::Stream,
};

/// How wide rows are in bytes, and how many.
#[derive(Clone, Copy, Debug)]
struct Size {
    width: usize,
    height: usize,
}

impl Size {
    /// One row, where rows follow each other without a gap on every side.
    fn joined(self, pitches: &[usize]) -> Result<Self, Error> {
        if self.height > 1 && pitches.iter().any(|pitch| *pitch < self.width) {
            return Err(Error::INVALID_PITCH);
        }
        if pitches.iter().all(|pitch| *pitch == self.width) {
            let width = self.width.checked_mul(self.height).ok_or(Error::INVALID_VALUE)?;
            return Ok(Size { width, height: width.min(1) });
        }
        Ok(self)
    }
}

/// Where a row begins.
fn row(start: u64, pitch: usize, index: usize) -> Result<u64, Error> {
    let offset = (pitch as u64).checked_mul(index as u64).ok_or(Error::INVALID_VALUE)?;
    start.checked_add(offset).ok_or(Error::INVALID_VALUE)
}

/// # Safety
/// Memory of the host can be read or written as long as the copy lasts.
unsafe fn copy(to: (u64, usize), from: (u64, usize), size: Size, kind: u32, when: When) -> Answer {
    let driver = on_device()?;
    let direction = Direction::from_number(kind)?;
    let size = size.joined(&[to.1, from.1])?;
    if size.width == 0 || size.height == 0 {
        return Ok(());
    }
    check(driver, to.0, from.0, direction)?;
    for index in 0..size.height {
        let (dst, src) = (row(to.0, to.1, index)?, row(from.0, from.1, index)?);
        // SAFETY: the caller's promise, of which this is a part.
        unsafe { move_bytes(driver, dst, src, size.width, direction, when) }?;
    }
    Ok(())
}

fn fill(dst: u64, pitch: usize, value: c_int, size: Size, when: When) -> Answer {
    let driver = on_device()?;
    let size = size.joined(&[pitch])?;
    if size.width == 0 {
        return Ok(());
    }
    (0..size.height)
        .try_for_each(|index| fill_bytes(driver, row(dst, pitch, index)?, value, size.width, when))
}

exports! {
    cudaMemcpy2D(
        dst: u64,
        dst_pitch: usize,
        src: u64,
        src_pitch: usize,
        width: usize,
        height: usize,
        kind: u32
    ) {
        // SAFETY: the caller gives so many rows on both sides.
        unsafe { copy((dst, dst_pitch), (src, src_pitch), Size { width, height }, kind, When::AtReturn) }
    }
    cudaMemcpy2D_ptds(
        dst: u64,
        dst_pitch: usize,
        src: u64,
        src_pitch: usize,
        width: usize,
        height: usize,
        kind: u32
    ) {
        // SAFETY: as above.
        unsafe { copy((dst, dst_pitch), (src, src_pitch), Size { width, height }, kind, When::AtReturnOfThread) }
    }
    cudaMemcpy2DAsync; stream => cudaMemcpy2DAsync_ptsz (
        dst: u64,
        dst_pitch: usize,
        src: u64,
        src_pitch: usize,
        width: usize,
        height: usize,
        kind: u32,
        stream: Stream
    ) {
        // SAFETY: as above, as long as the copy lasts.
        unsafe { copy((dst, dst_pitch), (src, src_pitch), Size { width, height }, kind, When::On(stream)) }
    }
    cudaMemset2D(dst: u64, pitch: usize, value: c_int, width: usize, height: usize) {
        fill(dst, pitch, value, Size { width, height }, When::AtReturn)
    }
    cudaMemset2D_ptds(dst: u64, pitch: usize, value: c_int, width: usize, height: usize) {
        fill(dst, pitch, value, Size { width, height }, When::AtReturnOfThread)
    }
    cudaMemset2DAsync; stream => cudaMemset2DAsync_ptsz (
        dst: u64,
        pitch: usize,
        value: c_int,
        width: usize,
        height: usize,
        stream: Stream
    ) {
        fill(dst, pitch, value, Size { width, height }, When::On(stream))
    }
}
