//! The one emulator of the process, made by `cuInit`; its findings at the end; and how calls return.

use std::{
    env,
    ffi::c_int,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{PoisonError, RwLock},
};

use tinyllm_emulator::{Builder, Emulator};
use tinyllm_sys::{DriverApi, DriverCode, DriverError};

use crate::export::exports;

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

#[derive(Debug)]
enum Phase {
    Before,
    Ready(Emulator),
    /// A setting of the environment that cannot be read.
    Unusable,
    After,
}

static PHASE: RwLock<Phase> = RwLock::new(Phase::Before);

/// The emulator.
pub(crate) fn driver() -> Result<Emulator, Refusal> {
    match &*PHASE.read().unwrap_or_else(PoisonError::into_inner) {
        Phase::Ready(emulator) => Ok(emulator.clone()),
        Phase::Before | Phase::Unusable => Err(DriverCode::NotInitialized.into()),
        Phase::After => Err(DriverCode::Deinitialized.into()),
    }
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

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

fn initialize(flags: u32) -> Answer {
    if flags != 0 {
        return Err(DriverCode::InvalidValue.into());
    }
    let mut phase = PHASE.write().unwrap_or_else(PoisonError::into_inner);
    if let Phase::Before = *phase {
        *phase = match Builder::from_env() {
            Ok(builder) => Phase::Ready(builder.build()),
            Err(error) => {
                say(format_args!("{error}"));
                Phase::Unusable
            }
        };
    }
    match &*phase {
        Phase::Ready(emulator) if emulator.device_count()? == 0 => Err(DriverCode::NoDevice.into()),
        Phase::Ready(_) => Ok(()),
        Phase::Before | Phase::Unusable => Err(DriverCode::InvalidValue.into()),
        Phase::After => Err(DriverCode::Deinitialized.into()),
    }
}

/// Runs queued work and writes the findings: to the report where one is asked for, else to standard error.
extern "C" fn finish() {
    let last = || {
        let mut phase = PHASE.write().unwrap_or_else(PoisonError::into_inner);
        let Phase::Ready(emulator) = std::mem::replace(&mut *phase, Phase::After) else { return };
        drop(phase);
        if !is_set("TINYLLM_EMULATOR_REPORT") {
            emulator.finish().iter().for_each(|finding| say(format_args!("{finding}")));
        }
        // The last clone of it goes, and with it the report is written.
        drop(emulator);
    };
    // Whatever happens here, the program ends with its own status.
    let _ = catch_unwind(AssertUnwindSafe(last));
}

/// Runs when the library is unloaded: after the program's own destructors, which may still free memory.
#[used]
// SAFETY: the section holds addresses of functions without arguments that are called once.
#[unsafe(link_section = ".fini_array")]
static AT_THE_END: extern "C" fn() = finish;

exports! {
    cuInit(flags: u32) {
        initialize(flags)
    }
    cuDriverGetVersion(version: *mut c_int) {
        // The one call that answers before `cuInit`.
        let known = match driver() {
            Ok(driver) => driver.driver_version()?,
            Err(_) => Emulator::builder().build().driver_version()?,
        };
        // SAFETY: the caller gives room for one number.
        unsafe { put(version, known.0 as c_int) }
    }
    cuProfilerInitialize(_config: *const u8, _output: *const u8, _mode: u32) {
        driver().map(drop)
    }
    cuProfilerStart() {
        driver().map(drop)
    }
    cuProfilerStop() {
        driver().map(drop)
    }
}
