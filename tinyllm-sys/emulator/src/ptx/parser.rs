//! Tokens to declarations and statements. Directives that change nothing here (debug sections, pragmas) are read over.

use super::{
    SyntaxError,
    ast::{DebugStrings, Function, Guard, Inlined, Instruction, Linking, Module, Statement},
    lexer::{Placed, Token, tokens},
};

/// How deep braces may nest.
const MAX_DEPTH: usize = 64;

/// The section that has names of functions.
const DEBUG_STRINGS: &str = "debug_str";

/// Reads a file of PTX.
///
/// # Errors
/// The first thing that is wrong, with its line.
pub fn parse(text: &str) -> Result<Module, SyntaxError> {
    let mut parser = Parser { text, tokens: tokens(text)?, at: 0 };
    parser.module()
}

pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Placed>,
    at: usize,
}

impl Parser<'_> {
    pub(super) fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at).map(|placed| &placed.token)
    }

    pub(super) fn peek_at(&self, count: usize) -> Option<&Token> {
        self.tokens.get(self.at + count).map(|placed| &placed.token)
    }

    pub(super) fn line(&self) -> u32 {
        self.tokens.get(self.at).or(self.tokens.last()).map_or(1, |placed| placed.line)
    }

    pub(super) fn error(&self, expected: &str) -> SyntaxError {
        let found = match self.tokens.get(self.at) {
            Some(placed) => format!("`{}`", &self.text[placed.start..placed.end]),
            None => "the end".to_owned(),
        };
        SyntaxError::new(self.line(), format!("{expected} was expected, found {found}"))
    }

    pub(super) fn advance(&mut self) {
        self.at += 1;
    }

    pub(super) fn eat(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(found);
        found
    }

    pub(super) fn require(&mut self, mark: char) -> Result<(), SyntaxError> {
        if self.eat(mark) { Ok(()) } else { Err(self.error(&format!("`{mark}`"))) }
    }

    pub(super) fn name(&mut self) -> Result<String, SyntaxError> {
        match self.peek() {
            Some(Token::Name(name)) => {
                let name = name.clone();
                self.advance();
                Ok(name)
            }
            _ => Err(self.error("a name")),
        }
    }

    pub(super) fn integer(&mut self) -> Result<u64, SyntaxError> {
        match self.peek() {
            Some(Token::Integer(value)) => {
                let value = *value;
                self.advance();
                Ok(value)
            }
            _ => Err(self.error("a number")),
        }
    }

    fn small(&mut self) -> Result<u32, SyntaxError> {
        let at_fault = self.error("a number of 32 bits");
        u32::try_from(self.integer()?).map_err(|_| at_fault)
    }

    /// The directive at hand, without its dot.
    pub(super) fn directive(&mut self) -> Option<String> {
        let Some(Token::Dot(name)) = self.peek() else { return None };
        let name = name.clone();
        self.advance();
        Some(name)
    }

    fn is_directive(&self, name: &str) -> bool {
        matches!(self.peek(), Some(Token::Dot(found)) if found == name)
    }

    fn module(&mut self) -> Result<Module, SyntaxError> {
        let mut module = Module { address_size: 32, ..Module::default() };
        while self.peek().is_some() {
            let (at, line) = (self.at, self.line());
            let Some(directive) = self.directive() else {
                return Err(self.error("a directive such as .entry"));
            };
            match directive.as_str() {
                "version" => module.version = self.version()?,
                "target" => {
                    module.target.push(self.name()?);
                    while self.eat(',') {
                        module.target.push(self.name()?);
                    }
                }
                "address_size" => module.address_size = self.small()?,
                "file" => {
                    let number = self.small()?;
                    let Some(Token::Text(name)) = self.peek().cloned() else {
                        return Err(self.error("a file's name"));
                    };
                    self.advance();
                    module.files.push((number, name));
                    while self.eat(',') {
                        self.integer()?;
                    }
                }
                "section" => self.section(&mut module.debug_strings)?,
                "alias" => {
                    let alias = self.name()?;
                    self.require(',')?;
                    module.aliases.push((alias, self.name()?));
                    self.require(';')?;
                }
                "pragma" => self.skip_past_semicolon()?,
                _ => {
                    self.at = at;
                    let linking = self.linking();
                    if self.is_directive("entry") || self.is_directive("func") {
                        module.functions.push(self.function(line, linking)?);
                    } else {
                        let variables = self.variables(linking)?;
                        module.variables.extend(variables);
                        self.require(';')?;
                    }
                }
            }
        }
        if module.version == (0, 0) {
            return Err(SyntaxError::new(1, "no .version: this is not PTX"));
        }
        Ok(module)
    }

    fn version(&mut self) -> Result<(u32, u32), SyntaxError> {
        let placed = self.tokens.get(self.at).cloned().ok_or_else(|| self.error("a version"))?;
        self.advance();
        let text = &self.text[placed.start..placed.end];
        let parts = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        parts.ok_or_else(|| SyntaxError::new(placed.line, format!("{text} is no version such as 8.0")))
    }

    pub(super) fn linking(&mut self) -> Linking {
        let linking = match self.peek() {
            Some(Token::Dot(name)) => match name.as_str() {
                "visible" => Linking::Visible,
                "extern" => Linking::Extern,
                "weak" => Linking::Weak,
                "common" => Linking::Common,
                _ => return Linking::Internal,
            },
            _ => return Linking::Internal,
        };
        self.advance();
        linking
    }

    /// A debug section: braces and what is between. Of them, names of functions are kept.
    fn section(&mut self, strings: &mut DebugStrings) -> Result<(), SyntaxError> {
        let name = self.directive();
        if name.is_none() {
            self.advance();
        }
        self.require('{')?;
        if let Some(name) = name.filter(|name| name == DEBUG_STRINGS) {
            strings.labels.insert(name, 0);
            return self.debug_strings(strings);
        }
        while !self.eat('}') {
            if self.peek().is_none() {
                return Err(self.error("`}`"));
            }
            self.advance();
        }
        Ok(())
    }

    /// `LABEL: .b8 95, 90, 0`, up to the closing brace.
    fn debug_strings(&mut self, strings: &mut DebugStrings) -> Result<(), SyntaxError> {
        while !self.eat('}') {
            match self.peek() {
                None => return Err(self.error("`}`")),
                Some(Token::Name(name)) if self.peek_at(1) == Some(&Token::Mark(':')) => {
                    strings.labels.insert(name.clone(), strings.bytes.len());
                }
                Some(Token::Integer(value)) => strings.bytes.push(*value as u8),
                Some(_) => {}
            }
            self.advance();
        }
        Ok(())
    }

    fn skip_past_semicolon(&mut self) -> Result<(), SyntaxError> {
        while !self.eat(';') {
            if self.peek().is_none() {
                return Err(self.error("`;`"));
            }
            self.advance();
        }
        Ok(())
    }

    fn function(&mut self, line: u32, linking: Linking) -> Result<Function, SyntaxError> {
        let kernel = self.directive().as_deref() == Some("entry");
        let mut function = Function {
            line,
            linking,
            kernel,
            name: String::new(),
            returns: Vec::new(),
            params: Vec::new(),
            max_threads: None,
            required_threads: None,
            directives: Vec::new(),
            body: None,
        };
        if !kernel && self.peek() == Some(&Token::Mark('(')) {
            function.returns = self.parameters()?;
        }
        function.name = self.name()?;
        if self.peek() == Some(&Token::Mark('(')) {
            function.params = self.parameters()?;
        }
        while let Some(directive) = self.directive() {
            let mut numbers = Vec::new();
            while let Some(Token::Integer(_)) = self.peek() {
                numbers.push(self.small()?);
                self.eat(',');
            }
            let threads = || std::array::from_fn(|axis| numbers.get(axis).copied().unwrap_or(1));
            match directive.as_str() {
                "maxntid" => function.max_threads = Some(threads()),
                "reqntid" => function.required_threads = Some(threads()),
                "pragma" => self.skip_past_semicolon()?,
                _ => function.directives.push((directive, numbers)),
            }
        }
        if self.eat(';') {
            return Ok(function);
        }
        self.require('{')?;
        function.body = Some(self.body(1)?);
        Ok(function)
    }

    /// Statements up to the closing brace, which is taken.
    fn body(&mut self, depth: usize) -> Result<Vec<Statement>, SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(self.error(&format!("braces at most {MAX_DEPTH} deep")));
        }
        let mut statements = Vec::new();
        loop {
            let line = self.line();
            match self.peek() {
                Some(Token::Mark('}')) => {
                    self.advance();
                    return Ok(statements);
                }
                Some(Token::Mark('{')) => {
                    self.advance();
                    statements.push(Statement::Block(self.body(depth + 1)?));
                }
                Some(Token::Mark(';')) => self.advance(),
                Some(Token::Mark('@')) => statements.push(self.instruction()?),
                Some(Token::Dot(_)) => self.directive_in_body(&mut statements)?,
                Some(Token::Name(_)) if self.peek_at(1) == Some(&Token::Mark(':')) => {
                    let name = self.name()?;
                    self.advance();
                    match self.peek() {
                        Some(Token::Dot(kind)) if kind == "branchtargets" => {
                            self.advance();
                            let mut labels = vec![self.name()?];
                            while self.eat(',') {
                                labels.push(self.name()?);
                            }
                            self.require(';')?;
                            statements.push(Statement::BranchTargets { name, labels });
                        }
                        Some(Token::Dot(kind)) if kind == "callprototype" => {
                            self.advance();
                            statements.push(self.prototype(name)?);
                        }
                        Some(Token::Dot(kind)) if kind == "calltargets" => {
                            self.advance();
                            let mut functions = vec![self.name()?];
                            while self.eat(',') {
                                functions.push(self.name()?);
                            }
                            self.require(';')?;
                            statements.push(Statement::CallTargets { name, functions });
                        }
                        _ => statements.push(Statement::Label { line, name }),
                    }
                }
                Some(Token::Name(_)) => statements.push(self.instruction()?),
                _ => return Err(self.error("an instruction or `}`")),
            }
        }
    }

    /// `(returned) _ (taken);` after `.callprototype`. Directives after it change no call.
    fn prototype(&mut self, name: String) -> Result<Statement, SyntaxError> {
        let parenthesis = Some(&Token::Mark('('));
        let returns = if self.peek() == parenthesis { self.parameters()? } else { Vec::new() };
        self.name()?;
        let params = if self.peek() == parenthesis { self.parameters()? } else { Vec::new() };
        self.skip_past_semicolon()?;
        Ok(Statement::CallPrototype { name, returns, params })
    }

    fn directive_in_body(&mut self, statements: &mut Vec<Statement>) -> Result<(), SyntaxError> {
        let at = self.at;
        match self.directive().as_deref() {
            Some("loc") => {
                let (file, line, column) = (self.small()?, self.small()?, self.small()?);
                let on = self.tokens[self.at - 1].line;
                let inlined = self.inlined()?;
                statements.push(Statement::Location { file, line, column, inlined });
                // What else is on the line says nothing here.
                while self.tokens.get(self.at).is_some_and(|placed| placed.line == on) {
                    self.advance();
                }
            }
            Some("pragma") => self.skip_past_semicolon()?,
            _ => {
                self.at = at;
                let linking = self.linking();
                let variables = self.variables(linking)?;
                statements.extend(variables.into_iter().map(Statement::Variable));
                self.require(';')?;
            }
        }
        Ok(())
    }

    /// `, function_name LABEL+OFFSET, inlined_at FILE LINE COLUMN`, where it is there.
    fn inlined(&mut self) -> Result<Option<Box<Inlined>>, SyntaxError> {
        let is_word =
            |token: Option<&Token>, word: &str| matches!(token, Some(Token::Name(name)) if name == word);
        if self.peek() != Some(&Token::Mark(',')) || !is_word(self.peek_at(1), "function_name") {
            return Ok(None);
        }
        self.at += 2;
        let function = match self.directive() {
            Some(section) => section,
            None => self.name()?,
        };
        let offset = if self.eat('+') { self.integer()? } else { 0 };
        self.require(',')?;
        if !is_word(self.peek(), "inlined_at") {
            return Err(self.error("inlined_at"));
        }
        self.advance();
        let at = (self.small()?, self.small()?, self.small()?);
        Ok(Some(Box::new(Inlined { function, offset, at })))
    }

    fn instruction(&mut self) -> Result<Statement, SyntaxError> {
        let (first, line) = (self.at, self.line());
        let guard = match self.eat('@') {
            true => {
                let negated = self.eat('!');
                Some(Guard { register: self.name()?, negated })
            }
            false => None,
        };
        let opcode = self.name()?;
        let mut modifiers = Vec::new();
        while let Some(modifier) = self.directive() {
            modifiers.push(modifier);
        }
        let mut operands = Vec::new();
        if self.peek() != Some(&Token::Mark(';')) {
            operands.push(self.operand()?);
            while self.eat(',') {
                operands.push(self.operand()?);
            }
        }
        let text = &self.text[self.tokens[first].start..self.tokens[self.at - 1].end];
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        self.require(';')?;
        Ok(Statement::Instruction(Instruction { line, guard, opcode, modifiers, operands, text }))
    }
}
