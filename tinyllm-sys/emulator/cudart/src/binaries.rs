//! The fat binaries that the program registered, and what of them is loaded: a module on a context when something of it is first
//! needed there.

use std::{
    collections::HashMap,
    ffi::CString,
    sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use crate::{
    contexts::{device, on_context, within},
    driver::{Driver, if_loaded},
    fatbin::{self, Unusable, Wrapper},
    outcome::{Error, say},
};

/// `CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR` and `_MINOR`.
const MAJOR: i32 = 75;
const MINOR: i32 = 76;

/// One fat binary.
#[derive(Debug)]
struct Binary {
    /// Its container, in the program's data, which is there until it is unregistered.
    container: Result<&'static [u8], Unusable>,
    /// By context: the module, or why there is none, so that it is said once.
    modules: Mutex<HashMap<u64, Result<u64, Error>>>,
}

/// What an address in the program stands for on the device.
#[derive(Clone, Debug)]
struct Known {
    id: usize,
    binary: Arc<Binary>,
    name: CString,
}

#[derive(Debug, Default)]
struct Registered {
    last: usize,
    binaries: HashMap<usize, Arc<Binary>>,
    functions: HashMap<usize, Known>,
    variables: HashMap<usize, Known>,
    /// Functions of loaded modules, by the program's address and the context.
    found: HashMap<(usize, u64), u64>,
}

static REGISTERED: RwLock<Option<Registered>> = RwLock::new(None);

fn read() -> RwLockReadGuard<'static, Option<Registered>> {
    REGISTERED.read().unwrap_or_else(PoisonError::into_inner)
}

fn write() -> RwLockWriteGuard<'static, Option<Registered>> {
    REGISTERED.write().unwrap_or_else(PoisonError::into_inner)
}

/// Which table an address is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    Functions,
    Variables,
}

/// Registers a fat binary and gives its number, from 1 on.
///
/// # Safety
/// As [`fatbin::container`], until [`unregister`] with that number.
pub(crate) unsafe fn register(wrapper: *const Wrapper) -> usize {
    // SAFETY: the caller's promise; nothing reads the bytes after `unregister`, which drops what leads to them.
    let container = unsafe { fatbin::container(wrapper) };
    let mut registered = write();
    let registered = registered.get_or_insert_default();
    registered.last += 1;
    registered.binaries.insert(registered.last, Arc::new(Binary { container, modules: Mutex::default() }));
    registered.last
}

/// Gives an address of the program a name in a fat binary.
pub(crate) fn name(table: Table, id: usize, address: usize, name: CString) -> Result<(), Error> {
    let mut registered = write();
    let registered = registered.get_or_insert_default();
    let binary = registered.binaries.get(&id).cloned().ok_or(Error::INVALID_VALUE)?;
    let known = Known { id, binary, name };
    match table {
        Table::Functions => registered.functions.insert(address, known),
        Table::Variables => registered.variables.insert(address, known),
    };
    Ok(())
}

/// Forgets a fat binary and unloads its modules.
pub(crate) fn unregister(id: usize) {
    let binary = {
        let mut registered = write();
        let registered = registered.get_or_insert_default();
        let Registered { functions, variables, found, .. } = registered;
        found.retain(|(address, _), _| functions.get(address).is_none_or(|known| known.id != id));
        functions.retain(|_, known| known.id != id);
        variables.retain(|_, known| known.id != id);
        registered.binaries.remove(&id)
    };
    // A driver that was never needed has nothing to unload.
    let (Some(binary), Some(driver)) = (binary, if_loaded()) else { return };
    let modules = std::mem::take(&mut *binary.modules.lock().unwrap_or_else(PoisonError::into_inner));
    for (context, module) in modules {
        if let Ok(module) = module {
            // A context that the program destroyed took the module with it.
            // SAFETY: loaded on this context, and nothing leads to it any more.
            let _ = within(driver, context, || unsafe { driver.module_unload(module) });
        }
    }
}

/// The compute capability of the calling thread's device, such as 80.
fn capability(driver: &Driver) -> Result<u32, Error> {
    let (mut major, mut minor, device) = (0, 0, device()?);
    // SAFETY: each writes one number.
    unsafe {
        driver.device_get_attribute(&raw mut major, MAJOR, device)?;
        driver.device_get_attribute(&raw mut minor, MINOR, device)?;
    }
    u32::try_from(major * 10 + minor).map_err(|_| Error::UNKNOWN)
}

/// Loads the PTX of a fat binary on the calling thread's context.
fn load(driver: &Driver, binary: &Binary) -> Result<u64, Error> {
    let device = capability(driver)?;
    let text = binary.container.clone().and_then(|container| fatbin::ptx(container, device));
    let text = text.map_err(|unusable| {
        say(format_args!("{unusable}"));
        match unusable {
            Unusable::NoPtx { .. } | Unusable::TooNew { .. } => Error::NO_KERNEL_IMAGE,
            Unusable::Relocatable => Error::NOT_SUPPORTED,
            Unusable::Damaged | Unusable::Compression { .. } => Error::INVALID_KERNEL_IMAGE,
        }
    })?;
    let mut module = 0;
    // SAFETY: writes one handle; the image is a terminated text.
    unsafe { driver.module_load_data(&raw mut module, text.as_ptr().cast()) }?;
    Ok(module)
}

/// The module of a fat binary on a context, which is current.
fn module(driver: &Driver, context: u64, binary: &Binary) -> Result<u64, Error> {
    let mut modules = binary.modules.lock().unwrap_or_else(PoisonError::into_inner);
    *modules.entry(context).or_insert_with(|| load(driver, binary))
}

/// Loads a fat binary on the calling thread's context, if it is not yet.
pub(crate) fn load_now(id: usize) -> Result<(), Error> {
    let (driver, context) = on_context()?;
    let binary = read().as_ref().and_then(|registered| registered.binaries.get(&id).cloned());
    let binary = binary.ok_or(Error::INVALID_VALUE)?;
    module(driver, context, &binary).map(drop)
}

fn known(table: Table, address: usize) -> Option<Known> {
    let registered = read();
    let registered = registered.as_ref()?;
    match table {
        Table::Functions => registered.functions.get(&address).cloned(),
        Table::Variables => registered.variables.get(&address).cloned(),
    }
}

/// Whether an address of the program stands for a function.
pub(crate) fn is_function(address: usize) -> bool {
    read().as_ref().is_some_and(|registered| registered.functions.contains_key(&address))
}

/// The driver, and the function that an address of the program stands for.
///
/// # Errors
/// `INVALID_DEVICE_FUNCTION` where it stands for none, or the module has none of its name.
pub(crate) fn function(address: usize) -> Result<(&'static Driver, u64), Error> {
    let (driver, context) = on_context()?;
    let found = read().as_ref().and_then(|registered| registered.found.get(&(address, context)).copied());
    if let Some(function) = found {
        return Ok((driver, function));
    }
    let known = known(Table::Functions, address).ok_or(Error::INVALID_DEVICE_FUNCTION)?;
    let module = module(driver, context, &known.binary)?;
    let mut function = 0;
    // SAFETY: writes one handle; a module of this driver, a terminated name.
    let done = unsafe { driver.module_get_function(&raw mut function, module, known.name.as_ptr()) };
    done.map_err(
        |error| if error == Error::SYMBOL_NOT_FOUND { Error::INVALID_DEVICE_FUNCTION } else { error },
    )?;
    write().get_or_insert_default().found.insert((address, context), function);
    Ok((driver, function))
}

/// The driver, and where the variable is on the device that an address of the program stands for, with its size.
///
/// # Errors
/// `INVALID_SYMBOL` where it stands for none, or the module has none of its name.
pub(crate) fn variable(address: usize) -> Result<(&'static Driver, u64, usize), Error> {
    let (driver, context) = on_context()?;
    let known = known(Table::Variables, address).ok_or(Error::INVALID_SYMBOL)?;
    let module = module(driver, context, &known.binary)?;
    let (mut start, mut bytes) = (0, 0);
    // SAFETY: writes an address and a size; a module of this driver, a terminated name.
    let done =
        unsafe { driver.module_get_global(&raw mut start, &raw mut bytes, module, known.name.as_ptr()) };
    done.map_err(|error| if error == Error::SYMBOL_NOT_FOUND { Error::INVALID_SYMBOL } else { error })?;
    Ok((driver, start, bytes))
}
