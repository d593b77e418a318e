//! Where state spaces other than global lie among generic addresses. `cvta` adds a window's start, and a
//! generic access finds its space by it.

/// Where shared memory is among generic addresses.
pub(crate) const SHARED_WINDOW: u64 = 1 << 56;

/// Where local memory is among generic addresses.
pub(crate) const LOCAL_WINDOW: u64 = 2 << 56;

/// Where a kernel's parameters are among generic addresses.
pub(crate) const PARAM_WINDOW: u64 = 3 << 56;
