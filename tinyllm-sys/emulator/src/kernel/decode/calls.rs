//! Calls through a register: the address is compared with that of each function it may be, and those are put in one after the other.

use super::{
    super::{functions::addressed, variable::variable_bytes},
    body::{Binding, Decoder, Width},
    unsupported,
};
use crate::{
    kernel::{Constant, Guard, LoadError, Op},
    lanes::{Operands, Slot, lanes},
    ptx::ast::{Function, Instruction, Operand, Space, Type, Variable},
};

/// What a function returns and takes: spaces and sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Signature {
    returns: Vec<(Space, Option<u64>)>,
    params: Vec<(Space, Option<u64>)>,
}

impl Signature {
    pub(super) fn new(returns: &[Variable], params: &[Variable]) -> Result<Self, LoadError> {
        let sizes = |variables: &[Variable]| {
            let sizes = variables.iter().map(|variable| Ok((variable.space, variable_bytes(variable)?)));
            sizes.collect::<Result<Vec<_>, LoadError>>()
        };
        Ok(Signature { returns: sizes(returns)?, params: sizes(params)? })
    }

    fn of(function: &Function) -> Result<Self, LoadError> {
        Signature::new(&function.returns, &function.params)
    }
}

impl Decoder<'_> {
    /// `call (results), %address, (arguments), prototype;`, with a prototype or a list of functions.
    pub(super) fn call_through(
        &mut self,
        instruction: &Instruction,
        address: &str,
        [results, arguments]: [&[Operand]; 2],
    ) -> Result<(), LoadError> {
        let address = self.source(instruction, &Operand::Name(address.to_owned()), Type::B64)?;
        let Some(Operand::Name(table)) = instruction.operands.last() else {
            return Err(unsupported(instruction, "neither a prototype nor a list of functions"));
        };
        let all = addressed(self.module());
        let candidates: Vec<String> = match self.lookup(table).cloned() {
            Some(Binding::Functions(names)) => names,
            Some(Binding::Prototype(signature)) => {
                let mut fitting = Vec::new();
                for name in &all {
                    if let Some(function) = self.function(name)
                        && Signature::of(function)? == signature
                    {
                        fitting.push(name.clone());
                    }
                }
                fitting
            }
            _ => {
                return Err(unsupported(
                    instruction,
                    format!("{table} is neither a prototype nor a list of functions"),
                ));
            }
        };
        let after = self.label();
        let guard = self.guard.take();
        if let Some(guard) = guard {
            let others = Guard { negated: !guard.negated, ..guard };
            self.emit_guarded(instruction, Op::Branch { target: after }, Some(others));
        }
        let mut labels = Vec::new();
        for name in &candidates {
            let (predicate, label) = (self.slot(Width::Predicate), self.label());
            let known = self.constant(Constant::Symbol(name.clone(), 0));
            let run = lanes!(a: u64, b: u64 => bool { a == b });
            self.step(
                instruction,
                run,
                Operands { d: predicate, a: address, b: known, ..Operands::default() },
            );
            let guard = Guard { predicate, negated: false };
            self.emit_guarded(instruction, Op::Branch { target: label }, Some(guard));
            labels.push(label);
        }
        let others: Vec<(Slot, String)> = all
            .into_iter()
            .filter(|name| !candidates.contains(name))
            .map(|name| (self.constant(Constant::Symbol(name.clone(), 0)), name))
            .collect();
        self.emit_guarded(instruction, Op::WrongCall { address, others }, None);
        for (name, label) in candidates.iter().zip(labels) {
            self.place(label);
            if self.is_inside(name) {
                self.emit_guarded(instruction, Op::Recursion { name: name.clone() }, None);
                continue;
            }
            let actual = self.actual_parameters(instruction, name, results, arguments)?;
            self.call(instruction, name, actual)?;
            self.emit_guarded(instruction, Op::Branch { target: after }, None);
        }
        self.place(after);
        self.guard = guard;
        Ok(())
    }
}
