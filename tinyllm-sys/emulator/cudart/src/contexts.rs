//! Which context calls work on: the thread's own where it made one current with the driver's calls, else that of its device.

use std::{
    cell::Cell,
    collections::BTreeMap,
    ffi::c_int,
    sync::{Mutex, PoisonError},
};

use crate::{
    driver::{Driver, driver},
    outcome::Error,
};

thread_local! {
    /// The device that the thread chose.
    static DEVICE: Cell<c_int> = const { Cell::new(0) };
}

/// Devices' own contexts that were retained, once each, for good.
static RETAINED: Mutex<BTreeMap<c_int, u64>> = Mutex::new(BTreeMap::new());

/// A device's own context.
///
/// # Errors
/// `INVALID_DEVICE` where there is no such device, and what the driver refuses.
pub(crate) fn of_device(driver: &Driver, device: c_int) -> Result<u64, Error> {
    let mut count = 0;
    // SAFETY: writes one number.
    unsafe { driver.device_get_count(&raw mut count) }?;
    if !(0..count).contains(&device) {
        return Err(Error::INVALID_DEVICE);
    }
    let mut retained = RETAINED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(context) = retained.get(&device) {
        return Ok(*context);
    }
    let mut context = 0;
    // SAFETY: writes one handle; numbers of devices are their handles.
    unsafe { driver.primary_ctx_retain(&raw mut context, device) }?;
    retained.insert(device, context);
    Ok(context)
}

/// The calling thread's context, if one is current.
fn current(driver: &Driver) -> Result<u64, Error> {
    let mut context = 0;
    // SAFETY: writes one handle.
    unsafe { driver.ctx_get_current(&raw mut context) }?;
    Ok(context)
}

/// The driver, and the context that is current on the calling thread from here on.
pub(crate) fn on_context() -> Result<(&'static Driver, u64), Error> {
    let driver = driver()?;
    let context = current(driver)?;
    if context != 0 {
        return Ok((driver, context));
    }
    let context = of_device(driver, DEVICE.try_with(Cell::get).unwrap_or(0))?;
    // SAFETY: a context of this driver, retained for good.
    unsafe { driver.ctx_set_current(context) }?;
    Ok((driver, context))
}

/// The driver, for a call that needs a context.
pub(crate) fn on_device() -> Result<&'static Driver, Error> {
    on_context().map(|(driver, _)| driver)
}

/// Makes a device the calling thread's.
pub(crate) fn choose(device: c_int) -> Result<(), Error> {
    let driver = driver()?;
    let context = of_device(driver, device)?;
    let _ = DEVICE.try_with(|chosen| chosen.set(device));
    // SAFETY: a context of this driver, retained for good.
    unsafe { driver.ctx_set_current(context) }
}

/// The calling thread's device.
pub(crate) fn device() -> Result<c_int, Error> {
    let driver = driver()?;
    if current(driver)? == 0 {
        return Ok(DEVICE.try_with(Cell::get).unwrap_or(0));
    }
    let mut device = 0;
    // SAFETY: writes one number.
    unsafe { driver.ctx_get_device(&raw mut device) }?;
    Ok(device)
}

/// Does something while a context is current, whichever is.
pub(crate) fn within<T>(
    driver: &Driver,
    context: u64,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<T, Error> {
    // SAFETY: a context of this driver; where it is gone the driver refuses it.
    unsafe { driver.ctx_push_current(context) }?;
    let done = work();
    let mut popped = 0;
    // SAFETY: writes one handle; what was pushed is still there.
    unsafe { driver.ctx_pop_current(&raw mut popped) }?;
    done
}
