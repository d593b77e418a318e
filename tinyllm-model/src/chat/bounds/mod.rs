//! What a template may make of what it is given: bounds on the nesting and size of values, and on the work that goes
//! into them.
//!
//! The engine charges fuel for instructions, and for the bytes and list slots that it makes. It does not know how large
//! a value is that is written in few: a list repeated by `*` is not there until somebody walks over it, a list that
//! holds another twice, forty times over, prints as 2^40 values, and a namespace may hold itself. Nor does it charge for
//! comparing long strings. So the template's instructions are checked (`program`): every list, tuple, map and namespace
//! is settled where it is made (`size`), which makes lazy ones whole, and refuses what is nested too deeply or would
//! print as more than the fuel that is left pays for; and whatever prints, compares or walks over values is charged for
//! them first. `filters` has the filters and methods that make much from little on their own.

mod filters;
mod program;
mod size;

pub(super) use filters::{add_to, charge_format, charge_printed};
pub(super) use program::checked;

/// Lists within lists within …; JSON is read to this depth, too.
pub(super) const MAX_NESTING: usize = 128;

/// Bytes that one unit of fuel pays for, as the engine has it.
pub(super) const BYTES_PER_FUEL: u64 = 64;
