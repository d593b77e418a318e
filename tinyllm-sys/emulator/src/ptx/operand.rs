//! Operands of instructions.

use super::{SyntaxError, ast::Operand, lexer::Token, parser::Parser};

impl Parser<'_> {
    pub(super) fn operand(&mut self) -> Result<Operand, SyntaxError> {
        let first = self.single()?;
        if self.eat('|') {
            let second = self.single()?;
            return Ok(Operand::Pair(Box::new(first), Box::new(second)));
        }
        Ok(first)
    }

    fn single(&mut self) -> Result<Operand, SyntaxError> {
        match self.peek().cloned() {
            Some(Token::Mark('{')) => Ok(Operand::Vector(self.list('{', '}')?)),
            Some(Token::Mark('(')) => Ok(Operand::List(self.list('(', ')')?)),
            Some(Token::Mark('[')) => self.address(),
            Some(Token::Mark('!')) => {
                self.advance();
                Ok(Operand::Not(Box::new(self.single()?)))
            }
            Some(Token::Mark('-')) => {
                self.advance();
                Ok(match self.single()? {
                    Operand::Integer(value) => Operand::Integer(value.wrapping_neg()),
                    Operand::F32(bits) => Operand::F32(bits ^ 1 << 31),
                    Operand::F64(bits) => Operand::F64(bits ^ 1 << 63),
                    other => Operand::Negative(Box::new(other)),
                })
            }
            Some(Token::Integer(value)) => {
                self.advance();
                Ok(Operand::Integer(value))
            }
            Some(Token::F32(bits)) => {
                self.advance();
                Ok(Operand::F32(bits))
            }
            Some(Token::F64(bits)) => {
                self.advance();
                Ok(Operand::F64(bits))
            }
            Some(Token::Name(name)) => {
                self.advance();
                if let Some(part) = self.directive() {
                    return Ok(Operand::Part(name, part));
                }
                if self.eat('[') {
                    return self.element(name);
                }
                match self.offset()? {
                    _ if name == "_" => Ok(Operand::Discard),
                    0 => Ok(Operand::Name(name)),
                    offset => Ok(Operand::Offset(name, offset)),
                }
            }
            _ => Err(self.error("an operand")),
        }
    }

    fn list(&mut self, open: char, close: char) -> Result<Vec<Operand>, SyntaxError> {
        self.require(open)?;
        let mut list = Vec::new();
        if self.eat(close) {
            return Ok(list);
        }
        list.push(self.single_in_list()?);
        while self.eat(',') {
            list.push(self.single_in_list()?);
        }
        self.require(close)?;
        Ok(list)
    }

    /// Lists do not nest.
    fn single_in_list(&mut self) -> Result<Operand, SyntaxError> {
        match self.peek() {
            Some(Token::Mark('{' | '(' | '[')) => Err(self.error("a name or a number")),
            Some(Token::Mark('!')) => Err(self.error("a name or a number")),
            _ => self.single(),
        }
    }

    fn address(&mut self) -> Result<Operand, SyntaxError> {
        self.require('[')?;
        let base = match self.peek() {
            Some(Token::Name(_)) => Some(self.name()?),
            _ => None,
        };
        let offset = match (&base, self.peek()) {
            (None, Some(Token::Integer(_))) => self.integer()? as i64,
            _ => self.offset()?,
        };
        if self.peek() == Some(&Token::Mark(',')) {
            let mut list = vec![Operand::Address { base, offset }];
            while self.eat(',') {
                list.push(match self.peek() {
                    Some(Token::Mark('[')) => return Err(self.error("coordinates")),
                    _ => self.single()?,
                });
            }
            self.require(']')?;
            return Ok(Operand::Texture(list));
        }
        self.require(']')?;
        Ok(Operand::Address { base, offset })
    }

    /// The index of an element and `]`. ptxas takes one index, of arrays of several dimensions too.
    fn element(&mut self, name: String) -> Result<Operand, SyntaxError> {
        let minus = self.eat('-');
        let index = self.integer()? as i64;
        self.require(']')?;
        Ok(Operand::Element(name, if minus { index.wrapping_neg() } else { index }))
    }

    /// `+16`, `-16`, `+-16`, or nothing.
    pub(super) fn offset(&mut self) -> Result<i64, SyntaxError> {
        let plus = self.eat('+');
        let minus = self.eat('-');
        if !plus && !minus {
            return Ok(0);
        }
        let value = self.integer()? as i64;
        Ok(if minus { value.wrapping_neg() } else { value })
    }
}
