//! Why a module is not loaded.

use crate::ptx::SyntaxError;

/// PTX that cannot be run.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// It is not PTX.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// An instruction, or a form of one, that the interpreter does not have.
    #[error("line {line}: {instruction}: {problem}")]
    Unsupported {
        /// The line in the PTX.
        line: u32,
        /// As written.
        instruction: String,
        /// What about it.
        problem: String,
    },
    /// A declaration that cannot be honoured.
    #[error("line {line}: {name}: {problem}")]
    Declaration {
        /// The line in the PTX.
        line: u32,
        /// What is declared.
        name: String,
        /// What about it.
        problem: String,
    },
}
