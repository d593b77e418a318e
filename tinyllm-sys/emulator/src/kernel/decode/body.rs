//! The walk over a kernel's statements: scopes, declarations, labels, and device functions where they are called.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use super::{
    super::variable::variable_bytes,
    allocation::uses_stack,
    calls::Signature,
    layout::Layout,
    location::{Inlines, Location},
    unsupported,
};
use crate::{
    kernel::{
        Constant, Guard, Instr, Kernel, LoadError, Op, Special,
        contraction::Part,
        names::readable,
        op::{AtomicKind, AtomicType},
        registers::forget_unread_results,
    },
    lanes::Slot,
    ptx::ast::{Function, Instruction, Linking, Module, Space, Statement, Type, Variable},
};

/// How deep device functions may call each other.
const MAX_CALL_DEPTH: usize = 64;

/// How many instructions a kernel may become.
const MAX_INSTRUCTIONS: usize = 1 << 20;

/// Bits of a register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Predicate,
    W16,
    W32,
    W64,
}

impl Width {
    pub(super) fn bits(self) -> u32 {
        match self {
            Width::Predicate => 1,
            Width::W16 => 16,
            Width::W32 => 32,
            Width::W64 => 64,
        }
    }
}

/// What a name stands for.
#[derive(Clone, Debug)]
pub(super) enum Binding {
    Register {
        slot: Slot,
        width: Width,
    },
    /// At an offset of a block's shared memory.
    Shared(u32),
    /// After the kernel's own shared memory.
    DynamicShared,
    /// At an offset of a thread's local memory.
    Local(u32),
    /// At an offset of the kernel's parameters.
    Param(u32),
    /// A number of [`Decoder::targets`].
    Label(u32),
    /// Labels to choose from.
    Table(Vec<String>),
    /// What a function that is called through a register returns and takes.
    Prototype(Signature),
    /// Functions that may be called through a register.
    Functions(Vec<String>),
}

/// What a name is bound to.
#[derive(Clone)]
struct Named {
    binding: Binding,
    /// Bytes of an element, where it is an array.
    element_bytes: Option<u32>,
}

/// Builds one kernel.
pub(super) struct Decoder<'a> {
    module: &'a Module,
    functions: &'a HashMap<&'a str, &'a Function>,
    scopes: Vec<HashMap<String, Named>>,
    rows: u32,
    predicates: u32,
    constants: HashMap<Constant, Slot>,
    specials: HashMap<Special, Slot>,
    param_bytes: u32,
    layout: Layout,
    /// Positions of labels, once they are known.
    targets: Vec<Option<u32>>,
    code: Vec<Instr>,
    origins: Vec<super::super::Origin>,
    texts: Vec<String>,
    fusible: Vec<(u32, Part)>,
    location: Location,
    inlines: Inlines,
    /// Functions that the walk is inside of, and the label after each one's call.
    calls: Vec<(String, u32)>,
    /// The predicate that holds the carry of `.cc`.
    carry: Option<Slot>,
    /// Guard of the instruction at hand, for what it needs before itself.
    pub(super) guard: Option<Guard>,
    /// What cannot be run.
    problems: Vec<LoadError>,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(
        module: &'a Module,
        functions: &'a HashMap<&'a str, &'a Function>,
    ) -> Result<Self, LoadError> {
        let mut decoder = Decoder {
            module,
            functions,
            scopes: vec![HashMap::new()],
            rows: 0,
            predicates: 0,
            constants: HashMap::new(),
            specials: HashMap::new(),
            param_bytes: 0,
            layout: Layout::default(),
            targets: Vec::new(),
            code: Vec::new(),
            origins: Vec::new(),
            texts: Vec::new(),
            fusible: Vec::new(),
            location: Location::default(),
            inlines: Inlines::default(),
            calls: Vec::new(),
            carry: None,
            guard: None,
            problems: Vec::new(),
        };
        for variable in module.variables.iter().filter(|variable| variable.space == Space::Shared) {
            decoder.declare(variable)?;
        }
        Ok(decoder)
    }

    /// Decodes a kernel to its end.
    pub(super) fn kernel(mut self, function: &Function) -> Result<Kernel, LoadError> {
        let mut params = Vec::new();
        for param in &function.params {
            let bytes = variable_bytes(param)?.and_then(|bytes| u32::try_from(bytes).ok());
            let bytes = bytes.filter(|bytes| *bytes <= 1 << 15).ok_or_else(|| LoadError::Declaration {
                line: param.line,
                name: param.name.clone(),
                problem: "a parameter of this size".into(),
            })?;
            let offset = self.param_bytes.next_multiple_of(param.align_bytes.clamp(1, 1 << 12));
            self.bind_variable(param, Binding::Param(offset));
            params.push((offset, bytes));
            self.param_bytes = offset + bytes;
        }
        let walked = self.scope(function.body.as_deref().unwrap_or_default());
        let is_known = |problem: &LoadError| self.problems.contains(problem);
        let last = walked.err().filter(|problem| !is_known(problem));
        self.problems.extend(last);
        if !self.problems.is_empty() {
            self.problems.sort_by_key(LoadError::line);
            return Err(LoadError::Kernel { name: function.name.clone(), problems: self.problems });
        }
        // A body may end without saying so.
        self.code.push(Instr { op: Op::Exit, guard: None });
        let last = self.origins.last().copied().unwrap_or_default();
        self.origins.push(last);
        if self.texts.is_empty() {
            self.texts.push("ret".to_owned());
        }
        self.resolve()?;
        forget_unread_results(&mut self.code);
        let ordered = self.code.iter().any(|instruction| is_ordered(&instruction.op));
        let threads = function.required_threads.or(function.max_threads);
        let max_threads = threads.map_or(1024, |[x, y, z]| x.saturating_mul(y).saturating_mul(z));
        let name = readable(&function.name);
        let (static_shared_bytes, local_bytes) = (self.layout.shared_bytes, self.layout.local_bytes);
        let named = self.layout.named(&name);
        Ok(Kernel {
            name: function.name.clone(),
            readable: name,
            module: 0,
            params,
            param_bytes: self.param_bytes,
            static_shared_bytes,
            local_bytes,
            max_threads,
            required_threads: function.required_threads,
            code: self.code,
            origins: self.origins,
            texts: self.texts.into(),
            files: Arc::from(self.module.files.clone()),
            inlines: self.inlines.list,
            shared_variables: named.shared,
            local_variables: named.local,
            dynamic_shared: named.dynamic,
            rows: self.rows,
            predicates: self.predicates,
            constants: self.constants.into_iter().map(|(constant, slot)| (slot, constant)).collect(),
            specials: self.specials.into_iter().map(|(special, slot)| (slot, special)).collect(),
            fusible: self.fusible,
            ordered,
            slot_uses: OnceLock::new(),
        })
    }

    /// Labels become positions.
    fn resolve(&mut self) -> Result<(), LoadError> {
        let targets = &self.targets;
        let position = |label: &mut u32| match targets.get(*label as usize).copied().flatten() {
            Some(target) => {
                *label = target;
                true
            }
            None => false,
        };
        for (instruction, origin) in self.code.iter_mut().zip(&self.origins) {
            let known = match &mut instruction.op {
                Op::Branch { target } => position(target),
                Op::BranchIndexed { targets, .. } => targets.iter_mut().all(position),
                _ => true,
            };
            if !known {
                return Err(LoadError::Unsupported {
                    line: origin.ptx_line,
                    instruction: self.texts[origin.text as usize].clone(),
                    problem: "its label is nowhere".into(),
                });
            }
        }
        Ok(())
    }

    /// Statements between braces.
    fn scope(&mut self, statements: &[Statement]) -> Result<(), LoadError> {
        self.scopes.push(HashMap::new());
        for statement in statements {
            if let Statement::Label { name, .. } = statement {
                let label = self.label();
                self.bind(name, Binding::Label(label));
            }
        }
        for statement in statements {
            match statement {
                Statement::Variable(variable) => {
                    let declared = self.declare(variable);
                    self.note(declared)?;
                }
                Statement::Label { name, .. } => {
                    if let Some(Binding::Label(label)) = self.lookup(name).cloned() {
                        self.place(label);
                    }
                }
                Statement::Block(inner) => self.scope(inner)?,
                Statement::Instruction(instruction) => {
                    let decoded = self.guarded(instruction);
                    self.note(decoded)?;
                    if self.code.len() > MAX_INSTRUCTIONS {
                        return Err(unsupported(instruction, "more instructions than a kernel may have"));
                    }
                }
                Statement::Location { file, line, column, inlined } => {
                    let place = (*file, *line, *column);
                    self.location.set(self.module, &mut self.inlines, place, inlined.as_deref());
                }
                Statement::BranchTargets { name, labels } => {
                    self.bind(name, Binding::Table(labels.clone()));
                }
                Statement::CallPrototype { name, returns, params } => {
                    self.bind(name, Binding::Prototype(Signature::new(returns, params)?));
                }
                Statement::CallTargets { name, functions } => {
                    self.bind(name, Binding::Functions(functions.clone()));
                }
            }
        }
        self.scopes.pop();
        Ok(())
    }

    fn guarded(&mut self, instruction: &Instruction) -> Result<(), LoadError> {
        self.guard = self.guard_of(instruction)?;
        self.instruction(instruction)
    }

    /// Remembers a problem, so that all of a kernel are known at once; an error where there are too many.
    fn note(&mut self, decoded: Result<(), LoadError>) -> Result<(), LoadError> {
        let Err(problem) = decoded else { return Ok(()) };
        // A function that is called again brings its problems again.
        if !self.problems.contains(&problem) {
            self.problems.push(problem.clone());
        }
        if self.problems.len() < LoadError::MOST_PROBLEMS { Ok(()) } else { Err(problem) }
    }

    fn declare(&mut self, variable: &Variable) -> Result<(), LoadError> {
        let problem = |problem: &str| LoadError::Declaration {
            line: variable.line,
            name: variable.name.clone(),
            problem: problem.to_owned(),
        };
        match variable.space {
            Space::Register => {
                let width = match variable.ty.bytes() * variable.vector {
                    _ if variable.ty == Type::Pred => Width::Predicate,
                    1 | 2 => Width::W16,
                    4 => Width::W32,
                    8 => Width::W64,
                    _ => return Err(problem("a register of this size")),
                };
                let names = (0..variable.count.unwrap_or(1)).map(|index| match variable.count {
                    Some(_) => format!("{}{index}", variable.name),
                    None => variable.name.clone(),
                });
                for name in names {
                    let slot = self.slot(width);
                    self.bind(&name, Binding::Register { slot, width });
                }
            }
            Space::Shared if variable.linking == Linking::Extern => {
                self.bind_variable(variable, Binding::DynamicShared);
                self.layout.place_dynamic(variable);
            }
            Space::Shared | Space::Local | Space::Param => {
                let offset = self.layout.place(variable)?;
                let shared = variable.space == Space::Shared;
                let binding = if shared { Binding::Shared(offset) } else { Binding::Local(offset) };
                self.bind_variable(variable, binding);
            }
            // Variables of the module: found by name where they are used.
            Space::Global | Space::Const => {}
            Space::Generic => return Err(problem("no state space")),
        }
        Ok(())
    }

    pub(super) fn bind(&mut self, name: &str, binding: Binding) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned(), Named { binding, element_bytes: None });
        }
    }

    /// The same of a variable, which may be an array.
    fn bind_variable(&mut self, variable: &Variable, binding: Binding) {
        if let Some(scope) = self.scopes.last_mut() {
            let element_bytes = element_bytes(variable);
            scope.insert(variable.name.clone(), Named { binding, element_bytes });
        }
    }

    pub(super) fn lookup(&self, name: &str) -> Option<&Binding> {
        Some(&self.named(name)?.binding)
    }

    fn named(&self, name: &str) -> Option<&Named> {
        self.scopes.iter().rev().find_map(|scope| scope.get(name))
    }

    /// Bytes of an element of an array.
    pub(super) fn element_bytes(&self, name: &str) -> Option<u32> {
        match self.named(name) {
            Some(named) => named.element_bytes,
            None => self.global(name).and_then(element_bytes),
        }
    }

    /// Whether a name is a variable in global or constant memory.
    pub(super) fn is_global(&self, name: &str) -> bool {
        self.global(name).is_some()
    }

    fn global(&self, name: &str) -> Option<&'a Variable> {
        let of_module = |variable: &&Variable| matches!(variable.space, Space::Global | Space::Const);
        self.module.variables.iter().filter(of_module).find(|variable| variable.name == name)
    }

    pub(super) fn slot(&mut self, width: Width) -> Slot {
        let (counter, taken) = match width {
            Width::Predicate => (&mut self.predicates, 1),
            Width::W16 | Width::W32 => (&mut self.rows, 1),
            Width::W64 => (&mut self.rows, 2),
        };
        *counter += taken;
        Slot(*counter - taken)
    }

    pub(super) fn constant(&mut self, constant: Constant) -> Slot {
        if let Some(slot) = self.constants.get(&constant) {
            return *slot;
        }
        let slot = self.slot(if matches!(constant, Constant::Narrow(_)) { Width::W32 } else { Width::W64 });
        self.constants.insert(constant, slot);
        slot
    }

    pub(super) fn special(&mut self, special: Special) -> Slot {
        if let Some(slot) = self.specials.get(&special) {
            return *slot;
        }
        let slot = self.slot(Width::W32);
        self.specials.insert(special, slot);
        slot
    }

    pub(super) fn carry(&mut self) -> Slot {
        if let Some(carry) = self.carry {
            return carry;
        }
        let slot = self.slot(Width::Predicate);
        self.carry = Some(slot);
        slot
    }

    pub(super) fn label(&mut self) -> u32 {
        self.targets.push(None);
        self.targets.len() as u32 - 1
    }

    pub(super) fn place(&mut self, label: u32) {
        self.targets[label as usize] = Some(self.code.len() as u32);
    }

    /// Adds an operation for the lanes of the instruction's guard.
    pub(super) fn emit(&mut self, instruction: &Instruction, op: Op) -> Result<(), LoadError> {
        if let Some(part) = Part::of(instruction) {
            self.fusible.push((self.code.len() as u32, part));
        }
        self.emit_guarded(instruction, op, self.guard);
        Ok(())
    }

    pub(super) fn emit_guarded(&mut self, instruction: &Instruction, op: Op, guard: Option<Guard>) {
        if self.texts.last() != Some(&instruction.text) {
            self.texts.push(instruction.text.clone());
        }
        let Location { file, line, inline, .. } = self.location;
        let text = self.texts.len() as u32 - 1;
        self.origins.push(super::super::Origin { ptx_line: instruction.line, text, file, line, inline });
        self.code.push(Instr { op, guard });
    }

    /// The number of the module's target: 80 of sm_80.
    pub(super) fn module_target(&self) -> u32 {
        let target = self.module.target.iter().find_map(|target| target.strip_prefix("sm_"));
        target.and_then(|number| number.trim_end_matches(char::is_alphabetic).parse().ok()).unwrap_or(0)
    }

    /// Bytes of the kernel's parameters.
    pub(super) fn param_bytes(&self) -> u32 {
        self.param_bytes
    }

    pub(super) fn module(&self) -> &'a Module {
        self.module
    }

    /// A function with a body.
    pub(super) fn function(&self, name: &str) -> Option<&'a Function> {
        self.functions.get(name).copied()
    }

    /// Whether the walk is inside of a function already.
    pub(super) fn is_inside(&self, name: &str) -> bool {
        self.function(name)
            .is_some_and(|function| self.calls.iter().any(|(caller, _)| *caller == function.name))
    }

    /// Space and type of what a device function returns and takes.
    pub(super) fn formal_parameters(&self, name: &str) -> Vec<(Space, Type)> {
        let function = self.functions.get(name);
        let formal = function.map(|function| function.returns.iter().chain(&function.params));
        formal.into_iter().flatten().map(|variable| (variable.space, variable.ty)).collect()
    }

    /// The label that `ret` goes to; none in the kernel itself.
    pub(super) fn return_label(&self) -> Option<u32> {
        self.calls.last().map(|(_, label)| *label)
    }

    /// Puts a device function in where it is called. Its formal parameters are other names of the caller's.
    pub(super) fn call(
        &mut self,
        instruction: &Instruction,
        name: &str,
        actual: Vec<Binding>,
    ) -> Result<(), LoadError> {
        let Some(function) = self.functions.get(name).copied() else {
            return Err(unsupported(instruction, format!("{name} has no body here")));
        };
        if self.is_inside(name) {
            return Err(unsupported(instruction, "a function that calls itself"));
        }
        if self.calls.len() >= MAX_CALL_DEPTH {
            return Err(unsupported(instruction, format!("calls deeper than {MAX_CALL_DEPTH}")));
        }
        let formal = function.returns.iter().chain(&function.params);
        let formal: Vec<&Variable> = formal.collect();
        if formal.len() != actual.len() {
            return Err(unsupported(
                instruction,
                format!("{name} takes and returns {} values", formal.len()),
            ));
        }
        let after = self.label();
        let inside = self.location.inside(&mut self.inlines, name);
        let guard = self.guard;
        // Lanes that do not call go on after it.
        if let Some(guard) = guard {
            let others = Guard { negated: !guard.negated, ..guard };
            self.emit_guarded(instruction, Op::Branch { target: after }, Some(others));
        }
        let location = std::mem::replace(&mut self.location, inside);
        // The function sees names of its own and of the module, none of its caller's.
        let outermost = self.scopes[0].clone();
        let scopes = std::mem::replace(&mut self.scopes, vec![outermost]);
        self.scopes.push(HashMap::new());
        for (variable, binding) in formal.into_iter().zip(actual) {
            self.bind_variable(variable, binding);
        }
        let body = function.body.as_deref().unwrap_or_default();
        let stack = uses_stack(body).then(|| (self.slot(Width::W64), self.label()));
        self.guard = None;
        if let Some((top, _)) = stack {
            self.emit_guarded(instruction, Op::StackSave { d: top, wide: true }, None);
        }
        self.calls.push((function.name.clone(), stack.map_or(after, |(_, end)| end)));
        self.scope(body)?;
        self.calls.pop();
        if let Some((top, end)) = stack {
            self.place(end);
            self.emit_guarded(instruction, Op::StackRestore { a: top, wide: true }, None);
        }
        self.scopes = scopes;
        self.place(after);
        (self.location, self.guard) = (location, guard);
        Ok(())
    }
}

/// Bytes of an element of an array.
fn element_bytes(variable: &Variable) -> Option<u32> {
    (!variable.dims.is_empty()).then(|| variable.ty.bytes())
}

/// Whether what a block does depends on which blocks ran before it.
fn is_ordered(op: &Op) -> bool {
    match op {
        Op::Atomic(atomic) => {
            let float = !matches!(atomic.ty, AtomicType::Bits | AtomicType::Unsigned | AtomicType::Signed);
            let commutes = !matches!(
                atomic.kind,
                AtomicKind::Exchange | AtomicKind::CompareExchange | AtomicKind::Inc | AtomicKind::Dec
            );
            atomic.target != super::super::Target::Shared && (atomic.d.is_some() || float || !commutes)
        }
        Op::Allocate { .. } | Op::Free { .. } => true,
        Op::Load(load) => load.order.scope.is_some() && load.target != super::super::Target::Shared,
        _ => false,
    }
}
