//! Where a kernel's variables are in the shared memory of a block and the local memory of a thread.

use super::super::variable::variable_bytes;
use crate::{
    kernel::{LoadError, Placed, names::within},
    ptx::ast::{Space, Variable},
};

/// The largest offset that is laid out.
const MAX_BYTES: u64 = 1 << 30;

/// What the names of a thread's stack begin with, as NVIDIA's compilers and LLVM write them: they are nobody's variables.
const STACK: &str = "__local_depot";

/// The bytes that are taken, and by what.
#[derive(Debug, Default)]
pub(super) struct Layout {
    pub(super) shared_bytes: u32,
    pub(super) local_bytes: u32,
    shared: Vec<Placed>,
    local: Vec<Placed>,
    dynamic: Option<String>,
}

/// What has a name, as the findings of a kernel call it.
pub(super) struct Named {
    pub(super) shared: Vec<Placed>,
    pub(super) local: Vec<Placed>,
    pub(super) dynamic: Option<String>,
}

impl Layout {
    /// The offset of a variable after those before it: in shared memory, or else in local memory.
    pub(super) fn place(&mut self, variable: &Variable) -> Result<u32, LoadError> {
        let problem = |problem: &str| LoadError::Declaration {
            line: variable.line,
            name: variable.name.clone(),
            problem: problem.to_owned(),
        };
        let bytes = variable_bytes(variable)?.filter(|bytes| *bytes <= MAX_BYTES);
        let bytes = bytes.ok_or_else(|| problem("no size"))? as u32;
        let shared = variable.space == Space::Shared;
        let used = if shared { &mut self.shared_bytes } else { &mut self.local_bytes };
        let offset = used.next_multiple_of(variable.align_bytes.clamp(1, 1 << 12));
        if u64::from(offset) + u64::from(bytes) > MAX_BYTES {
            return Err(problem("too large beside the others"));
        }
        *used = offset + bytes;
        let placed = Placed { name: variable.name.clone(), offset, bytes };
        match variable.space {
            Space::Shared => self.shared.push(placed),
            Space::Local if !variable.name.starts_with(STACK) => self.local.push(placed),
            // Parameters of calls.
            _ => {}
        }
        Ok(offset)
    }

    /// A variable that is what shared memory is asked for at launch; the first of them gives it a name.
    pub(super) fn place_dynamic(&mut self, variable: &Variable) {
        self.dynamic.get_or_insert_with(|| variable.name.clone());
    }

    /// What has a name, for the kernel of a readable name.
    pub(super) fn named(self, kernel: &str) -> Named {
        let readable = |placed: Placed| Placed { name: within(kernel, &placed.name), ..placed };
        Named {
            shared: self.shared.into_iter().map(readable).collect(),
            local: self.local.into_iter().map(readable).collect(),
            dynamic: self.dynamic.map(|symbol| within(kernel, &symbol)),
        }
    }
}
