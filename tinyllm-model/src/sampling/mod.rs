//! From logits to a token: penalties, filters, temperature, and a draw that depends on seed and position only.
//!
//! The chain runs in this order, each stage only where it is asked for: repetition, presence and frequency penalties →
//! top-k → top-p → min-p → temperature → draw. `temperature` 0 is the argmax of the penalised logits.

mod chain;
mod random;
mod row;

pub(crate) use chain::argmax;
pub use chain::{Sampler, Sampling};
pub use row::{SampledRow, SamplerScratch};
