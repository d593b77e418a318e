//! Device functions of a module: those that can be called by name, and those whose address is taken.

use std::collections::{BTreeSet, HashMap};

use crate::ptx::ast::{Function, Initializer, Module, Operand, Statement};

/// Functions with a body by name, `.alias` included.
pub(super) fn with_body(module: &Module) -> HashMap<&str, &Function> {
    let bodies = module.functions.iter().filter(|function| function.body.is_some());
    let mut functions: HashMap<&str, &Function> =
        bodies.map(|function| (function.name.as_str(), function)).collect();
    for (alias, name) in &module.aliases {
        if let Some(function) = functions.get(name.as_str()).copied() {
            functions.insert(alias, function);
        }
    }
    functions
}

/// Device functions that a variable or a register may point to, in order.
pub(super) fn addressed(module: &Module) -> BTreeSet<String> {
    let functions = with_body(module);
    let mut found = BTreeSet::new();
    if functions.values().all(|function| function.kernel) {
        return found;
    }
    let mut add = |name: &str| {
        if let Some(function) = functions.get(name).filter(|function| !function.kernel) {
            found.insert(function.name.clone());
        }
    };
    for value in module.variables.iter().flat_map(|variable| &variable.init) {
        if let Initializer::Address { name, .. } = value {
            add(name);
        }
    }
    for function in &module.functions {
        visit(function.body.as_deref().unwrap_or_default(), &mut add);
    }
    found
}

/// Every name that an instruction takes as a value.
fn visit(statements: &[Statement], add: &mut impl FnMut(&str)) {
    for statement in statements {
        match statement {
            Statement::Block(inner) => visit(inner, add),
            // What is called by its name has no address for that.
            Statement::Instruction(instruction) if instruction.opcode != "call" => {
                for operand in &instruction.operands {
                    if let Operand::Name(name) | Operand::Offset(name, _) = operand
                        && !name.starts_with('%')
                    {
                        add(name);
                    }
                }
            }
            _ => {}
        }
    }
}
