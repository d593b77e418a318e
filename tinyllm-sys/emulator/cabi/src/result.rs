//! How calls return: a refusal as its `CUresult`, what a call gives at the places that its caller names.

use std::{
    env,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
};

use tinyllm_sys::{DriverCode, DriverError};

/// Why a call is refused.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// An error of the emulator.
    Driver(DriverError),
    /// An error of this interface.
    Here(DriverCode),
    /// As before, with a number that has no name in the table.
    Number(u32),
}

impl From<DriverError> for Refusal {
    fn from(error: DriverError) -> Self {
        Refusal::Driver(error)
    }
}

impl From<DriverCode> for Refusal {
    fn from(code: DriverCode) -> Self {
        Refusal::Here(code)
    }
}

impl Refusal {
    pub(crate) fn number(&self) -> u32 {
        match self {
            Refusal::Driver(error) => error.code,
            Refusal::Here(code) => code.number(),
            Refusal::Number(number) => *number,
        }
    }
}

/// What a call's body gives.
pub(crate) type Answer = Result<(), Refusal>;

/// Whether a variable of the environment has a value.
pub(crate) fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// Writes a line to standard error.
pub(crate) fn say(line: std::fmt::Arguments<'_>) {
    // In one piece, so that nothing else comes between. A program that closed its standard error does not want to read it.
    let _ = std::io::stderr().lock().write_all(format!("tinyllm-emulator: {line}\n").as_bytes());
}

/// Whether a refusal is the answer that a program asked for, and no error of it.
fn is_a_question(call: &str, refusal: &Refusal) -> bool {
    refusal.number() == DriverCode::NotReady.number() || call.starts_with("cuGetProcAddress")
}

/// Runs a call's body and gives its number.
pub(crate) fn answer(call: &str, body: impl FnOnce() -> Answer) -> u32 {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => 0,
        Ok(Err(refusal)) => {
            if is_set("TINYLLM_EMULATOR_ERRORS") && !is_a_question(call, &refusal) {
                match &refusal {
                    Refusal::Driver(error) => say(format_args!("{error}")),
                    Refusal::Here(code) => say(format_args!("{call}: {} ({})", code.name(), code.number())),
                    Refusal::Number(number) => say(format_args!("{call}: {number}")),
                }
            }
            refusal.number()
        }
        Err(_) => DriverCode::Unknown.number(),
    }
}

/// Writes what a call gives.
///
/// # Safety
/// `out` is null or can be written.
///
/// # Errors
/// `InvalidValue` where it is null.
pub(crate) unsafe fn put<T>(out: *mut T, value: T) -> Answer {
    if out.is_null() {
        return Err(DriverCode::InvalidValue.into());
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
