//! Errors of this crate.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KernelError {
    /// A weight that is NaN or infinite.
    #[error("{name}: element [{row}, {column}] is {value}: weights must be finite")]
    NonFiniteWeight {
        /// The tensor.
        name: String,
        /// Its row.
        row: usize,
        /// Its column.
        column: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A scale of an int8 weight that is NaN or infinite.
    #[error("{name}: the scale of row {row}, group {group} is {value}: scales must be finite")]
    NonFiniteScale {
        /// The tensor.
        name: String,
        /// Its row.
        row: usize,
        /// The group of the row's columns.
        group: usize,
        /// NaN or an infinity.
        value: f32,
    },
    /// A scale (or a 16-bit weight) beyond f16's range.
    #[error(
        "{name}: row {row}, group {group}: {value} does not fit f16 (at most 65504); load it with f32 weights"
    )]
    F16Overflow {
        /// The tensor.
        name: String,
        /// Its row.
        row: usize,
        /// The group (or, for 16-bit weights, the column).
        group: usize,
        /// The value that does not fit.
        value: f32,
    },
    /// A matmul's input is NaN or infinite: computed from finite weights, so activations overflowed.
    #[error("{operation}: row {row} of the input is not finite")]
    NonFiniteInput {
        /// The operation, by the weight's name.
        operation: String,
        /// The token's row in the step.
        row: usize,
    },
    /// A source that cannot be read.
    #[error("{name}: {problem}")]
    Source {
        /// The tensor.
        name: String,
        /// What is wrong.
        problem: String,
    },
    /// A step or a program that contradicts itself or its limits.
    #[error("invalid {what}: {problem}")]
    Invalid {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A ticket without outputs: another submission followed, it failed, or it is another session's.
    #[error("the step's outputs are gone: another step followed, or it failed")]
    StaleTicket,
    /// A step was submitted before every weight was uploaded.
    #[error("{name} was not uploaded")]
    NotUploaded {
        /// The tensor.
        name: String,
    },
    /// An allocation or a read of mapped memory failed.
    #[error(transparent)]
    Memory(#[from] tinyllm_mem::MemError),
}
