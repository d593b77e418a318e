//! Modules of PTX.

use std::{
    ffi::{CStr, CString, c_char, c_void},
    os::unix::ffi::OsStrExt,
};

use tinyllm_sys::{DriverApi, DriverCode, FunctionHandle, ModuleHandle};

use crate::{
    contexts::on_context,
    driver::driver,
    export::exports,
    result::{Answer, Refusal, put, put_if_wanted, say},
};

/// `CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES`, `CU_JIT_ERROR_LOG_BUFFER` and its size: what of `CUjit_option` is answered.
const INFO_LOG_BYTES: u32 = 4;
const ERROR_LOG: u32 = 5;
const ERROR_LOG_BYTES: u32 = 6;

/// How binaries begin that are no text: an object file, a container of several.
const BINARIES: [[u8; 4]; 3] = [*b"\x7fELF", [0x50, 0xed, 0x55, 0xba], [0xb1, 0x43, 0x62, 0x46]];

/// The options of a load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    count: u32,
    names: *mut u32,
    values: *mut *mut c_void,
}

impl Options {
    pub(crate) const NONE: Self =
        Options { count: 0, names: std::ptr::null_mut(), values: std::ptr::null_mut() };

    pub(crate) fn new(count: u32, names: *mut u32, values: *mut *mut c_void) -> Self {
        if names.is_null() || values.is_null() { Self::NONE } else { Options { count, names, values } }
    }

    /// The place of an option's value.
    ///
    /// # Safety
    /// There are as many options as the count.
    unsafe fn place(self, option: u32) -> Option<*mut *mut c_void> {
        (0..self.count as usize).find_map(|index| {
            // SAFETY: the caller's promise.
            unsafe { (self.names.add(index).read() == option).then(|| self.values.add(index)) }
        })
    }

    /// Writes the log of errors where the program asks for it, and the length of each log. False where it does not ask.
    ///
    /// # Safety
    /// There are as many options as the count, and the buffer is as long as its option.
    pub(crate) unsafe fn log(self, text: &str) -> bool {
        // SAFETY: the caller's promise.
        unsafe {
            if let Some(place) = self.place(INFO_LOG_BYTES) {
                place.write(std::ptr::null_mut());
            }
            let (Some(buffer), Some(size)) = (self.place(ERROR_LOG), self.place(ERROR_LOG_BYTES)) else {
                return false;
            };
            let (buffer, room) = (buffer.read().cast::<u8>(), size.read().addr());
            let length = text.len().min(room.saturating_sub(1));
            if !buffer.is_null() && room > 0 {
                buffer.copy_from_nonoverlapping(text.as_ptr(), length);
                buffer.add(length).write(0);
            }
            size.write(std::ptr::without_provenance_mut(length));
            !buffer.is_null()
        }
    }
}

/// The text of an image.
///
/// # Safety
/// It is null, a terminated text, or a binary of at least 4 bytes.
pub(crate) unsafe fn text<'a>(image: *const c_void) -> Result<&'a CStr, Refusal> {
    if image.is_null() {
        return Err(DriverCode::InvalidValue.into());
    }
    let begins_as = |start: &[u8; 4]| {
        start.iter().enumerate().all(|(index, byte)| {
            // SAFETY: the caller's promise: one byte after the other, no further than the first 0.
            unsafe { image.cast::<u8>().add(index).read() == *byte }
        })
    };
    if BINARIES.iter().any(begins_as) {
        say(format_args!("a module is machine code; PTX can be run, and nothing else"));
        return Err(DriverCode::NoBinaryForGpu.into());
    }
    // SAFETY: as above.
    Ok(unsafe { CStr::from_ptr(image.cast()) })
}

/// Loads PTX on the current context. Where the program does not ask for the log, it is printed: the number alone does not
/// say what is wrong.
///
/// # Safety
/// As [`Options::log`].
pub(crate) unsafe fn load(image: &CStr, options: Options) -> Result<ModuleHandle, Refusal> {
    match on_context()?.module_load_data(image) {
        Ok(module) => {
            // SAFETY: the caller's promise.
            unsafe { options.log("") };
            Ok(module)
        }
        Err(error) => {
            // SAFETY: as above.
            if !unsafe { options.log(&error.arguments) } {
                say(format_args!("{error}"));
            }
            Err(error.into())
        }
    }
}

/// A module's kernel. Why it cannot be run is printed: there is no log to put it into.
///
/// # Safety
/// The module is this driver's.
pub(crate) unsafe fn kernel(module: ModuleHandle, name: &CStr) -> Result<FunctionHandle, Refusal> {
    // SAFETY: the caller's promise.
    unsafe { driver()?.module_get_function(module, name) }.map_err(|error| {
        if error.driver_code() == Some(DriverCode::InvalidPtx) {
            say(format_args!("{error}"));
        }
        error.into()
    })
}

/// The text of a file.
///
/// # Safety
/// The path is null or a terminated text.
pub(crate) unsafe fn file(path: *const c_char) -> Result<CString, Refusal> {
    if path.is_null() {
        return Err(DriverCode::InvalidValue.into());
    }
    // SAFETY: the caller's promise.
    let path = std::ffi::OsStr::from_bytes(unsafe { CStr::from_ptr(path) }.to_bytes());
    // `CUDA_ERROR_FILE_NOT_FOUND`.
    let mut bytes = std::fs::read(path).map_err(|_| Refusal::Number(301))?;
    bytes.extend([0; 4]);
    // SAFETY: at least 4 bytes, the last of them 0.
    Ok(unsafe { text(bytes.as_ptr().cast()) }?.to_owned())
}

/// # Safety
/// The name is null or a terminated text.
pub(crate) unsafe fn name<'a>(name: *const c_char) -> Result<&'a CStr, Refusal> {
    if name.is_null() {
        return Err(DriverCode::InvalidValue.into());
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { CStr::from_ptr(name) })
}

/// Gives a variable's address and size, each where the caller passes a place for it.
///
/// # Safety
/// The name is null or terminated; both places are null or have room.
pub(crate) unsafe fn variable(
    module: ModuleHandle,
    pointer: *mut u64,
    bytes: *mut usize,
    wanted: *const c_char,
) -> Answer {
    // SAFETY: the caller's promise; what is no module is refused.
    unsafe {
        let (address, size) = driver()?.module_get_global(module, name(wanted)?)?;
        put_if_wanted(pointer, address.0);
        put_if_wanted(bytes, size);
    }
    Ok(())
}

exports! {
    cuModuleLoadData | cuModuleLoadFatBinary(module: *mut u64, image: *const c_void) {
        // SAFETY: the caller gives an image.
        let loaded = unsafe { load(text(image)?, Options::NONE) }?;
        // SAFETY: the caller gives room for one handle.
        unsafe { put(module, loaded.0) }
    }
    cuModuleLoadDataEx(
        module: *mut u64,
        image: *const c_void,
        count: u32,
        names: *mut u32,
        values: *mut *mut c_void
    ) {
        // SAFETY: the caller gives an image, and as many options as it counts.
        let loaded = unsafe { load(text(image)?, Options::new(count, names, values)) }?;
        // SAFETY: as above.
        unsafe { put(module, loaded.0) }
    }
    cuModuleLoad(module: *mut u64, path: *const c_char) {
        // SAFETY: the caller gives a terminated path.
        let loaded = unsafe { load(&file(path)?, Options::NONE) }?;
        // SAFETY: as above.
        unsafe { put(module, loaded.0) }
    }
    cuModuleUnload(module: u64) {
        // SAFETY: what is no module is refused.
        Ok(unsafe { on_context()?.module_unload(ModuleHandle(module)) }?)
    }
    cuModuleGetFunction(function: *mut u64, module: u64, wanted: *const c_char) {
        // SAFETY: the caller gives a terminated name; what is no module is refused.
        let found = unsafe { kernel(ModuleHandle(module), name(wanted)?) }?;
        // SAFETY: as above.
        unsafe { put(function, found.0) }
    }
    cuModuleGetGlobal | cuModuleGetGlobal_v2(
        pointer: *mut u64,
        bytes: *mut usize,
        module: u64,
        wanted: *const c_char
    ) {
        // SAFETY: the caller gives a terminated name and room for what it wants.
        unsafe { variable(ModuleHandle(module), pointer, bytes, wanted) }
    }
    cuModuleGetLoadingMode(mode: *mut u32) {
        driver()?;
        // SAFETY: the caller gives room for one number. Eager.
        unsafe { put(mode, 1) }
    }
}
