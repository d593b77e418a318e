//! Why a module is not loaded, or a kernel of it cannot be had.

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
    /// A kernel, with everything in it, or in what it calls, that cannot be run. The other kernels of its module can.
    #[error("{}", list(.problems))]
    Kernel {
        /// As it is called in the PTX.
        name: String,
        /// In the order of the lines, at most [`LoadError::MOST_PROBLEMS`].
        problems: Vec<LoadError>,
    },
}

impl LoadError {
    /// Problems of a kernel that are listed.
    pub const MOST_PROBLEMS: usize = 100;

    /// The line in the PTX, 0 where there is no one.
    pub fn line(&self) -> u32 {
        match self {
            LoadError::Unsupported { line, .. } | LoadError::Declaration { line, .. } => *line,
            LoadError::Syntax(error) => error.line,
            LoadError::Kernel { problems, .. } => problems.first().map_or(0, LoadError::line),
        }
    }
}

fn list(problems: &[LoadError]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
