//! Names of errors, and the last error of a thread.

use std::ffi::{CStr, c_char};

use crate::{error_texts::TEXTS, outcome};

/// What the runtime says of a number that is none of its own.
const UNRECOGNIZED: &CStr = c"unrecognized error code";

fn texts(number: u32) -> (&'static CStr, &'static CStr) {
    let found = TEXTS.binary_search_by_key(&number, |(number, _, _)| *number);
    found
        .ok()
        .and_then(|at| TEXTS.get(at))
        .map_or((UNRECOGNIZED, UNRECOGNIZED), |(_, name, text)| (name, text))
}

/// The name of an error.
pub(crate) fn name(number: u32) -> &'static CStr {
    texts(number).0
}

// SAFETY: no other library of a process that has this one defines the runtime's calls.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
extern "C" fn cudaGetErrorName(error: u32) -> *const c_char {
    texts(error).0.as_ptr()
}

// SAFETY: as above.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
extern "C" fn cudaGetErrorString(error: u32) -> *const c_char {
    texts(error).1.as_ptr()
}

// SAFETY: as above.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
extern "C" fn cudaGetLastError() -> u32 {
    outcome::take_last()
}

// SAFETY: as above.
#[unsafe(no_mangle)]
#[allow(non_snake_case)]
extern "C" fn cudaPeekAtLastError() -> u32 {
    outcome::last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names_and_texts() {
        assert!(TEXTS.is_sorted_by_key(|(number, _, _)| *number));
        assert_eq!(texts(0), (c"cudaSuccess", c"no error"));
        assert_eq!(texts(700).0, c"cudaErrorIllegalAddress");
        assert_eq!(texts(12_345), (UNRECOGNIZED, UNRECOGNIZED));
    }
}
