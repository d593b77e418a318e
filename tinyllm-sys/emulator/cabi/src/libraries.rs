//! Libraries: modules that belong to no context. One is loaded on a device when something of it is used there.

use std::{
    collections::BTreeMap,
    ffi::{CStr, CString, c_char, c_int, c_void},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tinyllm_sys::{DriverApi, DriverCode, FunctionAttribute, FunctionHandle, ModuleHandle};

use crate::{
    contexts::{current_device, current_if_any, on_context},
    driver::driver,
    export::exports,
    modules::{self, Options},
    result::{Answer, Refusal, put, put_if_wanted},
};

/// Handles of libraries and kernels: odd, so that they are nothing of the emulator's.
const FIRST: u64 = 0x20_0001;

#[derive(Debug)]
struct Library {
    image: CString,
    /// By device.
    modules: BTreeMap<i32, ModuleHandle>,
}

#[derive(Clone, Debug)]
struct Kernel {
    library: u64,
    name: CString,
}

#[derive(Debug)]
struct Libraries {
    libraries: BTreeMap<u64, Library>,
    kernels: BTreeMap<u64, Kernel>,
    next: u64,
}

static LIBRARIES: Mutex<Libraries> =
    Mutex::new(Libraries { libraries: BTreeMap::new(), kernels: BTreeMap::new(), next: FIRST });

fn libraries() -> MutexGuard<'static, Libraries> {
    LIBRARIES.lock().unwrap_or_else(PoisonError::into_inner)
}

/// # Safety
/// As [`modules::load`].
unsafe fn load(image: CString, options: Options) -> Result<u64, Refusal> {
    driver()?;
    let mut modules = BTreeMap::new();
    if current_if_any()?.is_some() {
        // SAFETY: the caller's promise.
        modules.insert(current_device()?.0, unsafe { modules::load(&image, options) }?);
    }
    let mut libraries = libraries();
    libraries.next += 0x10;
    let handle = libraries.next;
    libraries.libraries.insert(handle, Library { image, modules });
    Ok(handle)
}

/// A library's module on the current context's device.
fn module(library: u64) -> Result<ModuleHandle, Refusal> {
    let device = current_device()?.0;
    let mut libraries = libraries();
    let found = libraries.libraries.get_mut(&library).ok_or(DriverCode::InvalidHandle)?;
    if let Some(module) = found.modules.get(&device) {
        return Ok(*module);
    }
    // SAFETY: no options.
    let module = unsafe { modules::load(&found.image, Options::NONE) }?;
    found.modules.insert(device, module);
    Ok(module)
}

fn kernel(library: u64, name: &CStr) -> Result<u64, Refusal> {
    if current_if_any()?.is_some() {
        // SAFETY: the module is the library's.
        unsafe { modules::kernel(module(library)?, name) }?;
    }
    let mut libraries = libraries();
    if !libraries.libraries.contains_key(&library) {
        return Err(DriverCode::InvalidHandle.into());
    }
    let known = |kernel: &Kernel| kernel.library == library && kernel.name.as_c_str() == name;
    if let Some((handle, _)) = libraries.kernels.iter().find(|(_, kernel)| known(kernel)) {
        return Ok(*handle);
    }
    libraries.next += 0x10;
    let handle = libraries.next;
    libraries.kernels.insert(handle, Kernel { library, name: name.to_owned() });
    Ok(handle)
}

fn known_kernel(handle: u64) -> Option<Kernel> {
    libraries().kernels.get(&handle).cloned()
}

/// The function that a handle means on the current context: itself, or a library's kernel there.
pub(crate) fn function(handle: u64) -> Result<FunctionHandle, Refusal> {
    match known_kernel(handle) {
        None => Ok(FunctionHandle(handle)),
        // SAFETY: the module is the library's.
        Some(kernel) => unsafe { modules::kernel(module(kernel.library)?, &kernel.name) },
    }
}

/// The function of a kernel on a device, which has to be the current one.
fn function_on(kernel: u64, device: c_int) -> Result<FunctionHandle, Refusal> {
    if current_device()?.0 != device {
        return Err(DriverCode::NotSupported.into());
    }
    function(kernel)
}

/// Where a parameter is, of a function or of a library's kernel.
///
/// # Safety
/// Both places are null or have room.
pub(crate) unsafe fn param_info(handle: u64, index: usize, offset: *mut usize, bytes: *mut usize) -> Answer {
    let params = on_context()?.function_params(function(handle)?)?;
    let (at, size) = params.get(index).copied().ok_or(DriverCode::InvalidValue)?;
    // SAFETY: the caller's promise.
    unsafe {
        put(offset, at as usize)?;
        put_if_wanted(bytes, size as usize);
    }
    Ok(())
}

fn unload(library: u64) -> Answer {
    let driver = driver()?;
    let found = {
        let mut libraries = libraries();
        libraries.kernels.retain(|_, kernel| kernel.library != library);
        libraries.libraries.remove(&library).ok_or(DriverCode::InvalidHandle)?
    };
    for module in found.modules.into_values() {
        // SAFETY: the module is the library's, and has no other owner.
        unsafe { driver.module_unload(module) }?;
    }
    Ok(())
}

exports! {
    cuLibraryLoadData(
        library: *mut u64,
        image: *const c_void,
        names: *mut u32,
        values: *mut *mut c_void,
        count: u32,
        _library_names: *mut u32,
        _library_values: *mut *mut c_void,
        _library_count: u32
    ) {
        // SAFETY: the caller gives an image, and as many options as it counts.
        let loaded = unsafe { load(modules::text(image)?.to_owned(), Options::new(count, names, values)) }?;
        // SAFETY: the caller gives room for one handle.
        unsafe { put(library, loaded) }
    }
    cuLibraryLoadFromFile(
        library: *mut u64,
        path: *const c_char,
        names: *mut u32,
        values: *mut *mut c_void,
        count: u32,
        _library_names: *mut u32,
        _library_values: *mut *mut c_void,
        _library_count: u32
    ) {
        // SAFETY: the caller gives a terminated path, and as many options as it counts.
        let loaded = unsafe { load(modules::file(path)?, Options::new(count, names, values)) }?;
        // SAFETY: as above.
        unsafe { put(library, loaded) }
    }
    cuLibraryUnload(library: u64) {
        unload(library)
    }
    cuLibraryGetKernel(out: *mut u64, library: u64, name: *const c_char) {
        // SAFETY: the caller gives a terminated name.
        let found = kernel(library, unsafe { modules::name(name) }?)?;
        // SAFETY: as above.
        unsafe { put(out, found) }
    }
    cuLibraryGetModule(out: *mut u64, library: u64) {
        on_context()?;
        let found = module(library)?;
        // SAFETY: as above.
        unsafe { put(out, found.0) }
    }
    cuLibraryGetGlobal(pointer: *mut u64, bytes: *mut usize, library: u64, name: *const c_char) {
        on_context()?;
        // SAFETY: the caller gives a terminated name and room for what it wants.
        unsafe { modules::variable(module(library)?, pointer, bytes, name) }
    }
    cuKernelGetFunction(out: *mut u64, kernel: u64) {
        on_context()?;
        let found = function(kernel)?;
        // SAFETY: as above.
        unsafe { put(out, found.0) }
    }
    cuKernelGetLibrary(out: *mut u64, kernel: u64) {
        let found = known_kernel(kernel).ok_or(DriverCode::InvalidHandle)?;
        // SAFETY: as above.
        unsafe { put(out, found.library) }
    }
    cuKernelGetAttribute(value: *mut c_int, which: c_int, kernel: u64, device: c_int) {
        let attribute = FunctionAttribute::from_number(which).ok_or(DriverCode::InvalidValue)?;
        // SAFETY: what is no kernel is refused.
        let found = unsafe { on_context()?.function_attribute(function_on(kernel, device)?, attribute) }?;
        // SAFETY: the caller gives room for one number.
        unsafe { put(value, found) }
    }
    cuKernelSetAttribute(which: c_int, value: c_int, kernel: u64, device: c_int) {
        let attribute = FunctionAttribute::from_number(which).ok_or(DriverCode::InvalidValue)?;
        // SAFETY: what is no kernel is refused.
        Ok(unsafe { on_context()?.function_set_attribute(function_on(kernel, device)?, attribute, value) }?)
    }
    cuKernelSetCacheConfig(kernel: u64, _config: u32, _device: c_int) {
        // A preference, which changes nothing that can be seen.
        known_kernel(kernel).map(drop).ok_or(DriverCode::InvalidHandle.into())
    }
    cuKernelGetParamInfo(kernel: u64, index: usize, offset: *mut usize, bytes: *mut usize) {
        // SAFETY: the caller gives room for what it wants.
        unsafe { param_info(kernel, index, offset, bytes) }
    }
}
