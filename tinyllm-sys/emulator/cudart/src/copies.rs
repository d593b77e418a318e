//! Copies of bytes in a row.

use crate::{
    contexts::on_device,
    driver::Driver,
    export::exports,
    memory::is_on_device,
    outcome::{Answer, Error},
    streams::{PER_THREAD, Stream},
};

/// When a copy or a fill is done.
#[derive(Clone, Copy, Debug)]
pub(crate) enum When {
    /// At the return, after what the legacy default stream waits for.
    AtReturn,
    /// At the return, after the thread's default stream.
    AtReturnOfThread,
    /// When its turn in a stream came.
    On(Stream),
}

/// `cudaMemcpyKind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    HostToHost,
    HostToDevice,
    DeviceToHost,
    DeviceToDevice,
    /// As the addresses are.
    Any,
}

impl Direction {
    /// # Errors
    /// `INVALID_COPY_DIRECTION` for a number that is none.
    pub(crate) fn from_number(number: u32) -> Result<Self, Error> {
        Ok(match number {
            0 => Direction::HostToHost,
            1 => Direction::HostToDevice,
            2 => Direction::DeviceToHost,
            3 => Direction::DeviceToDevice,
            4 => Direction::Any,
            _ => return Err(Error::INVALID_COPY_DIRECTION),
        })
    }

    /// The sides that are the host's: destination, source.
    fn of_host(self) -> [bool; 2] {
        match self {
            Direction::HostToHost => [true, true],
            Direction::HostToDevice => [false, true],
            Direction::DeviceToHost => [true, false],
            Direction::DeviceToDevice | Direction::Any => [false, false],
        }
    }
}

/// Refuses what would be read or written as the host's memory and is known not to be.
pub(crate) fn check(driver: &Driver, dst: u64, src: u64, direction: Direction) -> Answer {
    let sides = direction.of_host().into_iter().zip([dst, src]);
    for (_, address) in sides.filter(|(of_host, _)| *of_host) {
        if address == 0 || is_on_device(driver, address) {
            return Err(Error::INVALID_VALUE);
        }
    }
    // Null is nowhere; the driver knows which addresses of a device are.
    if dst == 0 || src == 0 { Err(Error::INVALID_VALUE) } else { Ok(()) }
}

/// Copies bytes, after [`check`].
///
/// # Safety
/// Memory of the host can be read or written as long as the copy lasts.
pub(crate) unsafe fn move_bytes(
    driver: &Driver,
    dst: u64,
    src: u64,
    bytes: usize,
    direction: Direction,
    when: When,
) -> Answer {
    let stream = match when {
        When::On(stream) => stream,
        When::AtReturnOfThread => PER_THREAD,
        When::AtReturn => {
            // SAFETY: the caller's promise; what is no memory of a device the driver refuses.
            return unsafe {
                match direction {
                    Direction::HostToDevice => driver.memcpy_htod(dst, src, bytes),
                    Direction::DeviceToHost => driver.memcpy_dtoh(dst, src, bytes),
                    Direction::DeviceToDevice => driver.memcpy_dtod(dst, src, bytes),
                    Direction::HostToHost | Direction::Any => driver.memcpy(dst, src, bytes),
                }
            };
        }
    };
    // SAFETY: as above.
    unsafe {
        match direction {
            Direction::HostToDevice => driver.memcpy_htod_async(dst, src, bytes, stream),
            Direction::DeviceToHost => driver.memcpy_dtoh_async(dst, src, bytes, stream),
            Direction::DeviceToDevice => driver.memcpy_dtod_async(dst, src, bytes, stream),
            Direction::HostToHost | Direction::Any => driver.memcpy_async(dst, src, bytes, stream),
        }
    }?;
    // Between two places of a device nobody of the host's sees when it is done.
    if matches!(when, When::AtReturnOfThread) && direction != Direction::DeviceToDevice {
        // SAFETY: a default stream.
        return unsafe { driver.stream_synchronize(stream) };
    }
    Ok(())
}

/// # Safety
/// As [`move_bytes`].
pub(crate) unsafe fn copy(dst: u64, src: u64, bytes: usize, kind: u32, when: When) -> Answer {
    let driver = on_device()?;
    let direction = Direction::from_number(kind)?;
    if bytes == 0 {
        return Ok(());
    }
    check(driver, dst, src, direction)?;
    // SAFETY: the caller's promise.
    unsafe { move_bytes(driver, dst, src, bytes, direction, when) }
}

exports! {
    cudaMemcpy(dst: u64, src: u64, bytes: usize, kind: u32) {
        // SAFETY: the caller gives so many bytes on both sides.
        unsafe { copy(dst, src, bytes, kind, When::AtReturn) }
    }
    cudaMemcpy_ptds(dst: u64, src: u64, bytes: usize, kind: u32) {
        // SAFETY: as above.
        unsafe { copy(dst, src, bytes, kind, When::AtReturnOfThread) }
    }
    cudaMemcpyAsync; stream => cudaMemcpyAsync_ptsz (
        dst: u64,
        src: u64,
        bytes: usize,
        kind: u32,
        stream: Stream
    ) {
        // SAFETY: as above, as long as the copy lasts.
        unsafe { copy(dst, src, bytes, kind, When::On(stream)) }
    }
}
