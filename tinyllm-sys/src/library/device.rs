//! What a device is called.

use std::ffi::c_int;

use super::LibCuda;
use crate::{DeviceHandle, DriverError};

/// Room for a device's name.
const NAME_BYTES: usize = 256;

impl LibCuda {
    /// The name of a device's kind.
    pub(super) fn name_of(&self, device: DeviceHandle) -> Result<String, DriverError> {
        let mut name = [0u8; NAME_BYTES];
        // SAFETY: writes at most so many bytes, the last of them 0.
        let code = unsafe {
            (self.symbols.device_get_name)(name.as_mut_ptr().cast(), NAME_BYTES as c_int, device.0)
        };
        self.check("cuDeviceGetName", code, device)?;
        let end = name.iter().position(|byte| *byte == 0).unwrap_or(NAME_BYTES);
        Ok(String::from_utf8_lossy(&name[..end]).into_owned())
    }
}
