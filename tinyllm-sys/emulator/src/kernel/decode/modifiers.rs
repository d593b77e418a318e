//! The modifiers after an opcode's name, taken one by one: one that is left over is a form that is not there.

use super::unsupported;
use crate::{
    kernel::LoadError,
    numerics::{Mode, Rounding},
    ptx::{
        ast::{Instruction, Type},
        type_named,
    },
};

/// An instruction's modifiers, and which of them were understood.
#[derive(Debug)]
pub(super) struct Modifiers<'a> {
    instruction: &'a Instruction,
    taken: Vec<bool>,
    types: Vec<Type>,
}

impl<'a> Modifiers<'a> {
    pub(super) fn new(instruction: &'a Instruction) -> Self {
        let mut taken = Vec::new();
        let mut types = Vec::new();
        for modifier in &instruction.modifiers {
            let ty = type_named(modifier);
            taken.push(ty.is_some());
            types.extend(ty);
        }
        Modifiers { instruction, taken, types }
    }

    /// Types, in order.
    pub(super) fn types(&self) -> &[Type] {
        &self.types
    }

    /// The only type, or the first of several.
    pub(super) fn ty(&self) -> Result<Type, LoadError> {
        self.types.first().copied().ok_or_else(|| unsupported(self.instruction, "no type"))
    }

    /// Whether a modifier is there; it counts as understood.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        let found = self.instruction.modifiers.iter().position(|modifier| modifier == name);
        if let Some(index) = found {
            self.taken[index] = true;
        }
        found.is_some()
    }

    /// The value that goes with the one of these modifiers that is there.
    pub(super) fn one_of<T: Copy>(&mut self, names: &[(&str, T)]) -> Option<T> {
        names.iter().find(|(name, _)| self.flag(name)).map(|(_, value)| *value)
    }

    /// All modifiers of these names, in order, as often as they are there.
    pub(super) fn words(&mut self, names: &[&str]) -> Vec<&'a str> {
        let mut found = Vec::new();
        for (index, modifier) in self.instruction.modifiers.iter().enumerate() {
            if names.contains(&modifier.as_str()) {
                self.taken[index] = true;
                found.push(modifier.as_str());
            }
        }
        found
    }

    /// `.rn`, `.rz`, `.rm`, `.rp`.
    pub(super) fn rounding(&mut self) -> Option<Rounding> {
        self.one_of(&[
            ("rn", Rounding::Nearest),
            ("rz", Rounding::Zero),
            ("rm", Rounding::Down),
            ("rp", Rounding::Up),
        ])
    }

    /// Rounding, `.ftz`, `.sat` and `.relu`; to nearest where none is named.
    pub(super) fn mode(&mut self) -> Mode {
        Mode {
            rounding: self.rounding().unwrap_or(Rounding::Nearest),
            ftz: self.flag("ftz"),
            saturate: self.flag("sat"),
            relu: self.flag("relu"),
        }
    }

    /// Takes hints that change no result: cache operators, eviction priorities, prefetch sizes.
    pub(super) fn cache_hints(&mut self) {
        for (index, modifier) in self.instruction.modifiers.iter().enumerate() {
            let hint = matches!(modifier.as_str(), "ca" | "cg" | "cs" | "lu" | "cv" | "wb" | "wt" | "nc")
                || modifier.starts_with("L1::")
                || modifier.starts_with("L2::");
            self.taken[index] |= hint;
        }
    }

    /// All that are left have to be understood.
    pub(super) fn finish(&self) -> Result<(), LoadError> {
        match self.taken.iter().position(|taken| !taken) {
            Some(index) => {
                Err(unsupported(self.instruction, format!(".{} here", self.instruction.modifiers[index])))
            }
            None => Ok(()),
        }
    }
}
