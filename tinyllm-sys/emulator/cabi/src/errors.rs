//! Names of errors.

use std::{
    collections::HashMap,
    ffi::{CStr, CString, c_char},
    sync::OnceLock,
};

use tinyllm_sys::DriverCode;

use crate::{
    export::exports,
    result::{Refusal, put},
};

/// Name and description by number.
fn texts(number: u32) -> Option<&'static (CString, CString)> {
    static TEXTS: OnceLock<HashMap<u32, (CString, CString)>> = OnceLock::new();
    let texts = TEXTS.get_or_init(|| {
        let success = (0, (c"CUDA_SUCCESS".to_owned(), c"no error".to_owned()));
        let errors = DriverCode::ALL.iter().map(|code| {
            let plain = code.name().trim_start_matches("CUDA_ERROR_").replace('_', " ").to_lowercase();
            let text = |text: &str| CString::new(text).unwrap_or_default();
            (code.number(), (text(code.name()), text(&plain)))
        });
        std::iter::once(success).chain(errors).collect()
    });
    texts.get(&number)
}

/// Writes a text, or null and a refusal where the number is unknown.
///
/// # Safety
/// `out` is null or can be written.
unsafe fn give(out: *mut *const c_char, text: Option<&'static CStr>) -> Result<(), Refusal> {
    // SAFETY: the caller's promise.
    unsafe { put(out, text.map_or(std::ptr::null(), CStr::as_ptr)) }?;
    text.map(drop).ok_or(DriverCode::InvalidValue.into())
}

exports! {
    cuGetErrorName(error: u32, name: *mut *const c_char) {
        // SAFETY: the caller gives room for one address.
        unsafe { give(name, texts(error).map(|texts| texts.0.as_c_str())) }
    }
    cuGetErrorString(error: u32, text: *mut *const c_char) {
        // SAFETY: as above.
        unsafe { give(text, texts(error).map(|texts| texts.1.as_c_str())) }
    }
}
