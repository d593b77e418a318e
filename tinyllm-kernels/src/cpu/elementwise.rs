//! Operations on single elements.

use super::{
    lanes::{Kernel, LANES, Lanes, dispatch, load_or, store_to},
    math,
};
use crate::Isa;

/// `gate = silu(gate) * up`.
pub(crate) fn silu_mul_in_place(isa: Isa, gate: &mut [f32], up: &[f32]) {
    // SAFETY: the instruction set was checked when the backend was made.
    unsafe { dispatch(isa, SiluMul { gate, up }) }
}

struct SiluMul<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Kernel for SiluMul<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        for (gate, up) in self.gate.chunks_mut(LANES).zip(self.up.chunks(LANES)) {
            // SAFETY: the instruction set is the caller's promise; addresses come from slices.
            unsafe {
                let product = L::mul(math::silu::<L>(load_or::<L>(gate, 0.0)), load_or::<L>(up, 0.0));
                store_to::<L>(product, gate);
            }
        }
    }
}
