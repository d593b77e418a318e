//! Failures that a test asks for: of one call, or of one and all after it.

use std::{
    ffi::{CStr, CString},
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use tinyllm_sys::{DriverCode, DriverError};

/// A failure of the driver that a test asks for; see [`crate::Builder::inject`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InjectedFailure {
    call: u64,
    code: DriverCode,
    is_lasting: bool,
}

impl InjectedFailure {
    /// Call number `call`, from 0, fails with this code, and does nothing; the calls after it are answered as ever.
    pub fn once(call: u64, code: DriverCode) -> Self {
        InjectedFailure { call, code, is_lasting: false }
    }

    /// Call number `call`, from 0, fails with this code, and so do all after it, as after a context was lost.
    pub fn lasting(call: u64, code: DriverCode) -> Self {
        InjectedFailure { call, code, is_lasting: true }
    }
}

/// An edit of the PTX that is loaded; see [`crate::Builder::edit_modules`].
#[derive(Clone)]
pub(super) struct ModuleEdit(Arc<dyn Fn(&str) -> String + Send + Sync>);

impl ModuleEdit {
    pub(super) fn new(edit: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        ModuleEdit(Arc::new(edit))
    }
}

impl fmt::Debug for ModuleEdit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ModuleEdit").finish_non_exhaustive()
    }
}

/// Counts calls, and fails those that it was asked to.
#[derive(Debug, Default)]
pub(super) struct Injection {
    failure: Option<InjectedFailure>,
    edit: Option<ModuleEdit>,
    calls: AtomicU64,
    /// The first call that was failed.
    failed: OnceLock<&'static str>,
}

impl Injection {
    pub(super) fn new(failure: Option<InjectedFailure>, edit: Option<ModuleEdit>) -> Self {
        Injection { failure, edit, ..Injection::default() }
    }

    /// A module's text as it was asked to be edited; `None` where it is loaded as it is.
    pub(super) fn edited(&self, image: &CStr) -> Option<CString> {
        let ModuleEdit(edit) = self.edit.as_ref()?;
        CString::new(edit(image.to_str().ok()?)).ok()
    }

    pub(super) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> Option<&'static str> {
        self.failed.get().copied()
    }

    /// Counts a call.
    ///
    /// # Errors
    /// The failure, where it is this call's.
    pub(super) fn call(&self, name: &'static str) -> Result<(), DriverError> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let is_its =
            |failure: &InjectedFailure| failure.call == call || (failure.is_lasting && failure.call < call);
        match self.failure.filter(is_its) {
            Some(failure) => {
                self.failed.get_or_init(|| name);
                Err(DriverError::new(name, failure.code, format!("injected failure of call {call}")))
            }
            None => Ok(()),
        }
    }
}
