//! `isspacep` of memory that lies among the device's: global or constant.

use super::{context::Context, transfer::lanes_of, warp::Warp};
use crate::{
    lanes::Slot,
    memory::{PARAM_WINDOW, SHARED_WINDOW},
};

impl Context<'_> {
    /// The lanes of a mask whose address is one of constant memory, or of global memory. Parameters are global memory too.
    pub(super) fn is_space(&self, warp: &mut Warp, mask: u32, d: Slot, a: Slot, constant: bool) {
        let addresses = *warp.registers.wide(a);
        let is = |lane: &usize| {
            let address = addresses[*lane];
            let window = address >> SHARED_WINDOW.trailing_zeros();
            let is_global = window == 0 || window == PARAM_WINDOW >> SHARED_WINDOW.trailing_zeros();
            let region = self.launch.space.index(address).map(|index| &self.launch.space.regions[index]);
            let is_constant = region.is_some_and(|region| region.constant);
            if constant { is_constant } else { !is_constant && is_global }
        };
        let set = lanes_of(mask).filter(is).fold(0, |set, lane| set | 1 << lane);
        warp.registers.set_predicate(d, set, mask);
    }
}
