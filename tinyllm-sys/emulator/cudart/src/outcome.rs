//! How calls return: an error as a number, which the calling thread can ask for again.

use std::{
    cell::Cell,
    env,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// A `cudaError_t` other than success. The driver's errors have the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Error(pub(crate) u32);

impl Error {
    pub(crate) const INVALID_VALUE: Self = Error(1);
    pub(crate) const INVALID_CONFIGURATION: Self = Error(9);
    pub(crate) const INVALID_PITCH: Self = Error(12);
    pub(crate) const INVALID_SYMBOL: Self = Error(13);
    pub(crate) const INVALID_COPY_DIRECTION: Self = Error(21);
    pub(crate) const INSUFFICIENT_DRIVER: Self = Error(35);
    pub(crate) const NEWER_DRIVER_NEEDED: Self = Error(36);
    pub(crate) const MISSING_CONFIGURATION: Self = Error(52);
    pub(crate) const INVALID_DEVICE_FUNCTION: Self = Error(98);
    pub(crate) const INVALID_DEVICE: Self = Error(101);
    pub(crate) const INVALID_KERNEL_IMAGE: Self = Error(200);
    pub(crate) const NO_KERNEL_IMAGE: Self = Error(209);
    pub(crate) const SYMBOL_NOT_FOUND: Self = Error(500);
    pub(crate) const NOT_READY: Self = Error(600);
    pub(crate) const NOT_SUPPORTED: Self = Error(801);
    pub(crate) const UNKNOWN: Self = Error(999);
}

/// What a call's body gives.
pub(crate) type Answer = Result<(), Error>;

thread_local! {
    static LAST: Cell<u32> = const { Cell::new(0) };
}

/// The number of the calling thread's last error. A thread that ends has none.
pub(crate) fn last() -> u32 {
    LAST.try_with(Cell::get).unwrap_or(0)
}

/// As [`last`], which is none afterwards.
pub(crate) fn take_last() -> u32 {
    LAST.try_with(|last| last.replace(0)).unwrap_or(0)
}

/// Prints a line, in one piece. A program that closed its standard error does not want to read it.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    let _ = std::io::stderr().lock().write_all(format!("tinyllm-emulator: {line}\n").as_bytes());
}

/// Runs a call's body and gives its number.
pub(crate) fn answer(call: &str, body: impl FnOnce() -> Answer) -> u32 {
    let error = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return 0,
        Ok(Err(error)) => error,
        Err(_) => Error::UNKNOWN,
    };
    // That work is still under way is an answer, and no error.
    if error != Error::NOT_READY {
        let _ = LAST.try_with(|last| last.set(error.0));
        if env::var_os("TINYLLM_EMULATOR_ERRORS").is_some_and(|value| !value.is_empty()) {
            let name = crate::errors::name(error.0).to_string_lossy();
            say(format_args!("{call}: {name} ({})", error.0));
        }
    }
    error.0
}

/// Writes what a call gives.
///
/// # Safety
/// `out` is null or can be written.
///
/// # Errors
/// `INVALID_VALUE` where it is null.
pub(crate) unsafe fn put<T>(out: *mut T, value: T) -> Answer {
    if out.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    // SAFETY: the caller's promise. Programs owe no alignment to values in buffers of theirs.
    unsafe { out.write_unaligned(value) };
    Ok(())
}

/// As [`put`], where the caller may pass no place for it.
///
/// # Safety
/// As [`put`].
pub(crate) unsafe fn put_if_wanted<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: the caller's promise.
        unsafe { out.write_unaligned(value) };
    }
}

/// A place that the driver writes to.
///
/// # Errors
/// `INVALID_VALUE` where it is null.
pub(crate) fn place<T>(out: *mut T) -> Result<*mut T, Error> {
    if out.is_null() { Err(Error::INVALID_VALUE) } else { Ok(out) }
}
