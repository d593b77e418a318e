//! Text to tokens: names, directives, numbers, punctuation. Comments and white space go.

use super::SyntaxError;

/// A token.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// `%r1`, `%tid.x`, `add`, `$L__BB0_1`: no dots but in special registers.
    Name(String),
    /// `.global`, `.L2::128B`: without the leading dot.
    Dot(String),
    /// An integer.
    Integer(u64),
    /// `0f3F800000`.
    F32(u32),
    /// `0d3FF0000000000000` and decimals such as `1.5`.
    F64(u64),
    /// `"…"`.
    Text(String),
    /// Anything else, a character each.
    Mark(char),
}

/// A token, its line, and where it is in the text.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Placed {
    pub(super) token: Token,
    pub(super) line: u32,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Characters of an error's excerpt.
const EXCERPT: usize = 40;

pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line: u32,
}

fn begins_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'$' | b'%')
}

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$')
}

/// Special registers that have a component, written with a dot.
fn has_component(name: &str) -> bool {
    matches!(
        name,
        "%tid"
            | "%ntid"
            | "%ctaid"
            | "%nctaid"
            | "%clusterid"
            | "%nclusterid"
            | "%cluster_ctaid"
            | "%cluster_nctaid"
    )
}

/// All tokens of a text.
pub(super) fn tokens(text: &str) -> Result<Vec<Placed>, SyntaxError> {
    let mut lexer = Lexer { text, at: 0, line: 1 };
    let mut tokens = Vec::with_capacity(text.len() / 4);
    while let Some(token) = lexer.next()? {
        tokens.push(token);
    }
    Ok(tokens)
}

impl Lexer<'_> {
    fn byte(&self, ahead: usize) -> u8 {
        self.text.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn error(&self, problem: &str) -> SyntaxError {
        let excerpt: String = self.text[self.at..].chars().take_while(|c| *c != '\n').take(EXCERPT).collect();
        SyntaxError::new(self.line, format!("{problem}: {excerpt}"))
    }

    fn skip(&mut self) -> Result<(), SyntaxError> {
        loop {
            match (self.byte(0), self.byte(1)) {
                (b'\n', _) => {
                    self.line += 1;
                    self.at += 1;
                }
                (b' ' | b'\t' | b'\r', _) => self.at += 1,
                (b'/', b'/') => {
                    self.at += self.text[self.at..].find('\n').unwrap_or(self.text.len() - self.at);
                }
                (b'/', b'*') => {
                    let Some(length) = self.text[self.at..].find("*/") else {
                        return Err(self.error("a comment without an end"));
                    };
                    let comment = &self.text[self.at..self.at + length];
                    self.line += comment.bytes().filter(|byte| *byte == b'\n').count() as u32;
                    self.at += length + 2;
                }
                _ => return Ok(()),
            }
        }
    }

    fn next(&mut self) -> Result<Option<Placed>, SyntaxError> {
        self.skip()?;
        if self.at >= self.text.len() {
            return Ok(None);
        }
        let (start, line) = (self.at, self.line);
        let byte = self.byte(0);
        let token = match byte {
            b'.' if begins_name(self.byte(1)) || self.byte(1).is_ascii_digit() && self.is_dotted_digit() => {
                self.at += 1;
                Token::Dot(self.dotted())
            }
            _ if begins_name(byte) => self.name(),
            b'0'..=b'9' | b'.' => self.number()?,
            b'"' => self.string()?,
            _ if byte.is_ascii() => {
                self.at += 1;
                Token::Mark(char::from(byte))
            }
            _ => return Err(self.error("a character that PTX does not have")),
        };
        Ok(Some(Placed { token, line, start, end: self.at }))
    }

    /// Whether `.` and a digit begin a modifier (`.1d`) rather than a number (`.5`).
    fn is_dotted_digit(&self) -> bool {
        let digits = (1..).take_while(|ahead| self.byte(*ahead).is_ascii_digit()).count();
        begins_name(self.byte(1 + digits)) && !matches!(self.byte(1 + digits), b'e' | b'E')
    }

    /// The rest of a modifier; `::` belongs to it.
    fn dotted(&mut self) -> String {
        let start = self.at;
        loop {
            while in_name(self.byte(0)) {
                self.at += 1;
            }
            if self.byte(0) == b':' && self.byte(1) == b':' && in_name(self.byte(2)) {
                self.at += 2;
            } else {
                return self.text[start..self.at].to_owned();
            }
        }
    }

    fn name(&mut self) -> Token {
        let start = self.at;
        self.at += 1;
        while in_name(self.byte(0)) {
            self.at += 1;
        }
        if has_component(&self.text[start..self.at])
            && self.byte(0) == b'.'
            && matches!(self.byte(1), b'x' | b'y' | b'z' | b'w')
            && !in_name(self.byte(2))
        {
            self.at += 2;
        }
        Token::Name(self.text[start..self.at].to_owned())
    }

    fn number(&mut self) -> Result<Token, SyntaxError> {
        let hex = |lexer: &Self, from: usize, digits: usize| {
            let text = lexer.text.get(lexer.at + from..lexer.at + from + digits)?;
            u64::from_str_radix(text, 16).ok()
        };
        if self.byte(0) == b'0' && matches!(self.byte(1), b'f' | b'F' | b'd' | b'D') {
            let single = matches!(self.byte(1), b'f' | b'F');
            let digits = if single { 8 } else { 16 };
            let bits =
                hex(self, 2, digits).ok_or_else(|| self.error("a number of 8 or 16 hexadecimal digits"))?;
            self.at += 2 + digits;
            return Ok(if single { Token::F32(bits as u32) } else { Token::F64(bits) });
        }
        let (radix, prefix) = match (self.byte(0), self.byte(1)) {
            (b'0', b'x' | b'X') => (16, 2),
            (b'0', b'b' | b'B') => (2, 2),
            (b'0', b'0'..=b'7') => (8, 1),
            _ => (10, 0),
        };
        let start = self.at + prefix;
        let digits =
            self.text.as_bytes()[start..].iter().take_while(|b| char::from(**b).is_digit(radix)).count();
        let end = start + digits;
        let next = self.text.as_bytes().get(end).copied().unwrap_or(0);
        if radix == 10 && matches!(next, b'.' | b'e' | b'E') {
            return self.decimal();
        }
        let value = u64::from_str_radix(&self.text[start..end], radix)
            .map_err(|_| self.error("a number that 64 bits do not hold"))?;
        self.at = end;
        if self.byte(0) == b'U' {
            self.at += 1;
        }
        Ok(Token::Integer(value))
    }

    fn decimal(&mut self) -> Result<Token, SyntaxError> {
        let bytes = self.text.as_bytes();
        let mut end = self.at;
        while end < bytes.len() {
            let sign_of_exponent = matches!(bytes[end], b'+' | b'-') && matches!(bytes[end - 1], b'e' | b'E');
            if !(bytes[end].is_ascii_digit() || matches!(bytes[end], b'.' | b'e' | b'E') || sign_of_exponent)
            {
                break;
            }
            end += 1;
        }
        let value: f64 = self.text[self.at..end].parse().map_err(|_| self.error("a number"))?;
        self.at = end;
        Ok(Token::F64(value.to_bits()))
    }

    fn string(&mut self) -> Result<Token, SyntaxError> {
        let rest = &self.text[self.at + 1..];
        match rest.find(['"', '\n']) {
            Some(length) if rest.as_bytes()[length] == b'"' => {
                self.at += length + 2;
                Ok(Token::Text(rest[..length].to_owned()))
            }
            _ => Err(self.error("a text without an end")),
        }
    }
}
