//! Entries: named ranges of a program's operations. A submission runs one entry.

use std::ops::Range;

use super::{Program, ProgramId};
use crate::KernelError;

/// A named range of operations. Ranges may overlap: a forward pass, and the part of it that fills the cache only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, by which [`Program::entry`] finds it.
    pub name: &'static str,
    /// The operations. An entry that does not begin with operation 0 continues where another entry of the same step
    /// ended, and may be submitted repeatedly: the regions that it begins with are unchanged.
    pub operations: Range<usize>,
}

/// An entry of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct EntryId {
    program: ProgramId,
    index: usize,
}

impl Program {
    /// The entries.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of this name. A program built without entries has one, `forward`, of all operations.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] if there is none.
    pub fn entry(&self, name: &str) -> Result<EntryId, KernelError> {
        let index = self.entries.iter().position(|entry| entry.name == name);
        let invalid = || KernelError::Invalid { what: "entry", problem: format!("no entry is named {name}") };
        Ok(EntryId { program: self.id, index: index.ok_or_else(invalid)? })
    }

    /// The operations of an entry.
    ///
    /// # Errors
    /// [`KernelError::Invalid`] for an entry of another program.
    pub fn operations(&self, entry: EntryId) -> Result<Range<usize>, KernelError> {
        if entry.program == self.id {
            return Ok(self.entries[entry.index].operations.clone());
        }
        Err(KernelError::Invalid { what: "entry", problem: "it is one of another program".into() })
    }
}
