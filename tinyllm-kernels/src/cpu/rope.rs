//! Rotary position embedding (RoPE): rotates heads by rows of `crate::rotary`'s table.

use super::lanes::{Kernel, LANES, Lanes, dispatch, load_or, store_to};
use crate::Isa;

/// Rotates a head by a row of the table: the pairs are (i, i + head_dim / 2), as in Hugging Face (NeoX order).
pub(crate) fn apply(isa: Isa, head: &mut [f32], table: &[f32]) {
    // SAFETY: `isa` is a `Cpu`'s, and `Cpu::new` checked that the processor has it.
    unsafe { dispatch(isa, Rotate { head, table }) }
}

struct Rotate<'a> {
    head: &'a mut [f32],
    table: &'a [f32],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        let half = self.head.len() / 2;
        let (first, second) = self.head.split_at_mut(half);
        let (cos, sin) = self.table.split_at(half);
        let chunks = first.chunks_mut(LANES).zip(second.chunks_mut(LANES));
        for ((first, second), (cos, sin)) in chunks.zip(cos.chunks(LANES).zip(sin.chunks(LANES))) {
            // SAFETY: the processor has `L` (the contract of `Kernel::run`), which is all that these functions over
            // slices require.
            unsafe {
                let (x1, x2) = (load_or::<L>(first, 0.0), load_or::<L>(second, 0.0));
                let (cos, sin) = (load_or::<L>(cos, 0.0), load_or::<L>(sin, 0.0));
                let minus = L::sub(L::splat(0.0), x2);
                store_to::<L>(L::fma_lanes(minus, sin, L::mul(x1, cos)), first);
                store_to::<L>(L::fma_lanes(x1, sin, L::mul(x2, cos)), second);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotary::table_row;

    #[test]
    fn a_rotation_by_90_degrees_swaps_the_halves() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            let mut table = [0.0; 4];
            table_row(&[std::f64::consts::FRAC_PI_2, 0.0], 1.0, 1, &mut table);
            let mut head = [1.0, 2.0, 3.0, 4.0];
            apply(isa, &mut head, &table);
            // (x1, x2) rotated by 90 degrees is (-x2, x1); the second pair has frequency 0.
            for (found, expected) in head.into_iter().zip([-3.0, 2.0, 1.0, 4.0]) {
                assert!((found - expected).abs() < 1e-6, "{isa} {head:?}");
            }
        }
    }
}
