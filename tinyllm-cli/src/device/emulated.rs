//! The emulated driver of this process, whose findings are told when the program ends.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, bail};
use tinyllm_emulator::{Builder, Emulator};
use tinyllm_mem::Context;

use super::DeviceChoice;
use crate::output;

/// The driver, where one was built.
static DRIVER: OnceLock<Mutex<Option<Emulator>>> = OnceLock::new();

/// Builds the driver with the devices that are wanted; they have the same memory.
///
/// # Errors
/// A setting in the environment that is none; devices of different memories.
pub(super) fn build(wanted: &[DeviceChoice]) -> anyhow::Result<Emulator> {
    let mut builder = Builder::from_env().context("--device emulated")?;
    let (mut devices, mut memory) = (1, None);
    for choice in wanted {
        let DeviceChoice::Emulated { ordinal, memory_bytes } = choice else { continue };
        devices = devices.max(ordinal + 1);
        match (memory, memory_bytes) {
            (Some(one), Some(other)) if one != *other => {
                bail!(
                    "--device: emulated devices have the same memory, so only one of these sizes can be given"
                );
            }
            (None, Some(_)) => memory = *memory_bytes,
            _ => {}
        }
    }
    if let Some(bytes) = memory {
        builder = builder.memory(bytes);
    }
    let driver = builder.devices(devices as usize).build();
    let known = DRIVER.get_or_init(Mutex::default);
    *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(driver.clone());
    Ok(driver)
}

/// A context on one of its devices.
///
/// # Errors
/// The driver's.
pub(super) fn context(driver: &Emulator, ordinal: u32) -> anyhow::Result<Context> {
    Ok(Context::primary(Arc::new(driver.clone()), ordinal)?)
}

/// Says what the driver found, and writes the report that the environment asks for; whether it found anything.
pub(crate) fn close() -> bool {
    let Some(known) = DRIVER.get() else { return false };
    let Some(driver) = known.lock().unwrap_or_else(PoisonError::into_inner).take() else { return false };
    let findings = driver.findings();
    for finding in &findings {
        output::note(&format!("emulated device: {finding}"));
    }
    driver.close();
    !findings.is_empty()
}
