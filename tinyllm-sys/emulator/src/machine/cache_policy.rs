//! `createpolicy`: a policy changes no result, but what it is made from is checked.

use super::{context::Context, transfer::lanes_of, warp::Warp};
use crate::{
    kernel::Portion,
    lanes::{LANES, Lane, Slot},
};

impl Context<'_> {
    pub(super) fn cache_policy(
        &mut self,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        d: Slot,
        priority: u64,
        portion: &Portion,
    ) {
        for lane in lanes_of(mask) {
            if let Some(note) = problem(warp, lane, portion) {
                self.find_misuse(pc, warp.index, lane, note);
            }
        }
        <u64 as Lane>::write(&mut warp.registers, d, &[priority; LANES], mask);
    }
}

/// What the manual does not allow.
fn problem(warp: &Warp, lane: usize, portion: &Portion) -> Option<String> {
    match portion {
        Portion::Fraction(slot) => {
            let fraction = f32::from_bits(warp.registers.row(*slot)[lane]);
            let allowed = fraction > 0.0 && fraction <= 1.0;
            (!allowed).then(|| format!("a fraction of {fraction}; it has to be above 0 and at most 1"))
        }
        Portion::Range { primary, total, .. } => {
            let [primary, total] = [primary, total].map(|slot| warp.registers.row(*slot)[lane]);
            (primary > total).then(|| format!("{primary} bytes of first priority, of {total} in all"))
        }
    }
}
