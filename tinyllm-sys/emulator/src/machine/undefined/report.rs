//! Findings: where an undefined value was read, and where it is used.

use super::{Source, Undefined, Unwritten};
use crate::{
    lanes::{Class, Slot},
    machine::{context::Context, transfer::lanes_of},
    report::{Kind, Site, Used},
};

/// A use that shows.
#[derive(Clone, Copy, Debug)]
pub(in crate::machine) struct Use {
    pub(in crate::machine) pc: u32,
    pub(in crate::machine) warp: u32,
    pub(in crate::machine) how: &'static str,
}

impl Context<'_> {
    /// Reports a read, and the use of what it gave where it is not the read itself.
    #[cold]
    pub(in crate::machine) fn find_unwritten(&mut self, unwritten: &Unwritten, used: Option<(Use, usize)>) {
        let culprit = unwritten.culprit;
        let other = used.map_or(0, |(used, _)| used.pc);
        self.find(culprit, other, |context, finding| {
            finding.address = Some(unwritten.address);
            finding.place = context.launch.place(culprit.space, unwritten.address);
            let site = |pc: u32| context.launch.kernel.site(pc);
            if let Some(store) = unwritten.stored_by.and_then(site) {
                // Of the same kernel as the finding, which says the module where it has to be said.
                let store = Site { module: None, ..store };
                finding.note = format!("the undefined value was put there at {store}");
            }
            finding.used = used.map(|(used, lane)| context.used(used, lane));
        });
    }

    fn used(&self, used: Use, lane: usize) -> Used {
        Used {
            how: used.how.to_owned(),
            thread: Some(self.thread(used.warp, lane)),
            site: self.launch.kernel.site(used.pc),
        }
    }

    /// Reports the undefined lanes of a mask of a register, which count as defined from then on: one mistake is one finding.
    pub(super) fn find_use(
        &mut self,
        undefined: &mut Undefined,
        (slot, class): (Slot, Class),
        mask: u32,
        used: Use,
    ) {
        for lane in lanes_of(undefined.lanes(slot, class) & mask) {
            let origin = undefined.origin_of(slot, class, lane);
            match undefined.sources[origin as usize] {
                Source::Memory(unwritten) => self.find_unwritten(&unwritten, Some((used, lane))),
                Source::Lane { pc, warp, lane: reader, from, has_ended } => {
                    let why = if has_ended { "has ended" } else { "does not execute it with this one" };
                    let note = format!("lane {reader} reads from lane {from}, which {why}");
                    let used = self.used(used, lane);
                    self.find_at(Kind::InactiveLane, pc, warp, reader, note, Some(used));
                }
            }
            undefined.set(slot, class, lane, 0, 0);
        }
    }
}
