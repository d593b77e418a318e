//! From which operation to which each region holds something.

use tinyllm_mem::Category;

use super::{Op, Program, RegionId};

impl Op {
    /// Every region the operation reads or writes.
    pub fn regions(&self) -> Vec<RegionId> {
        match self {
            Op::RotaryTable { out, .. } | Op::Embed { out, .. } => vec![*out],
            Op::Gather { input, out } | Op::RmsNorm { input, out, .. } | Op::ConvertInput { input, out } => {
                vec![*input, *out]
            }
            Op::ConvertInPlace { region, .. } => vec![*region],
            Op::Linear { parts } => parts.iter().flat_map(|part| [part.product.input, part.out]).collect(),
            Op::GatedLinear { gate, up, out } => vec![gate.input, up.input, *out],
            Op::RotateAndStore { q, k, v, table, .. } => vec![*q, *k, *v, *table],
            Op::Attention { q, out, .. } => vec![*q, *out],
        }
    }
}

impl Program {
    /// For each region, the first and the last operation that touch it. The head's inputs live to the end, because
    /// the head may run again; logits live throughout, because callers read them between steps.
    pub fn lifetimes(&self) -> Vec<(usize, usize)> {
        let last = self.ops.len().saturating_sub(1);
        let mut lifetimes: Vec<Option<(usize, usize)>> = vec![None; self.regions.len()];
        for (step, op) in self.ops.iter().enumerate() {
            for region in op.regions() {
                let (first, _) = lifetimes[region.0].unwrap_or((step, step));
                lifetimes[region.0] = Some((first, step));
            }
        }
        lifetimes
            .into_iter()
            .zip(&self.regions)
            .map(|(lifetime, region)| match lifetime {
                _ if region.category == Category::Logits => (0, last),
                Some((first, end)) if first < self.head_start && end >= self.head_start => (first, last),
                Some(lifetime) => lifetime,
                None => (0, 0),
            })
            .collect()
    }
}
