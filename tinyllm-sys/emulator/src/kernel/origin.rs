//! Where a kernel's instructions and variables come from, for reports.

use std::sync::Arc;

use super::Kernel;
use crate::report::{Call, Site};

/// Where an instruction comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The line in the PTX.
    pub(crate) ptx_line: u32,
    /// A number into [`Kernel::texts`].
    pub(crate) text: u32,
    /// Number of the source file and line; 0 where there is none.
    pub(crate) file: u32,
    pub(crate) line: u32,
    /// What that line is in: see [`Inline::outer`].
    pub(crate) inline: u32,
}

/// A function that is put in where it is called.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Inline {
    pub(crate) function: Arc<str>,
    /// Of the call: number of the source file and line; 0 where there is none.
    pub(crate) file: u32,
    pub(crate) line: u32,
    /// What the call is in: a number into [`Kernel::inlines`] counted from 1, lower than its own; 0 for the kernel itself.
    pub(crate) outer: u32,
}

/// A variable of a kernel's, in the memory of a block or of a thread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// As people read it.
    pub(crate) name: String,
    pub(crate) offset: u32,
    pub(crate) bytes: u32,
}

impl Placed {
    /// The variable that has a byte.
    pub(crate) fn find(variables: &[Placed], offset: u64) -> Option<&Placed> {
        let has = |variable: &&Placed| {
            (u64::from(variable.offset)..u64::from(variable.offset) + u64::from(variable.bytes))
                .contains(&offset)
        };
        variables.iter().find(has)
    }
}

impl Kernel {
    /// Where an instruction comes from, for a report.
    pub(crate) fn site(&self, pc: u32) -> Option<Site> {
        let origin = self.origins.get(pc as usize)?;
        let mut calls = Vec::new();
        let mut inline = origin.inline;
        while let Some(found) = inline.checked_sub(1).and_then(|index| self.inlines.get(index as usize)) {
            let called_at = self.source(found.file, found.line);
            calls.push(Call { function: found.function.to_string(), called_at });
            inline = found.outer;
        }
        Some(Site {
            kernel: self.name.clone(),
            name: self.readable.clone(),
            module: Some(self.module),
            ptx_line: origin.ptx_line,
            instruction: self.texts.get(origin.text as usize)?.clone(),
            source: self.source(origin.file, origin.line),
            calls,
        })
    }

    fn source(&self, file: u32, line: u32) -> Option<(String, u32)> {
        let file = self.files.iter().find(|(number, _)| *number == file && line > 0);
        file.map(|(_, name)| (name.clone(), line))
    }
}
