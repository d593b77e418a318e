//! Calls through a register that cannot be made.

use super::{Fault, context::Context, warp::Warp};
use crate::{lanes::Slot, report::Kind};

impl Context<'_> {
    /// The address is none of a function that the call's prototype or list allows.
    #[cold]
    pub(super) fn wrong_call(
        &mut self,
        warp: &Warp,
        pc: u32,
        mask: u32,
        address: Slot,
        others: &[(Slot, String)],
    ) -> Fault {
        let lane = mask.trailing_zeros() as usize;
        let address = warp.registers.wide(address)[lane];
        let other = others.iter().find(|(slot, _)| warp.registers.wide(*slot)[lane] == address);
        let note = match other {
            Some((_, name)) => format!("{name} takes or returns something else than what is called here"),
            None => format!("no function of the module is at {address:#x}"),
        };
        self.cannot_call(warp, pc, mask, note)
    }

    #[cold]
    pub(super) fn cannot_call(&mut self, warp: &Warp, pc: u32, mask: u32, note: String) -> Fault {
        let lane = mask.trailing_zeros() as usize;
        self.find_at(Kind::InvalidCall, pc, warp.index, lane, note, None);
        Fault::INVALID_PC
    }
}
