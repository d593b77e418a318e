//! Fewer registers than a program names: compilers write PTX that names a new one for every value, and a warp's registers are
//! to stay in the processor's cache.

mod allocation;
mod liveness;
mod slots;
mod unread;

pub(super) use allocation::allocate;
pub(super) use liveness::Flow;
use slots::Access;
pub(crate) use slots::SlotUses;
pub(super) use unread::forget_unread_results;

#[cfg(test)]
mod tests;
