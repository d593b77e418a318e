//! Where the instructions at hand come from: the source's line, and the functions that compilers or the decoder put in there.

use std::{collections::HashMap, sync::Arc};

use crate::{
    kernel::{Inline, names::readable},
    ptx::ast::{Inlined, Module},
};

/// A line and a column of a file.
type Place = (u32, u32, u32);

/// What `.loc` directives say, one after the other.
#[derive(Clone, Debug, Default)]
pub(super) struct Location {
    /// Number of the source file and line; 0 where there is none.
    pub(super) file: u32,
    pub(super) line: u32,
    /// What the line is in: see [`Inline::outer`].
    pub(super) inline: u32,
    /// What lines are in that are not inlined.
    base: u32,
    /// What each place was in when it was last named: calls are named before what is called.
    seen: HashMap<Place, u32>,
}

/// Functions that were put in somewhere.
#[derive(Debug, Default)]
pub(super) struct Inlines {
    pub(super) list: Vec<Inline>,
    numbers: HashMap<Inline, u32>,
    /// Readable names by where a module has them.
    names: HashMap<(String, u64), Arc<str>>,
}

impl Inlines {
    fn add(&mut self, inline: Inline) -> u32 {
        let Inlines { list, numbers, .. } = self;
        *numbers.entry(inline).or_insert_with_key(|inline| {
            list.push(inline.clone());
            list.len() as u32
        })
    }

    fn name(&mut self, module: &Module, label: &str, offset: u64) -> Arc<str> {
        let known = self.names.entry((label.to_owned(), offset));
        known
            .or_insert_with(|| {
                module.debug_strings.get(label, offset).map_or("?".into(), |name| readable(&name).into())
            })
            .clone()
    }
}

impl Location {
    /// A `.loc` directive.
    pub(super) fn set(
        &mut self,
        module: &Module,
        inlines: &mut Inlines,
        place: Place,
        inlined: Option<&Inlined>,
    ) {
        let (file, line, _) = place;
        let inline = inlined.map(|inlined| {
            let (file, line, _) = inlined.at;
            let outer = self.seen.get(&inlined.at).copied().unwrap_or(self.base);
            let function = inlines.name(module, &inlined.function, inlined.offset);
            inlines.add(Inline { function, file, line, outer })
        });
        (self.file, self.line, self.inline) = (file, line, inline.unwrap_or(self.base));
        self.seen.insert(place, self.inline);
    }

    /// The beginning of a device function that is called here.
    pub(super) fn inside(&self, inlines: &mut Inlines, function: &str) -> Self {
        let Location { file, line, inline, .. } = *self;
        let base = inlines.add(Inline { function: readable(function).into(), file, line, outer: inline });
        Location { file, line, inline: base, base, seen: HashMap::new() }
    }
}
