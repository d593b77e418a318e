//! Fat binaries, as nvcc puts them into programs: a header, then entries, each for one architecture, as PTX or machine code,
//! compressed or not.

mod entries;
mod payload;

use std::ffi::{CString, c_void};

use entries::{Entry, HEADER_BYTES, PTX};

/// How a wrapper in the program's data begins, and the version of one that names a whole container.
const WRAPPER: u32 = 0x466_243B1;
const WHOLE: u32 = 1;

/// What nvcc's stub passes: `__fatBinC_Wrapper_t`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wrapper {
    magic: u32,
    version: u32,
    data: *const u8,
    /// The name of a file, or for `-rdc` a list of containers.
    _more: *const c_void,
}

/// Why a fat binary has nothing that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// Not a wrapper around a container, or a container that ends before its entries do.
    Damaged,
    /// To be linked on the device first.
    Relocatable,
    /// Entries of machine code alone, for these architectures.
    NoPtx { machine_code: Vec<u32> },
    /// PTX, but for newer devices than this one.
    TooNew { ptx: Vec<u32>, device: u32 },
    /// Compressed in a way that is not known, or damaged.
    Compression { flags: u64 },
}

impl std::fmt::Display for Unusable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |architectures: &[u32]| {
            let names: Vec<String> = architectures.iter().map(u32::to_string).collect();
            if names.is_empty() { "none".to_owned() } else { names.join(", ") }
        };
        match self {
            Unusable::Damaged => f.write_str("the program's fat binary is damaged"),
            Unusable::Relocatable => {
                f.write_str("the program was compiled with -rdc=true, which needs a linker of machine code: compile without it")
            }
            Unusable::NoPtx { machine_code } => write!(
                f,
                "the program has machine code (sm: {}) and no PTX: compile with -gencode arch=compute_80,code=compute_80",
                list(machine_code)
            ),
            Unusable::TooNew { ptx, device } => write!(
                f,
                "the program's PTX is for newer devices (compute: {}) than this one ({device}): \
                 compile with -gencode arch=compute_80,code=compute_80",
                list(ptx)
            ),
            Unusable::Compression { flags } => {
                write!(f, "the program's PTX cannot be decompressed (flags {flags:#x})")
            }
        }
    }
}

/// The bytes of a container that a wrapper names.
///
/// # Safety
/// The wrapper is null or one that nvcc made, whose container has the bytes that its header says, unchanged while `'a` lasts.
pub(crate) unsafe fn container<'a>(wrapper: *const Wrapper) -> Result<&'a [u8], Unusable> {
    if wrapper.is_null() {
        return Err(Unusable::Damaged);
    }
    // SAFETY: not null, and as large as its type: the caller's promise.
    let wrapper = unsafe { wrapper.read_unaligned() };
    if wrapper.magic != WRAPPER || wrapper.data.is_null() {
        return Err(Unusable::Damaged);
    }
    if wrapper.version != WHOLE {
        return Err(Unusable::Relocatable);
    }
    // SAFETY: a container has at least a header: the caller's promise.
    let header = unsafe { std::slice::from_raw_parts(wrapper.data, HEADER_BYTES) };
    let bytes = entries::container_bytes(header).ok_or(Unusable::Damaged)?;
    // SAFETY: as many bytes as the header says, the caller's promise; no allocation of a process is larger than `isize`, which
    // `container_bytes` checks.
    Ok(unsafe { std::slice::from_raw_parts(wrapper.data, bytes) })
}

/// The PTX for a device of a compute capability, such as 80: of the newest architecture that it can run.
pub(crate) fn ptx(container: &[u8], device: u32) -> Result<CString, Unusable> {
    let entries = entries::all(container).ok_or(Unusable::Damaged)?;
    let architectures = |ptx: bool| -> Vec<u32> {
        entries.iter().filter(|entry| (entry.kind == PTX) == ptx).map(|entry| entry.architecture).collect()
    };
    let runs = |entry: &&Entry<'_>| entry.kind == PTX && entry.architecture <= device;
    let best = entries.iter().filter(runs).max_by_key(|entry| entry.architecture);
    match best {
        Some(entry) => payload::text(entry),
        None if architectures(true).is_empty() => Err(Unusable::NoPtx { machine_code: architectures(false) }),
        None => Err(Unusable::TooNew { ptx: architectures(true), device }),
    }
}

#[cfg(test)]
mod tests;
