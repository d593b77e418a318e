//! Which regions an operation reads, and which it writes.

use super::{Op, RegionId};

impl Op {
    /// Every region whose rows the operation reads; those that it adds to or changes in place among them.
    pub fn reads(&self) -> Vec<RegionId> {
        match self {
            Op::RotaryTable { .. } | Op::Embed { .. } => Vec::new(),
            Op::Gather { input, .. } | Op::RmsNorm { input, .. } | Op::ConvertInput { input, .. } => {
                vec![*input]
            }
            Op::ConvertInPlace { region, .. } => vec![*region],
            Op::Linear { parts } => {
                let accumulated = parts.iter().filter(|part| part.accumulate).map(|part| part.out);
                parts.iter().map(|part| part.product.input).chain(accumulated).collect()
            }
            Op::GatedLinear { gate, up, .. } => vec![gate.input, up.input],
            Op::RotateAndStore { q, k, v, table, .. } => vec![*q, *k, *v, *table],
            Op::Attention { q, .. } => vec![*q],
        }
    }

    /// Every region whose rows the operation writes.
    pub fn writes(&self) -> Vec<RegionId> {
        match self {
            Op::RotaryTable { out, .. }
            | Op::Embed { out, .. }
            | Op::Gather { out, .. }
            | Op::RmsNorm { out, .. }
            | Op::ConvertInput { out, .. }
            | Op::GatedLinear { out, .. }
            | Op::Attention { out, .. } => vec![*out],
            Op::ConvertInPlace { region, .. } => vec![*region],
            Op::Linear { parts } => parts.iter().map(|part| part.out).collect(),
            Op::RotateAndStore { q, k, .. } => vec![*q, *k],
        }
    }

    /// The regions that the operation means to read and write: each element is read by who writes it, and before.
    pub(crate) fn in_place(&self) -> Vec<RegionId> {
        match self {
            Op::ConvertInPlace { region, .. } => vec![*region],
            Op::Linear { parts } => {
                parts.iter().filter(|part| part.accumulate).map(|part| part.out).collect()
            }
            Op::RotateAndStore { q, k, .. } => vec![*q, *k],
            _ => Vec::new(),
        }
    }

    /// Every region the operation reads or writes.
    pub fn regions(&self) -> Vec<RegionId> {
        let mut regions = self.reads();
        regions.extend(self.writes());
        regions
    }
}
