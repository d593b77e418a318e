//! Where an address is, for a report: in a variable of the kernel's where one has it, else in its space as a whole.

use super::Launch;
use crate::{
    kernel::Placed,
    report::{MemorySpace, Place, Relation},
};

impl Launch<'_> {
    /// The place of an address: of a device's memory, or an offset in another space.
    pub(super) fn place(&self, space: MemorySpace, address: u64) -> Option<Place> {
        let kernel = self.kernel;
        let (name, bytes) = match space {
            MemorySpace::Global => return self.global_place(address),
            MemorySpace::Shared => ("the block's shared memory", u64::from(self.shared_bytes())),
            MemorySpace::Local => ("the thread's local memory", u64::from(kernel.local_bytes)),
            MemorySpace::Param => ("the kernel's parameters", u64::from(kernel.param_bytes)),
        };
        if address >= bytes {
            let (name, offset) = (name.to_owned(), address - bytes);
            return Some(Place { name, bytes, offset, relation: Relation::After });
        }
        let variable = match space {
            MemorySpace::Shared => self.shared_variable(address, bytes),
            MemorySpace::Local => static_variable(&kernel.local_variables, address),
            MemorySpace::Global | MemorySpace::Param => None,
        };
        let (name, start, bytes) = variable.unwrap_or((name, 0, bytes));
        Some(Place { name: name.to_owned(), bytes, offset: address - start, relation: Relation::Inside })
    }

    fn shared_variable(&self, address: u64, bytes: u64) -> Option<(&str, u64, u64)> {
        let start = u64::from(self.dynamic_shared_start());
        let dynamic = self.kernel.dynamic_shared.as_deref().filter(|_| address >= start);
        static_variable(&self.kernel.shared_variables, address)
            .or(dynamic.map(|name| (name, start, bytes - start)))
    }
}

/// The name, the start and the size of the variable that has an address.
fn static_variable(variables: &[Placed], address: u64) -> Option<(&str, u64, u64)> {
    let variable = Placed::find(variables, address)?;
    Some((&variable.name, u64::from(variable.offset), u64::from(variable.bytes)))
}
