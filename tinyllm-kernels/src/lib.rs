//! The W8A16 weight format and the operations of a transformer, with the same bits on every CPU.

mod error;
mod format;
mod isa;
mod source;

pub use error::KernelError;
pub use format::{GroupSize, MAX_PIECE, ScaleType, WeightFormat};
pub use isa::{ISA_VARIABLE, Isa, UnknownIsa};
pub use source::FloatRows;
