//! From which operation to which each region holds something.

use tinyllm_mem::Category;

use super::Program;

impl Program {
    /// For each region, the first and the last operation that touch it. The head's inputs live to the end, because
    /// the head may run again; logits live throughout, because callers read them between steps.
    pub fn lifetimes(&self) -> Vec<(usize, usize)> {
        let last = self.ops.len().saturating_sub(1);
        let mut lifetimes: Vec<Option<(usize, usize)>> = vec![None; self.regions.len()];
        for (step, op) in self.ops.iter().enumerate() {
            for region in op.regions() {
                let (first, _) = lifetimes[region.index()].unwrap_or((step, step));
                lifetimes[region.index()] = Some((first, step));
            }
        }
        lifetimes
            .into_iter()
            .zip(&self.regions)
            .enumerate()
            .map(|(index, (lifetime, region))| match lifetime {
                _ if index == self.logits.index() || region.category == Category::Logits => (0, last),
                Some((first, end)) if first < self.head_start && end >= self.head_start => (first, last),
                Some(lifetime) => lifetime,
                None => (0, 0),
            })
            .collect()
    }
}
