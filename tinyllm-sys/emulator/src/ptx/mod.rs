//! PTX as text: what a file says, and how it is read.

pub mod ast;
mod declaration;
mod error;
mod lexer;
mod operand;
mod parser;
#[cfg(test)]
mod tests;

pub(crate) use declaration::type_named;
pub use error::SyntaxError;
pub use parser::parse;
