//! Findings: where an undefined value was read, and where it is used.

use super::{LaneRead, Source, Undefined, Unwritten};
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
        if let Some(read) = unwritten.stored_by.and_then(|store| store.shuffled) {
            return self.find_shuffled(read, Some(unwritten), used);
        }
        let culprit = unwritten.culprit;
        let other = used.map_or(0, |(used, _)| used.pc);
        self.find(culprit, other, |context, finding| {
            finding.address = Some(unwritten.address);
            finding.place = context.launch.place(culprit.space, unwritten.address);
            if let Some(store) = unwritten.stored_by.and_then(|store| context.place(store.pc)) {
                finding.note = format!("the undefined value was put there at {store}");
            }
            finding.used = used.map(|(used, lane)| context.used(used, lane));
        });
    }

    /// An instruction of the same kernel as the finding, which says the module where it has to be said.
    fn place(&self, pc: u32) -> Option<Site> {
        self.launch.kernel.site(pc).map(|site| Site { module: None, ..site })
    }

    /// Reports a shuffle from a lane that takes no part, and the use of what it gave. The value may have been in memory between.
    fn find_shuffled(&mut self, read: LaneRead, through: Option<&Unwritten>, used: Option<(Use, usize)>) {
        let LaneRead { pc, warp, lane, from, has_ended } = read;
        self.find_with(Kind::InactiveLane, pc, warp, lane, |context, finding| {
            let why = if has_ended { "has ended" } else { "does not execute it with this one" };
            finding.note = format!("lane {lane} reads from lane {from}, which {why}");
            let stored = through.and_then(|unwritten| unwritten.stored_by);
            if let Some(store) = stored.and_then(|store| context.place(store.pc)) {
                finding.note += &format!("; the value is stored at {store}");
            }
            if let Some(load) = through.and_then(|unwritten| context.place(unwritten.culprit.pc)) {
                finding.note += &format!(", and read at {load}");
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
                Source::Lane(read) => self.find_shuffled(read, None, Some((used, lane))),
            }
            undefined.set(slot, class, lane, 0, 0);
        }
    }
}
