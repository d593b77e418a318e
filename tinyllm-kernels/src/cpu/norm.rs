//! RMS norm: `out = x / sqrt(mean(x²) + eps) * weight`.

use super::{
    lanes::{Kernel, LANES, Lanes, dispatch, load_or, store_to, tree_sum},
    vector::VectorView,
};
use crate::Isa;

/// Normalises a row. Squares are summed over sixteen lanes (element i in lane i mod 16), then lanes in a tree.
pub(crate) fn rms_norm(isa: Isa, x: &[f32], weight: VectorView<'_>, eps: f32, out: &mut [f32]) {
    // SAFETY: `isa` is a `Cpu`'s, and `Cpu::new` checked that the processor has it.
    unsafe { dispatch(isa, RmsNorm { x, weight, eps, out }) }
}

struct RmsNorm<'a> {
    x: &'a [f32],
    weight: VectorView<'a>,
    eps: f32,
    out: &'a mut [f32],
}

impl Kernel for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) {
        // SAFETY: the processor has `L` (the contract of `Kernel::run`), which is all that these functions over slices
        // require.
        unsafe {
            let mut squares = L::zero_floats();
            for x in self.x.chunks(LANES) {
                let x = load_or::<L>(x, 0.0);
                squares = L::fma_lanes(x, x, squares);
            }
            let mean = tree_sum::<L>(squares) / self.x.len() as f32;
            let factor = L::splat(1.0 / (mean + self.eps).sqrt());
            for (index, (x, out)) in self.x.chunks(LANES).zip(self.out.chunks_mut(LANES)).enumerate() {
                let weight = self.weight.lanes::<L>(index * LANES);
                store_to::<L>(L::mul(L::mul(load_or::<L>(x, 0.0), factor), weight), out);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use half::f16;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn norms_follow_the_definition(x in prop::collection::vec(-8.0f32..8.0, 1..150)) {
            let weight: Vec<f32> = (0..x.len()).map(|i| 0.5 + i as f32 / 64.0).collect();
            let halves: Vec<f16> = weight.iter().map(|w| f16::from_f32(*w)).collect();
            let mean = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>() / x.len() as f64;
            let mut first: Option<Vec<f32>> = None;
            for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
                for view in [VectorView::F32(&weight), VectorView::F16(&halves)] {
                    let mut out = vec![0.0; x.len()];
                    rms_norm(isa, &x, view, 1e-5, &mut out);
                    for (i, y) in out.iter().enumerate() {
                        let exact = f64::from(x[i]) / (mean + 1e-5).sqrt() * f64::from(weight[i]);
                        // A sum of n squares and four roundings.
                        prop_assert!((f64::from(*y) - exact).abs() <= exact.abs() * 2e-7 * (4.0 + x.len() as f64 / 16.0) + 1e-30);
                    }
                    // 0.5 + i/64 is exact in f16 for these i, so both formats give the same bits.
                    let first = first.get_or_insert_with(|| out.clone());
                    prop_assert!(first.iter().zip(&out).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", isa);
                }
            }
        }
    }
}
