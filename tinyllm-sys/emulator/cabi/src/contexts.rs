//! Contexts: each device's own, which the process shares, those that programs make, and every thread's stack of them.
//! A context that a program makes is a name for its device's own: what is had in one can be used in the other.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    ffi::c_int,
    mem::ManuallyDrop,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tinyllm_emulator::Emulator;
use tinyllm_sys::{ContextHandle, DeviceHandle, DriverApi, DriverCode};

use crate::{
    driver::driver,
    export::exports,
    result::{Answer, Refusal, put, put_if_wanted},
};

/// A context's handle, as programs have it.
pub(crate) type Context = u64;

/// Handles of contexts that programs make: away from those of devices' own.
const FIRST_MADE: Context = 0x10_0000;

/// What the driver calls `CUlimit` 0 to 6, as a device has them from the start.
const LIMITS: [usize; 7] = [1024, 1 << 20, 8 << 20, 2, 2048, 64, 0];

/// `CU_LIMIT_MALLOC_HEAP_SIZE`.
const MALLOC_HEAP_SIZE: usize = 2;

/// The greatest and the least priority of a stream: the device's are accepted, and change nothing.
pub(crate) const STREAM_PRIORITIES: (c_int, c_int) = (-5, 0);

#[derive(Clone, Copy, Debug)]
struct Known {
    device: DeviceHandle,
    /// That of the device, which work is done on.
    own: ContextHandle,
    flags: u32,
    limits: [usize; 7],
    made: bool,
}

#[derive(Debug)]
struct Contexts {
    /// By handle. A device's own is here once it was retained.
    known: BTreeMap<Context, Known>,
    /// How often a device's own was retained, by number.
    retained: BTreeMap<i32, (Context, u64)>,
    /// Flags that a device's own has or will have.
    flags: BTreeMap<i32, u32>,
    next: Context,
}

static CONTEXTS: Mutex<Contexts> = Mutex::new(Contexts {
    known: BTreeMap::new(),
    retained: BTreeMap::new(),
    flags: BTreeMap::new(),
    next: FIRST_MADE,
});

thread_local! {
    /// Not dropped: destructors of a program's globals free memory and unload modules on the main thread, after its thread-local
    /// values are gone. A thread that ends while contexts are on its stack leaves a few words behind.
    static STACK: ManuallyDrop<RefCell<Vec<Context>>> = const { ManuallyDrop::new(RefCell::new(Vec::new())) };
}

fn contexts() -> MutexGuard<'static, Contexts> {
    CONTEXTS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn known(context: Context) -> Result<Known, Refusal> {
    contexts().known.get(&context).copied().ok_or(DriverCode::InvalidContext.into())
}

/// Works on the calling thread's stack.
fn stack<T>(work: impl FnOnce(&mut Vec<Context>) -> T) -> Result<T, Refusal> {
    STACK.try_with(|stack| work(&mut stack.borrow_mut())).map_err(|_| DriverCode::InvalidContext.into())
}

/// Makes the top of the stack what the emulator works on.
fn settle(driver: &Emulator) -> Answer {
    if let Some(top) = stack(|stack| stack.last().copied())?
        && let Ok(context) = known(top)
    {
        // SAFETY: the context came from this driver; one that is gone is refused.
        unsafe { driver.context_set_current(context.own) }?;
    }
    Ok(())
}

/// The emulator, for a call that needs a context.
pub(crate) fn on_context() -> Result<Emulator, Refusal> {
    let driver = driver()?;
    current().map(|_| driver)
}

/// The calling thread's context, if it has one.
pub(crate) fn current_if_any() -> Result<Option<Context>, Refusal> {
    stack(|stack| stack.last().copied())
}

/// The calling thread's context.
pub(crate) fn current() -> Result<Context, Refusal> {
    let context = current_if_any()?.ok_or(DriverCode::InvalidContext)?;
    known(context)?;
    Ok(context)
}

/// The device of the calling thread's context.
pub(crate) fn current_device() -> Result<DeviceHandle, Refusal> {
    Ok(known(current()?)?.device)
}

/// The context that is reported for a device's memory: its own, if there is one.
pub(crate) fn of_device(ordinal: i32) -> Context {
    let contexts = contexts();
    let own = contexts.retained.get(&ordinal).map(|(context, _)| *context);
    own.or_else(|| {
        contexts.known.iter().find(|(_, known)| known.device.0 == ordinal).map(|(context, _)| *context)
    })
    .unwrap_or(0)
}

/// Does something while a device's context is current, whichever is.
pub(crate) fn on_device<T>(
    ordinal: u32,
    work: impl FnOnce(&Emulator) -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    let driver = driver()?;
    let own = contexts()
        .known
        .values()
        .find(|known| known.device.0.unsigned_abs() == ordinal)
        .map(|known| known.own);
    with(&driver, own.ok_or(DriverCode::InvalidContext)?, || work(&driver))
}

fn retain(device: c_int) -> Result<Context, Refusal> {
    let driver = driver()?;
    let device = DeviceHandle(device);
    let own = driver.primary_context_retain(device)?;
    let mut contexts = contexts();
    let flags = contexts.flags.get(&device.0).copied().unwrap_or(0);
    contexts.retained.entry(device.0).or_insert((own.0, 0)).1 += 1;
    contexts.known.entry(own.0).or_insert(Known { device, own, flags, limits: LIMITS, made: false });
    Ok(own.0)
}

fn release(device: c_int) -> Answer {
    let driver = driver()?;
    driver.device_total_mem(DeviceHandle(device))?;
    let mut contexts = contexts();
    let Some((context, count)) = contexts.retained.get_mut(&device) else {
        return Err(DriverCode::InvalidContext.into());
    };
    // SAFETY: it was retained as often, by the count.
    unsafe { driver.primary_context_release(DeviceHandle(device)) }?;
    *count -= 1;
    if *count == 0 {
        let context = *context;
        contexts.retained.remove(&device);
        contexts.known.remove(&context);
    }
    Ok(())
}

fn make(flags: u32, device: c_int) -> Result<Context, Refusal> {
    let driver = driver()?;
    let device = DeviceHandle(device);
    let own = driver.primary_context_retain(device)?;
    let context = {
        let mut contexts = contexts();
        contexts.next += 0x10;
        let context = contexts.next;
        contexts.known.insert(context, Known { device, own, flags, limits: LIMITS, made: true });
        context
    };
    stack(|stack| stack.push(context))?;
    settle(&driver)?;
    Ok(context)
}

fn destroy(context: Context) -> Answer {
    let driver = driver()?;
    let found = known(context)?;
    if !found.made {
        return Err(DriverCode::InvalidContext.into());
    }
    // Work after a failed kernel is not waited for.
    let _ = with(&driver, found.own, || Ok(driver.context_synchronize()?));
    contexts().known.remove(&context);
    stack(|stack| {
        if stack.last() == Some(&context) {
            stack.pop();
        }
    })?;
    // SAFETY: retained when it was made.
    unsafe { driver.primary_context_release(found.device) }?;
    settle(&driver)
}

/// Does something while another context is current.
fn with<T>(
    driver: &Emulator,
    own: ContextHandle,
    work: impl FnOnce() -> Result<T, Refusal>,
) -> Result<T, Refusal> {
    // SAFETY: the context came from this driver.
    unsafe { driver.context_set_current(own) }?;
    let done = work();
    settle(driver)?;
    done
}

fn set_current(context: Context) -> Answer {
    let driver = driver()?;
    if context == 0 {
        return stack(|stack| {
            stack.pop();
        });
    }
    known(context)?;
    stack(|stack| {
        stack.pop();
        stack.push(context);
    })?;
    settle(&driver)
}

fn limit(limit: u32) -> Result<usize, Refusal> {
    usize::try_from(limit)
        .ok()
        .filter(|limit| *limit < LIMITS.len())
        .ok_or(Refusal::Here(DriverCode::InvalidValue))
}

exports! {
    cuDevicePrimaryCtxRetain(context: *mut Context, device: c_int) {
        let own = retain(device)?;
        // SAFETY: the caller gives room for one handle.
        unsafe { put(context, own) }
    }
    cuDevicePrimaryCtxRelease | cuDevicePrimaryCtxRelease_v2(device: c_int) {
        release(device)
    }
    cuDevicePrimaryCtxGetState(device: c_int, flags: *mut u32, active: *mut c_int) {
        driver()?.device_total_mem(DeviceHandle(device))?;
        let (set, is_active) = {
            let contexts = contexts();
            (contexts.flags.get(&device).copied().unwrap_or(0), contexts.retained.contains_key(&device))
        };
        // SAFETY: the caller gives room for two numbers.
        unsafe {
            put(flags, set)?;
            put(active, c_int::from(is_active))
        }
    }
    cuDevicePrimaryCtxSetFlags | cuDevicePrimaryCtxSetFlags_v2(device: c_int, flags: u32) {
        driver()?.device_total_mem(DeviceHandle(device))?;
        contexts().flags.insert(device, flags);
        Ok(())
    }
    cuDevicePrimaryCtxReset | cuDevicePrimaryCtxReset_v2(device: c_int) {
        driver()?.device_total_mem(DeviceHandle(device))?;
        // Nothing is freed with a context here; one that is not retained is as after a reset.
        match contexts().retained.contains_key(&device) {
            true => Err(DriverCode::NotSupported.into()),
            false => Ok(()),
        }
    }
    cuCtxCreate | cuCtxCreate_v2(context: *mut Context, flags: u32, device: c_int) {
        let made = make(flags, device)?;
        // SAFETY: the caller gives room for one handle.
        unsafe { put(context, made) }
    }
    cuCtxCreate_v3(context: *mut Context, _affinity: *const u8, count: c_int, flags: u32, device: c_int) {
        if count != 0 {
            return Err(DriverCode::NotSupported.into());
        }
        let made = make(flags, device)?;
        // SAFETY: as above.
        unsafe { put(context, made) }
    }
    cuCtxCreate_v4(context: *mut Context, params: *const u8, flags: u32, device: c_int) {
        if !params.is_null() {
            return Err(DriverCode::NotSupported.into());
        }
        let made = make(flags, device)?;
        // SAFETY: as above.
        unsafe { put(context, made) }
    }
    cuCtxDestroy | cuCtxDestroy_v2(context: Context) {
        destroy(context)
    }
    cuCtxPushCurrent | cuCtxPushCurrent_v2(context: Context) {
        let driver = driver()?;
        known(context)?;
        stack(|stack| stack.push(context))?;
        settle(&driver)
    }
    cuCtxPopCurrent | cuCtxPopCurrent_v2(context: *mut Context) {
        let driver = driver()?;
        let top = stack(Vec::pop)?.ok_or(DriverCode::InvalidContext)?;
        settle(&driver)?;
        // SAFETY: the caller gives room for one handle, or null.
        unsafe { put_if_wanted(context, top) };
        Ok(())
    }
    cuCtxSetCurrent(context: Context) {
        set_current(context)
    }
    cuCtxGetCurrent(context: *mut Context) {
        driver()?;
        let top = current_if_any()?.unwrap_or(0);
        // SAFETY: the caller gives room for one handle.
        unsafe { put(context, top) }
    }
    cuCtxGetDevice(device: *mut c_int) {
        driver()?;
        let found = current_device()?;
        // SAFETY: the caller gives room for one number.
        unsafe { put(device, found.0) }
    }
    cuCtxGetDevice_v2(device: *mut c_int, context: Context) {
        driver()?;
        let context = if context == 0 { current()? } else { context };
        let found = known(context)?.device;
        // SAFETY: as above.
        unsafe { put(device, found.0) }
    }
    cuCtxGetId(context: Context, id: *mut u64) {
        driver()?;
        let context = if context == 0 { current()? } else { context };
        known(context)?;
        // SAFETY: as above.
        unsafe { put(id, context) }
    }
    cuCtxGetFlags(flags: *mut u32) {
        driver()?;
        let found = known(current()?)?.flags;
        // SAFETY: as above.
        unsafe { put(flags, found) }
    }
    cuCtxSetFlags(flags: u32) {
        let context = current()?;
        if let Some(found) = contexts().known.get_mut(&context) {
            found.flags = flags;
        }
        Ok(())
    }
    cuCtxSynchronize() {
        Ok(on_context()?.context_synchronize()?)
    }
    cuCtxSynchronize_v2(context: Context) {
        let driver = driver()?;
        let context = if context == 0 { current()? } else { context };
        let own = known(context)?.own;
        with(&driver, own, || Ok(driver.context_synchronize()?))
    }
    cuCtxGetApiVersion(context: Context, version: *mut u32) {
        driver()?;
        if context != 0 {
            known(context)?;
        }
        // SAFETY: as above.
        unsafe { put(version, 3020) }
    }
    cuCtxGetLimit(value: *mut usize, which: u32) {
        driver()?;
        let found = known(current()?)?.limits[limit(which)?];
        // SAFETY: as above.
        unsafe { put(value, found) }
    }
    cuCtxSetLimit(which: u32, value: usize) {
        driver()?;
        let (context, which) = (current()?, limit(which)?);
        if which == MALLOC_HEAP_SIZE {
            on_context()?.set_malloc_heap_bytes(value as u64)?;
        }
        if let Some(found) = contexts().known.get_mut(&context) {
            found.limits[which] = value;
        }
        Ok(())
    }
    cuCtxGetCacheConfig | cuCtxGetSharedMemConfig(config: *mut u32) {
        on_context()?;
        // SAFETY: as above.
        unsafe { put(config, 0) }
    }
    cuCtxSetCacheConfig | cuCtxSetSharedMemConfig(_config: u32) {
        // A preference, which changes nothing that can be seen.
        on_context().map(drop)
    }
    cuCtxResetPersistingL2Cache() {
        on_context().map(drop)
    }
    cuCtxGetStreamPriorityRange(least: *mut c_int, greatest: *mut c_int) {
        on_context()?;
        // SAFETY: as above; either may be null.
        unsafe {
            put_if_wanted(least, STREAM_PRIORITIES.1);
            put_if_wanted(greatest, STREAM_PRIORITIES.0);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    /// Says at the end of its thread which context is current there.
    struct AtTheEnd(Sender<Option<Context>>);

    impl Drop for AtTheEnd {
        fn drop(&mut self) {
            // Without a receiver the test has failed already.
            let _ = self.0.send(current_if_any().unwrap_or(None));
        }
    }

    thread_local! {
        static AT_THE_END: RefCell<Option<AtTheEnd>> = const { RefCell::new(None) };
    }

    #[test]
    fn a_threads_context_outlasts_its_thread_local_values() {
        let (sender, receiver) = channel();
        let thread = std::thread::spawn(move || {
            // Made first, so dropped last.
            AT_THE_END.with(|last| last.replace(Some(AtTheEnd(sender))));
            stack(|stack| stack.push(FIRST_MADE)).is_ok()
        });
        assert!(matches!(thread.join(), Ok(true)));
        assert_eq!(receiver.recv(), Ok(Some(FIRST_MADE)));
    }
}
