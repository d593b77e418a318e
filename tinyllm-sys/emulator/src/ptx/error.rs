//! Why a text is not PTX.

/// A text that is not PTX, or not as far as it is understood here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct SyntaxError {
    /// The line, counted from 1.
    pub line: u32,
    /// What is wrong there.
    pub problem: String,
}

impl SyntaxError {
    pub(super) fn new(line: u32, problem: impl Into<String>) -> Self {
        SyntaxError { line, problem: problem.into() }
    }
}
