//! The linker, for texts of PTX: its output is one text, which modules are loaded from. What two texts both define, the module
//! is refused for.

use std::{
    collections::BTreeMap,
    ffi::{CString, c_char, c_void},
    sync::{Mutex, MutexGuard, PoisonError},
};

use tinyllm_sys::DriverCode;

use crate::{
    contexts::on_context,
    export::exports,
    modules::{self, Options},
    result::{Answer, Refusal, put, put_if_wanted},
};

/// `CU_JIT_INPUT_PTX`.
const PTX: u32 = 1;

#[derive(Debug, Default)]
struct Linker {
    texts: Vec<CString>,
    /// The output.
    whole: CString,
}

/// Directives that a text begins with and has once.
const HEADER: [&str; 3] = [".version", ".target", ".address_size"];

/// The version that a text declares.
fn version(text: &str) -> Option<(u32, u32)> {
    let line = text.lines().find_map(|line| line.trim().strip_prefix(".version"))?;
    let (major, minor) = line.trim().split_once('.')?;
    Some((major.parse().ok()?, minor.split_whitespace().next()?.parse().ok()?))
}

/// Several texts as one, under the header of the newest of them.
fn join(texts: &[CString]) -> Result<CString, Refusal> {
    if let [one] = texts {
        return Ok(one.clone());
    }
    let texts: Result<Vec<&str>, _> = texts.iter().map(|text| text.to_str()).collect();
    let texts = texts.map_err(|_| DriverCode::InvalidImage)?;
    let newest = texts.iter().max_by_key(|text| version(text)).ok_or(DriverCode::InvalidValue)?;
    let is_header = |line: &&str| HEADER.iter().any(|word| line.trim_start().starts_with(word));
    let header = newest.lines().filter(is_header);
    let bodies = texts.iter().flat_map(|text| text.lines().filter(|line| !is_header(line)));
    let whole: String = header.chain(bodies).map(|line| format!("{line}\n")).collect();
    Ok(CString::new(whole).map_err(|_| DriverCode::InvalidImage)?)
}

static LINKERS: Mutex<(BTreeMap<u64, Linker>, u64)> = Mutex::new((BTreeMap::new(), 0x40_0001));

fn linkers() -> MutexGuard<'static, (BTreeMap<u64, Linker>, u64)> {
    LINKERS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create() -> Result<u64, Refusal> {
    on_context()?;
    let mut linkers = linkers();
    linkers.1 += 0x10;
    let handle = linkers.1;
    linkers.0.insert(handle, Linker::default());
    Ok(handle)
}

fn add(linker: u64, kind: u32, text: CString) -> Answer {
    let mut linkers = linkers();
    let linker = linkers.0.get_mut(&linker).ok_or(DriverCode::InvalidHandle)?;
    if kind != PTX {
        return Err(DriverCode::NotSupported.into());
    }
    linker.texts.push(text);
    Ok(())
}

exports! {
    cuLinkCreate | cuLinkCreate_v2(count: u32, names: *mut u32, values: *mut *mut c_void, linker: *mut u64) {
        let created = create()?;
        // SAFETY: the caller gives as many options as it counts.
        unsafe { Options::new(count, names, values).log("") };
        // SAFETY: the caller gives room for one handle.
        unsafe { put(linker, created) }
    }
    cuLinkAddData | cuLinkAddData_v2(
        linker: u64,
        kind: u32,
        data: *const c_void,
        bytes: usize,
        _name: *const c_char,
        _count: u32,
        _names: *mut u32,
        _values: *mut *mut c_void
    ) {
        if data.is_null() {
            return Err(DriverCode::InvalidValue.into());
        }
        // SAFETY: the caller gives so many bytes.
        let data = unsafe { std::slice::from_raw_parts(data.cast::<u8>(), bytes) };
        let text = data.split(|byte| *byte == 0).next().unwrap_or_default();
        add(linker, kind, CString::new(text).map_err(|_| DriverCode::InvalidImage)?)
    }
    cuLinkAddFile | cuLinkAddFile_v2(
        linker: u64,
        kind: u32,
        path: *const c_char,
        _count: u32,
        _names: *mut u32,
        _values: *mut *mut c_void
    ) {
        // SAFETY: the caller gives a terminated path.
        add(linker, kind, unsafe { modules::file(path) }?)
    }
    cuLinkComplete(linker: u64, out: *mut *const c_void, bytes: *mut usize) {
        let mut linkers = linkers();
        let linker = linkers.0.get_mut(&linker).ok_or(DriverCode::InvalidHandle)?;
        linker.whole = join(&linker.texts)?;
        let text = &linker.whole;
        // SAFETY: the caller gives room for an address and a size; the text lives as long as the linker.
        unsafe {
            put_if_wanted(bytes, text.as_bytes_with_nul().len());
            put(out, text.as_ptr().cast())
        }
    }
    cuLinkDestroy(linker: u64) {
        linkers().0.remove(&linker).map(drop).ok_or(DriverCode::InvalidHandle.into())
    }
}
