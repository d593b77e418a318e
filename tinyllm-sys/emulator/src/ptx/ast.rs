//! What a file of PTX says, before anything is known about its instructions: declarations, statements, operands. Opcodes and
//! their modifiers stay text; the decoder gives them meaning.

use std::collections::HashMap;

/// A module: one file of PTX.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Module {
    /// `.version`, major and minor.
    pub version: (u32, u32),
    /// `.target`, as listed: `sm_80`, perhaps with `debug`.
    pub target: Vec<String>,
    /// `.address_size`: 32 or 64.
    pub address_size: u32,
    /// `.file` directives: number and name.
    pub files: Vec<(u32, String)>,
    /// Variables outside of functions.
    pub variables: Vec<Variable>,
    /// Kernels and device functions, declarations included.
    pub functions: Vec<Function>,
    /// `.alias` directives: another name of a function, and the function's.
    pub aliases: Vec<(String, String)>,
    /// The section `.debug_str`.
    pub debug_strings: DebugStrings,
}

/// Bytes that end at 0 after each name, and labels at some of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DebugStrings {
    /// All bytes.
    pub bytes: Vec<u8>,
    /// Where each label is; that of the section itself is 0.
    pub labels: HashMap<String, usize>,
}

impl DebugStrings {
    /// The name that begins so many bytes after a label.
    pub fn get(&self, label: &str, offset: u64) -> Option<String> {
        let start = self.labels.get(label)?.checked_add(usize::try_from(offset).ok()?)?;
        let rest = self.bytes.get(start..)?;
        let end = rest.iter().position(|byte| *byte == 0)?;
        String::from_utf8(rest[..end].to_vec()).ok()
    }
}

/// Who else sees a name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Linking {
    /// This module only.
    #[default]
    Internal,
    /// `.extern`: defined elsewhere.
    Extern,
    /// `.visible`.
    Visible,
    /// `.weak`.
    Weak,
    /// `.common`.
    Common,
}

/// A state space.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Space {
    /// `.reg`.
    Register,
    /// `.param`.
    Param,
    /// `.const`.
    Const,
    /// `.global`.
    Global,
    /// `.shared`.
    Shared,
    /// `.local`.
    Local,
    /// No space named: an address says itself where it points.
    Generic,
}

/// A fundamental type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "named as PTX names them")]
pub enum Type {
    Pred,
    B8,
    B16,
    B32,
    B64,
    B128,
    U8,
    U16,
    U32,
    U64,
    S8,
    S16,
    S32,
    S64,
    F16,
    F16x2,
    Bf16,
    Bf16x2,
    Tf32,
    F32,
    F64,
}

/// A declaration of one variable, or of the registers `name0` to `name{count - 1}`.
#[derive(Clone, Debug, PartialEq)]
pub struct Variable {
    /// Where it is declared, counted from 1.
    pub line: u32,
    /// Who sees it.
    pub linking: Linking,
    /// Its state space.
    pub space: Space,
    /// `.align`, or what its type asks for.
    pub align_bytes: u32,
    /// Of an element.
    pub ty: Type,
    /// 1, or 2 and 4 for `.v2` and `.v4`.
    pub vector: u32,
    /// Its name, with the `%` of registers.
    pub name: String,
    /// For `%r<63>`: 63.
    pub count: Option<u32>,
    /// Sizes of an array's dimensions, outermost first; `None` for `[]`.
    pub dims: Vec<Option<u64>>,
    /// Values, flattened; the rest is 0. Empty where none are given.
    pub init: Vec<Initializer>,
    /// `.ptr` of a kernel's parameter and the like, as text.
    pub attributes: Vec<String>,
}

/// One value of an initializer.
#[derive(Clone, Debug, PartialEq)]
pub enum Initializer {
    /// A number; floating-point ones as the bits that the element's type has.
    Bits(u64),
    /// An address: a name and bytes after it; `generic(name)` where asked.
    Address {
        /// The variable or function.
        name: String,
        /// Bytes after it.
        offset: i64,
        /// Whether as a generic address.
        generic: bool,
    },
}

/// `.entry` or `.func`.
#[derive(Clone, Debug, PartialEq)]
pub struct Function {
    /// Where it is declared.
    pub line: u32,
    /// Who sees it.
    pub linking: Linking,
    /// `.entry`.
    pub kernel: bool,
    /// Its name.
    pub name: String,
    /// What it returns: parameters or registers.
    pub returns: Vec<Variable>,
    /// What it takes.
    pub params: Vec<Variable>,
    /// `.maxntid`, where given: x, y, z, those left out being 1.
    pub max_threads: Option<[u32; 3]>,
    /// `.reqntid`, likewise.
    pub required_threads: Option<[u32; 3]>,
    /// Other directives (`.minnctapersm`, `.noreturn`), as text with their numbers.
    pub directives: Vec<(String, Vec<u32>)>,
    /// None for a declaration.
    pub body: Option<Vec<Statement>>,
}

/// A statement of a body.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// A declaration.
    Variable(Variable),
    /// `name:`.
    Label {
        /// Where.
        line: u32,
        /// Its name.
        name: String,
    },
    /// `{ … }`: names declared inside are its own.
    Block(Vec<Statement>),
    /// An instruction.
    Instruction(Instruction),
    /// `.loc`: what follows comes from here.
    Location {
        /// A number of [`Module::files`].
        file: u32,
        /// The source's line.
        line: u32,
        /// Its column.
        column: u32,
        /// The function that this is of, where it is inlined.
        inlined: Option<Box<Inlined>>,
    },
    /// `name: .branchtargets a, b;`.
    BranchTargets {
        /// Its name.
        name: String,
        /// Labels.
        labels: Vec<String>,
    },
    /// `name: .callprototype (…) _ (…);`.
    CallPrototype {
        /// Its name.
        name: String,
        /// What such a function returns.
        returns: Vec<Variable>,
        /// What it takes.
        params: Vec<Variable>,
    },
    /// `name: .calltargets f, g;`.
    CallTargets {
        /// Its name.
        name: String,
        /// Functions.
        functions: Vec<String>,
    },
}

/// `function_name LABEL+OFFSET, inlined_at FILE LINE COLUMN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inlined {
    /// A label of [`DebugStrings`].
    pub function: String,
    /// Bytes after it.
    pub offset: u64,
    /// File, line and column of the call.
    pub at: (u32, u32, u32),
}

/// An instruction as written.
#[derive(Clone, Debug, PartialEq)]
pub struct Instruction {
    /// Its line in the file, counted from 1.
    pub line: u32,
    /// `@p` or `@!p`.
    pub guard: Option<Guard>,
    /// Up to the first dot: `ld`.
    pub opcode: String,
    /// What follows, without dots: `["global", "nc", "v4", "f32"]`; `::` stays inside (`L2::128B`, `shared::cta`).
    pub modifiers: Vec<String>,
    /// In order. `call`'s parenthesised lists are [`Operand::List`].
    pub operands: Vec<Operand>,
    /// As written, on one line, for messages.
    pub text: String,
}

/// `@p` or `@!p`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The predicate's name.
    pub register: String,
    /// Whether it is `!p`.
    pub negated: bool,
}

/// An operand.
#[derive(Clone, Debug, PartialEq)]
pub enum Operand {
    /// A register, special register (`%tid.x` is one name), variable, label or function.
    Name(String),
    /// `name+16`, an address as a value.
    Offset(String, i64),
    /// `name[5]`, an element of an array: its address as a value, or where an access goes.
    Element(String, i64),
    /// An integer, with a leading minus already applied in two's complement.
    Integer(u64),
    /// `0f3F800000`.
    F32(u32),
    /// `0d3FF0000000000000`, and decimal floating-point constants.
    F64(u64),
    /// `{a, b}`.
    Vector(Vec<Operand>),
    /// `[base+offset]`; without a base an absolute address.
    Address {
        /// A register or variable.
        base: Option<String>,
        /// Bytes after it.
        offset: i64,
    },
    /// `%r1.b0`: bytes or halves of a register.
    Part(String, String),
    /// `[a, {x, y}]`: a texture or a surface, and where in it.
    Texture(Vec<Operand>),
    /// `a|b`: a value and a predicate.
    Pair(Box<Operand>, Box<Operand>),
    /// `!p`.
    Not(Box<Operand>),
    /// `-x`, of a register.
    Negative(Box<Operand>),
    /// `_`.
    Discard,
    /// `(a, b)`.
    List(Vec<Operand>),
}
