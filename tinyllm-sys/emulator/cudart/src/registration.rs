//! What nvcc's stubs call before `main` and at the end: fat binaries, and the functions and variables in them.

use std::ffi::{CStr, CString, c_char, c_int, c_void};

use crate::{
    binaries::{self, Table},
    fatbin::Wrapper,
    outcome::{Answer, Error, answer},
};

/// A number as the handle that the stubs pass around, which they do not look into.
type Handle = *mut *mut c_void;

/// Gives an address of the program a name on the device.
///
/// # Safety
/// The name is null or terminated.
unsafe fn name(table: Table, handle: Handle, address: *const c_void, name: *const c_char) -> Answer {
    if address.is_null() || name.is_null() {
        return Err(Error::INVALID_VALUE);
    }
    // SAFETY: not null, so terminated: the caller's promise.
    let name: CString = unsafe { CStr::from_ptr(name) }.to_owned();
    binaries::name(table, handle.addr(), address.addr(), name)
}

// SAFETY: no other library of a process that has this one defines the runtime's calls.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
unsafe extern "C" fn __cudaRegisterFatBinary(wrapper: *const Wrapper) -> Handle {
    let mut id = 0;
    answer("__cudaRegisterFatBinary", || {
        // SAFETY: nvcc's stub passes its wrapper, and unregisters it before its data goes.
        id = unsafe { binaries::register(wrapper) };
        Ok(())
    });
    std::ptr::without_provenance_mut(id)
}

// SAFETY: as above.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
extern "C" fn __cudaRegisterFatBinaryEnd(_handle: Handle) {}

// SAFETY: as above.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
extern "C" fn __cudaUnregisterFatBinary(handle: Handle) {
    answer("__cudaUnregisterFatBinary", || {
        binaries::unregister(handle.addr());
        Ok(())
    });
}

// SAFETY: as above.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
unsafe extern "C" fn __cudaRegisterFunction(
    handle: Handle,
    host: *const c_void,
    _device: *mut c_char,
    device_name: *const c_char,
    _thread_limit: c_int,
    _thread: *mut c_void,
    _block: *mut c_void,
    _block_size: *mut c_void,
    _grid_size: *mut c_void,
    _warp_size: *mut c_int,
) {
    // SAFETY: the stub passes a terminated name.
    answer("__cudaRegisterFunction", || unsafe { name(Table::Functions, handle, host, device_name) });
}

// SAFETY: as above.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
unsafe extern "C" fn __cudaRegisterVar(
    handle: Handle,
    host: *mut c_void,
    _device: *mut c_char,
    device_name: *const c_char,
    _external: c_int,
    _bytes: usize,
    _constant: c_int,
    _global: c_int,
) {
    // SAFETY: as above.
    answer("__cudaRegisterVar", || unsafe { name(Table::Variables, handle, host, device_name) });
}

// SAFETY: as above.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
extern "C" fn __cudaInitModule(handle: Handle) -> c_char {
    // Called before managed variables are used, and answers whether that is all right.
    c_char::from(answer("__cudaInitModule", || binaries::load_now(handle.addr())) == 0)
}
