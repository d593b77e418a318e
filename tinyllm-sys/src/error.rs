//! The error that each call of the driver returns.

use std::fmt;

use crate::DriverCode;

/// A call that failed, with the driver's name for why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriverError {
    /// The call, as the driver's documentation names it.
    pub call: &'static str,
    /// `CUresult`.
    pub code: u32,
    /// Its name, such as `CUDA_ERROR_OUT_OF_MEMORY`.
    pub name: &'static str,
    /// The arguments that matter.
    pub arguments: String,
}

impl DriverError {
    /// `CUDA_ERROR_OUT_OF_MEMORY`.
    pub const OUT_OF_MEMORY: u32 = DriverCode::OutOfMemory.number();

    /// An error of a driver that answers calls itself.
    pub fn new(call: &'static str, code: DriverCode, arguments: impl Into<String>) -> Self {
        DriverError { call, code: code.number(), name: code.name(), arguments: arguments.into() }
    }

    /// Its code, if it is one that this crate lists.
    pub fn driver_code(&self) -> Option<DriverCode> {
        DriverCode::from_number(self.code)
    }

    /// Whether there was not enough memory.
    pub fn is_out_of_memory(&self) -> bool {
        self.code == Self::OUT_OF_MEMORY
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}({}): {} ({})", self.call, self.arguments, self.name, self.code)
    }
}

impl std::error::Error for DriverError {}
