//! From text to instructions: names become slots, labels positions, modifiers functions. Device functions are put in where they
//! are called, so a kernel is one straight list. Only forms of [`crate::forms`] are decoded here.

mod allocation;
mod bits;
mod body;
mod cache_policy;
mod calls;
mod control;
mod conversions;
mod floats;
mod integers;
mod layout;
mod location;
mod matrix;
mod mbarriers;
mod memory;
mod modifiers;
mod moves;
mod operands;
mod predicates;
mod video;
mod warp;
mod wmma;

use self::{body::Decoder, modifiers::Modifiers};
use super::{Kernel, LoadError, Op, functions::with_body};
use crate::{
    forms,
    ptx::ast::{Function, Instruction, Module},
};

/// Instructions of memory that only a texture unit understands.
const TEXTURES: [&str; 7] = ["tex", "tld4", "txq", "suld", "sust", "sured", "suq"];

/// What a form that is not there is: an error with the instruction.
fn unsupported(instruction: &Instruction, problem: impl Into<String>) -> LoadError {
    LoadError::Unsupported {
        line: instruction.line,
        instruction: instruction.text.clone(),
        problem: problem.into(),
    }
}

/// A kernel of a module, decoded.
///
/// # Errors
/// All that is in it, or in what it calls, and cannot be run.
pub(super) fn kernel(module: &Module, kernel: &Function) -> Result<Kernel, LoadError> {
    let functions = with_body(module);
    Decoder::new(module, &functions)?.kernel(kernel)
}

impl Decoder<'_> {
    /// Decodes one instruction and adds it to the code.
    fn instruction(&mut self, instruction: &Instruction) -> Result<(), LoadError> {
        if TEXTURES.contains(&instruction.opcode.as_str()) {
            let problem =
                format!("there is no {} here: textures and surfaces are not emulated", instruction.opcode);
            return Err(unsupported(instruction, problem));
        }
        forms::check(&instruction.opcode, &instruction.modifiers, self.module_target())
            .map_err(|problem| unsupported(instruction, problem))?;
        let mut modifiers = Modifiers::new(instruction);
        let families = [
            Self::integers,
            Self::floats,
            Self::moves,
            Self::predicates,
            Self::memory,
            Self::control,
            Self::warp,
            Self::matrix,
            Self::warp_matrix,
            Self::video,
            Self::mbarrier,
            Self::stack,
        ];
        for family in families {
            if let Some(op) = family(self, instruction, &mut modifiers)? {
                modifiers.finish()?;
                return self.emit(instruction, op);
            }
        }
        Err(unsupported(instruction, format!("there is no {} here", instruction.opcode)))
    }
}

/// What a family of instructions makes of one: nothing, where it is not of the family.
type Decoded = Result<Option<Op>, LoadError>;
