//! The one emulator of the process, made by `cuInit`, and its findings at the end.

use std::{
    env,
    ffi::{OsStr, c_int},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{PoisonError, RwLock},
};

use tinyllm_emulator::{BadSetting, Builder, Emulator};
use tinyllm_sys::{DriverApi, DriverCode};

use crate::{
    export::exports,
    result::{Answer, Refusal, is_set, put, say},
};

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

/// The setting of the version that `cuDriverGetVersion` gives.
const VERSION: &str = "TINYLLM_EMULATOR_DRIVER_VERSION";

/// The version that the environment asks for, such as 13000 for CUDA 13.0. It changes no call: programs look at it before they start.
fn version_from_env() -> Result<Option<c_int>, BadSetting> {
    env::var_os(VERSION).filter(|value| !value.is_empty()).map(|value| version(&value)).transpose()
}

fn version(value: &OsStr) -> Result<c_int, BadSetting> {
    let number = value.to_str().and_then(|value| value.parse::<c_int>().ok());
    number.filter(|version| *version >= 1000).ok_or_else(|| BadSetting {
        variable: VERSION,
        value: value.to_string_lossy().into_owned(),
        expected: "a version as the driver gives it, such as 12000 or 13000",
    })
}

fn initialize(flags: u32) -> Answer {
    if flags != 0 {
        return Err(DriverCode::InvalidValue.into());
    }
    let mut phase = PHASE.write().unwrap_or_else(PoisonError::into_inner);
    if let Phase::Before = *phase {
        *phase = match version_from_env().and_then(|_| Builder::from_env()) {
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
        emulator.close();
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
        // The one call that answers before `cuInit`, which reports a setting that cannot be read.
        let asked = version_from_env().map_err(|_| DriverCode::InvalidValue)?;
        let known = match (asked, driver()) {
            (Some(asked), _) => asked,
            (None, Ok(driver)) => driver.driver_version()?.0 as c_int,
            (None, Err(_)) => Emulator::builder().build().driver_version()?.0 as c_int,
        };
        // SAFETY: the caller gives room for one number.
        unsafe { put(version, known) }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_a_number_as_the_driver_gives_it() {
        assert_eq!(version(OsStr::new("13000")), Ok(13_000));
        for value in ["13", "13.0", "-12000", "new", "99999999999"] {
            assert_eq!(version(OsStr::new(value)).map_err(|error| error.value), Err(value.to_owned()));
        }
    }
}
