//! exp and SiLU over lanes: our own polynomials, because a library's differ from machine to machine.

use super::lanes::Lanes;

/// e^x, within 2 ulp from -87 to 88; 0 below, the largest power above. NaN stays NaN.
#[inline(always)]
pub(crate) unsafe fn exp<L: Lanes>(x: L::Floats) -> L::Floats {
    // SAFETY: the instruction set is the caller's promise.
    unsafe {
        let least = L::splat(-87.0);
        // Cody and Waite: x = n ln 2 + r with ln 2 in two parts, then a polynomial of degree 6 in r (Cephes, expf).
        // The operands' order lets NaN through.
        let bounded = L::max(least, x);
        let bounded = L::select_less(L::splat(88.0), bounded, L::splat(88.0), bounded);
        let n = L::round(L::mul(bounded, L::splat(std::f32::consts::LOG2_E)));
        let r = L::fma_lanes(n, L::splat(-0.693_359_4), bounded);
        let r = L::fma_lanes(n, L::splat(2.121_944_4e-4), r);
        let mut polynomial = L::splat(1.987_569_1e-4);
        for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            polynomial = L::fma_lanes(polynomial, r, L::splat(coefficient));
        }
        let polynomial = L::fma_lanes(polynomial, L::mul(r, r), L::add(r, L::splat(1.0)));
        let value = L::mul(polynomial, L::power_of_two(n));
        L::select_less(x, least, L::splat(0.0), value)
    }
}

/// x / (1 + e^-x).
#[inline(always)]
pub(crate) unsafe fn silu<L: Lanes>(x: L::Floats) -> L::Floats {
    // SAFETY: the instruction set is the caller's promise.
    unsafe { L::div(x, L::add(L::splat(1.0), exp::<L>(L::sub(L::splat(0.0), x)))) }
}

#[cfg(test)]
mod tests {
    use super::{super::lanes::*, *};
    use crate::Isa;

    struct Exp([f32; 16]);

    impl Kernel for Exp {
        type Output = [f32; 16];

        #[inline(always)]
        unsafe fn run<L: Lanes>(self) -> [f32; 16] {
            let mut out = [0.0; 16];
            // SAFETY: sixteen values; the instruction set is the caller's promise.
            unsafe { L::store(exp::<L>(L::load_f32(self.0.as_ptr())), &mut out) };
            out
        }
    }

    #[test]
    fn exp_is_near_and_the_same_everywhere() {
        let mut worst = 0.0f64;
        for step in -90_000..90_000 {
            let x: [f32; 16] = std::array::from_fn(|lane| step as f32 * 1e-3 + lane as f32 * 6.1e-5);
            // SAFETY: the portable lanes run anywhere.
            let portable = unsafe { dispatch(Isa::Portable, Exp(x)) };
            for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
                // SAFETY: checked above.
                let found = unsafe { dispatch(isa, Exp(x)) };
                assert_eq!(found.map(f32::to_bits), portable.map(f32::to_bits), "{isa} {x:?}");
            }
            for (x, y) in x.into_iter().zip(portable).filter(|(x, _)| (-87.0..=88.0).contains(x)) {
                let exact = f64::from(x).exp();
                worst = worst.max(((f64::from(y) - exact) / exact).abs());
            }
        }
        assert!(worst < 2.0 * f64::from(f32::EPSILON), "{worst}");
        // SAFETY: the portable lanes run anywhere.
        let edges = unsafe { dispatch(Isa::Portable, Exp([f32::NEG_INFINITY; 16])) };
        assert_eq!(edges, [0.0; 16]);
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            // SAFETY: checked above.
            let nan = unsafe { dispatch(isa, Exp([f32::NAN; 16])) };
            assert!(nan.iter().all(|x| x.is_nan()), "{isa} {nan:?}");
        }
    }
}
