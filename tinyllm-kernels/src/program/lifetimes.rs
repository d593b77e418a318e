//! Lifetimes of regions: the operations between which each one is live.

use super::Program;

impl Program {
    /// For each region, the first and the last operation that read or write it. A region that is live where an entry
    /// begins stays live to the end, because the entry may run again; the input is live from the first operation on;
    /// the output is live throughout, because callers read it between steps.
    pub fn lifetimes(&self) -> Vec<(usize, usize)> {
        let last = self.ops.len().saturating_sub(1);
        let mut lifetimes: Vec<Option<(usize, usize)>> = vec![None; self.regions.len()];
        for (index, op) in self.ops.iter().enumerate() {
            for region in op.regions() {
                let (first, _) = lifetimes[region.index()].unwrap_or((index, index));
                lifetimes[region.index()] = Some((first, index));
            }
        }
        if let Some(input) = self.input {
            let end = lifetimes[input.index()].map_or(0, |(_, end)| end);
            lifetimes[input.index()] = Some((0, end));
        }
        let begins_an_entry = |first: usize, end: usize| {
            self.entries.iter().any(|entry| first < entry.operations.start && end >= entry.operations.start)
        };
        let lives = |(index, lifetime): (usize, Option<(usize, usize)>)| match lifetime {
            _ if index == self.output.index() => (0, last),
            Some((first, end)) if begins_an_entry(first, end) => (first, last),
            Some(lifetime) => lifetime,
            None => (0, 0),
        };
        lifetimes.into_iter().enumerate().map(lives).collect()
    }
}
