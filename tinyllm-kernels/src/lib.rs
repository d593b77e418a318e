//! The W8A16 weight format and the operations of a transformer, with the same bits on every CPU.
//!
//! A model is a [`Program`]: operations as data over named regions. A [`Backend`] says what memory it needs, and runs
//! it one [`Step`] at a time. Nothing here knows of LLaMA, and no operation allocates.
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
mod error;
mod format;
mod isa;
mod kv_layout;
mod program;
pub mod quantize;
mod source;

pub use backend::{Backend, Requirements, WeightSource};
pub use cpu::{Cpu, CpuWeights, DecodeThreads, Prepared, Reading};
pub use error::KernelError;
use format::MAX_PIECES;
pub use format::{GroupSize, MAX_PIECE, Pieces, ScaleType, WeightFormat};
pub use isa::{ISA_VARIABLE, Isa, UnknownIsa};
pub use kv_layout::{KvFormat, KvLayout};
pub use program::{
    InputFormat, Limits, LinearPart, Op, Placement, Product, Program, ProgramBuilder, RegionId, RegionSpec,
    Rows, Step, VectorFormat, VectorId, VectorSpec, WeightId, WeightSpec,
};
pub use source::{FetchedRows, FloatRows, MappedWeight, QuantizedLayout, QuantizedRows};
