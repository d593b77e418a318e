//! All findings of an emulator: those that differ in nothing but the thread or the moment are one.

use crate::report::{Finding, Site};

#[derive(Debug, Default)]
pub(super) struct Findings {
    list: Vec<Finding>,
}

impl Findings {
    pub(super) fn add(&mut self, finding: Finding) {
        match self.list.iter_mut().find(|known| is_same(known, &finding)) {
            Some(known) => known.count += finding.count,
            None => self.list.push(finding),
        }
    }

    pub(super) fn list(&self) -> &[Finding] {
        &self.list
    }
}

/// A line of a module.
fn place(site: &Site) -> (String, Option<u32>, u32) {
    (site.kernel.clone(), site.module, site.ptx_line)
}

fn is_same(a: &Finding, b: &Finding) -> bool {
    let site = |finding: &Finding| finding.site.as_ref().map(place);
    let name = |finding: &Finding| finding.place.as_ref().map(|place| (place.name.clone(), place.relation));
    let other = |finding: &Finding| {
        finding.other.as_ref().map(|other| (other.site.as_ref().map(place), other.work.clone()))
    };
    // Between blocks it is the instructions that make it the same, not which blocks they were.
    a.kind == b.kind
        && site(a) == site(b)
        && name(a) == name(b)
        && a.space == b.space
        && (a.kind == crate::report::Kind::GlobalRace || other(a) == other(b))
        && (a.site.is_some() || a.address == b.address)
}
