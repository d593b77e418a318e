//! The W8A16 weight format and the operations of a transformer, with the same bits on every CPU.
//!
//! A model is a [`Program`]: operations as data over named regions. A [`Backend`] compiles it, after which its memory
//! requirements are known to the byte; bound to memory it is a [`Session`], which runs one [`Step`] after another.
//! Nothing here is specific to LLaMA, and no operation allocates.
//!
//! ```
//! use tinyllm_kernels::{GroupSize, quantize::quantize_row};
//! let weights = [0.1, -0.2, 0.3, 0.4];
//! let group = GroupSize::Elements(32).elements(weights.len());
//! let (mut q, mut scales) = ([0; 4], [half::f16::ZERO; 1]);
//! quantize_row("w", 0, &weights, group, &mut q, &mut scales)?;
//! for (q, w) in q.iter().zip(weights) {
//!     assert!((f32::from(*q) * scales[0].to_f32() - w).abs() <= scales[0].to_f32() / 2.0);
//! }
//! # Ok::<(), tinyllm_kernels::KernelError>(())
//! ```

mod backend;
mod cpu;
#[cfg(feature = "cuda")]
mod cuda;
mod error;
mod finite;
mod format;
mod isa;
mod program;
pub mod quantize;
mod rotary;

pub use tinyllm_mem::Category;

pub use backend::{
    Backend, BlockCopy, Bytes, Capabilities, Compiled, FetchedRows, FloatRows, Keep, Null, Outputs,
    QuantizedMatrix, Requirements, Session, Source, TensorId, Ticket,
};
pub use cpu::{Cpu, DecodeThreads, Reading};
#[cfg(feature = "cuda")]
pub use cuda::{Cuda, CudaLimits, DeviceMemory};
pub use error::KernelError;
use format::MAX_PIECES;
pub use format::{GroupSize, MAX_PIECE, Pieces, ScaleType, WeightFormat};
pub use isa::{ISA_VARIABLE, Isa, UnknownIsa};
pub use program::{
    Entry, EntryId, KvFormat, KvShape, Limits, LinearPart, Matmul, Op, Placement, Program, ProgramBuilder,
    RegionFormat, RegionId, RegionSpec, RowSet, Step, StepInput, VectorFormat, VectorId, VectorSpec,
    WeightId, WeightSpec,
};
