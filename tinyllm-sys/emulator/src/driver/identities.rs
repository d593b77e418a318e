//! Which module is which, for findings about kernels of one name: modules of one text are one, however often it is loaded.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{DefaultHasher, Hash, Hasher},
};

use crate::report::{Finding, Site};

/// All modules that were ever loaded.
#[derive(Debug, Default)]
pub(super) struct Identities {
    /// By the text's hash: from 1, in the order of their first loading.
    numbers: HashMap<u64, u32>,
    /// The modules of each kernel's name.
    modules: HashMap<String, BTreeSet<u32>>,
}

impl Identities {
    /// The number of a module's text, which has these kernels.
    pub(super) fn number<'a>(&mut self, text: &str, kernels: impl Iterator<Item = &'a str>) -> u32 {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let next = self.numbers.len() as u32 + 1;
        let number = *self.numbers.entry(hasher.finish()).or_insert(next);
        if number == next {
            for kernel in kernels {
                self.modules.entry(kernel.to_owned()).or_default().insert(number);
            }
        }
        number
    }

    /// Leaves modules in a finding where a kernel's name alone does not say which it is.
    pub(super) fn name(&self, finding: &mut Finding) {
        let several = |site: &Site| self.modules.get(&site.kernel).is_some_and(|modules| modules.len() > 1);
        let Finding { site, other, used, .. } = finding;
        let others = [
            other.as_mut().and_then(|other| other.site.as_mut()),
            used.as_mut().and_then(|used| used.site.as_mut()),
        ];
        for site in others.into_iter().chain([site.as_mut()]).flatten() {
            if !several(site) {
                site.module = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_loaded_again_is_the_same_module() {
        let mut identities = Identities::default();
        assert_eq!(identities.number("a", ["k", "l"].into_iter()), 1);
        assert_eq!(identities.number("b", ["k"].into_iter()), 2);
        assert_eq!(identities.number("a", ["k", "l"].into_iter()), 1);
        assert_eq!(identities.number("c", [].into_iter()), 3);
        assert_eq!(identities.modules["k"].len(), 2);
        assert_eq!(identities.modules["l"].len(), 1);
    }
}
