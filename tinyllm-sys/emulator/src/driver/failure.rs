//! Why a call fails.

use tinyllm_sys::DriverCode;

/// The driver's code, and a note beside the arguments.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) code: DriverCode,
    pub(super) note: String,
}

impl From<DriverCode> for Failure {
    fn from(code: DriverCode) -> Self {
        Failure { code, note: String::new() }
    }
}

impl Failure {
    pub(super) fn new(code: DriverCode, note: impl Into<String>) -> Self {
        Failure { code, note: note.into() }
    }
}
