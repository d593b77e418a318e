//! Bounds on a template's values (nesting, printed size) and on the work that it may do.
//!
//! The engine charges fuel for instructions, and for the bytes and list slots that it makes. It does not know the size
//! of compactly written values: a list repeated by `*` is lazy, a list that holds another twice, forty times over,
//! prints as 2^40 values, and a namespace may hold itself. Nor does it charge for comparing long strings. So checks are
//! inserted between the template's instructions (`program`): every list, tuple, map and namespace is materialized where
//! it is made (`size`), and refused where it is nested too deeply or would print as more than the remaining fuel pays
//! for; whatever prints, compares or iterates over values is charged for them first. `filters` has the filters and
//! methods whose output can be much larger than their input.

mod filters;
mod program;
mod size;

pub(super) use filters::{add_to, charge_format, charge_printed};
pub(super) use program::checked;

/// The deepest nesting of lists; that of JSON too.
pub(super) const MAX_NESTING: usize = 128;

/// Bytes that one unit of fuel pays for, as the engine has it.
pub(super) const BYTES_PER_FUEL: u64 = 64;
