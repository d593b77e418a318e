//! Declarations of variables: registers, parameters, memory and its values.

use super::{
    SyntaxError,
    ast::{Initializer, Linking, Space, Type, Variable},
    lexer::Token,
    parser::Parser,
};

/// How deep initialisers may nest.
const MAX_DEPTH: usize = 16;

fn space_named(name: &str) -> Option<Space> {
    Some(match name {
        "reg" => Space::Register,
        "param" => Space::Param,
        "const" => Space::Const,
        "global" => Space::Global,
        "shared" => Space::Shared,
        "local" => Space::Local,
        _ => return None,
    })
}

/// The type that a modifier or a declaration names.
pub(crate) fn type_named(name: &str) -> Option<Type> {
    Some(match name {
        "pred" => Type::Pred,
        "b8" => Type::B8,
        "b16" => Type::B16,
        "b32" => Type::B32,
        "b64" => Type::B64,
        "b128" => Type::B128,
        "u8" => Type::U8,
        "u16" => Type::U16,
        "u32" => Type::U32,
        "u64" => Type::U64,
        "s8" => Type::S8,
        "s16" => Type::S16,
        "s32" => Type::S32,
        "s64" => Type::S64,
        "f16" => Type::F16,
        "f16x2" => Type::F16x2,
        "bf16" => Type::Bf16,
        "bf16x2" => Type::Bf16x2,
        "tf32" => Type::Tf32,
        "f32" => Type::F32,
        "f64" => Type::F64,
        _ => return None,
    })
}

impl Type {
    /// Bytes in memory.
    pub const fn bytes(self) -> u32 {
        match self {
            Type::Pred | Type::B8 | Type::U8 | Type::S8 => 1,
            Type::B16 | Type::U16 | Type::S16 | Type::F16 | Type::Bf16 => 2,
            Type::B32 | Type::U32 | Type::S32 | Type::F32 | Type::F16x2 | Type::Bf16x2 | Type::Tf32 => 4,
            Type::B64 | Type::U64 | Type::S64 | Type::F64 => 8,
            Type::B128 => 16,
        }
    }
}

impl Parser<'_> {
    /// `(.param .u64 a, .param .u32 b)`.
    pub(super) fn parameters(&mut self) -> Result<Vec<Variable>, SyntaxError> {
        self.require('(')?;
        let mut list = Vec::new();
        if self.eat(')') {
            return Ok(list);
        }
        loop {
            let template = self.template(Linking::Internal)?;
            list.push(self.declarator(&template)?);
            if !self.eat(',') {
                break;
            }
        }
        self.require(')')?;
        Ok(list)
    }

    /// `.reg .b32 %r<5>, %q`: one or several of a type, without the semicolon.
    pub(super) fn variables(&mut self, linking: Linking) -> Result<Vec<Variable>, SyntaxError> {
        let template = self.template(linking)?;
        let mut list = vec![self.declarator(&template)?];
        while self.eat(',') {
            list.push(self.declarator(&template)?);
        }
        Ok(list)
    }

    /// What comes before the name.
    fn template(&mut self, linking: Linking) -> Result<Variable, SyntaxError> {
        let line = self.line();
        let (mut space, mut align, mut ty, mut vector, mut attributes) = (None, None, None, 1, Vec::new());
        let mut pointer = false;
        loop {
            let at_fault = self.error("a state space or a type");
            let Some(word) = self.directive() else { break };
            if let Some(found) = space_named(&word) {
                // After `.ptr`, a space says where the pointer points.
                match (space, pointer) {
                    (None, _) => space = Some(found),
                    (Some(_), true) => attributes.push(word),
                    (Some(_), false) => return Err(at_fault),
                }
            } else if let Some(found) = type_named(&word) {
                ty = Some(found);
            } else {
                match word.as_str() {
                    "align" => {
                        let bytes = self.integer()?;
                        if !bytes.is_power_of_two() || bytes > 1 << 16 {
                            return Err(SyntaxError::new(line, format!("an alignment of {bytes} bytes")));
                        }
                        if pointer {
                            attributes.push(format!("align {bytes}"));
                        } else {
                            align = Some(bytes as u32);
                        }
                    }
                    "v2" => vector = 2,
                    "v4" => vector = 4,
                    "ptr" => {
                        pointer = true;
                        attributes.push(word);
                    }
                    "attribute" => {
                        self.require('(')?;
                        while !self.eat(')') {
                            if self.peek().is_none() {
                                return Err(self.error("`)`"));
                            }
                            self.advance();
                        }
                        attributes.push(word);
                    }
                    "texref" | "samplerref" | "surfref" => {
                        return Err(SyntaxError::new(
                            line,
                            format!(".{word}: textures and surfaces are not emulated"),
                        ));
                    }
                    _ => return Err(at_fault),
                }
            }
        }
        let space = space.ok_or_else(|| self.error("a state space such as .global"))?;
        let ty = ty.ok_or_else(|| self.error("a type such as .u32"))?;
        Ok(Variable {
            line,
            linking,
            space,
            align_bytes: align.unwrap_or(ty.bytes() * vector),
            ty,
            vector,
            name: String::new(),
            count: None,
            dims: Vec::new(),
            init: Vec::new(),
            attributes,
        })
    }

    fn declarator(&mut self, template: &Variable) -> Result<Variable, SyntaxError> {
        let mut variable = Variable { line: self.line(), name: self.name()?, ..template.clone() };
        if self.eat('<') {
            let count = self.integer()?;
            // More registers than a kernel of this size can use are a mistake.
            let small = u32::try_from(count).ok().filter(|count| *count <= 1 << 20);
            variable.count =
                Some(small.ok_or_else(|| SyntaxError::new(variable.line, format!("{count} registers")))?);
            self.require('>')?;
        }
        while self.eat('[') {
            let dim = match self.peek() {
                Some(Token::Integer(_)) => Some(self.integer()?),
                _ => None,
            };
            variable.dims.push(dim);
            self.require(']')?;
        }
        if self.eat('=') {
            self.initializer(variable.ty, &mut variable.init, 0)?;
        }
        Ok(variable)
    }

    fn initializer(&mut self, ty: Type, out: &mut Vec<Initializer>, depth: usize) -> Result<(), SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.error(&format!("braces at most {MAX_DEPTH} deep")));
        }
        if self.eat('{') {
            if self.eat('}') {
                return Ok(());
            }
            self.initializer(ty, out, depth + 1)?;
            while self.eat(',') {
                self.initializer(ty, out, depth + 1)?;
            }
            return self.require('}');
        }
        let negative = self.eat('-');
        let value = match self.peek().cloned() {
            Some(Token::Integer(value)) => {
                self.advance();
                let bits = match ty {
                    Type::F32 => u64::from((value as f32).to_bits()),
                    Type::F64 => (value as f64).to_bits(),
                    _ => value,
                };
                Initializer::Bits(signed(ty, bits, negative))
            }
            Some(Token::F32(bits)) => {
                self.advance();
                let bits = match ty {
                    Type::F64 => f64::from(f32::from_bits(bits)).to_bits(),
                    _ => u64::from(bits),
                };
                Initializer::Bits(signed(ty, bits, negative))
            }
            Some(Token::F64(bits)) => {
                self.advance();
                let bits = match ty {
                    Type::F32 => u64::from((f64::from_bits(bits) as f32).to_bits()),
                    _ => bits,
                };
                Initializer::Bits(signed(ty, bits, negative))
            }
            Some(Token::Name(name)) if !negative => {
                self.advance();
                if name == "generic" && self.eat('(') {
                    let name = self.name()?;
                    self.require(')')?;
                    Initializer::Address { name, offset: self.offset()?, generic: true }
                } else {
                    Initializer::Address { name, offset: self.offset()?, generic: false }
                }
            }
            _ => return Err(self.error("a value")),
        };
        out.push(value);
        Ok(())
    }
}

/// Applies a minus: the sign bit of floating-point numbers, two's complement of others.
fn signed(ty: Type, bits: u64, negative: bool) -> u64 {
    match (ty, negative) {
        (_, false) => bits,
        (Type::F32, true) => bits ^ 1 << 31,
        (Type::F64, true) => bits ^ 1 << 63,
        (_, true) => bits.wrapping_neg(),
    }
}
