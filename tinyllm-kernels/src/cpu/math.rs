//! 2^x, e^x and SiLU over lanes, by polynomials of this crate: a math library's results differ between machines.

use super::lanes::Lanes;

/// 1.5 · 2^23 + 127. Added to a number, it leaves the nearest integer plus the exponent bias 127 in the lowest bits.
const ROUNDING: f32 = 12_583_039.0;

/// 2^x for x up to 127: relative error below 1.5 · 2^-23 from -126 up, 0 from -127 down; 2^0 is 1. NaN stays NaN.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
pub(crate) unsafe fn exp2<L: Lanes>(x: L::Floats) -> L::Floats {
    // SAFETY: the processor has `L` (this function's contract).
    unsafe {
        // In this order of operands `max` returns NaN for NaN.
        let bounded = L::max(L::splat(-127.0), x);
        let shifted = L::add(bounded, L::splat(ROUNDING));
        let r = L::sub(bounded, L::sub(shifted, L::splat(ROUNDING)));
        // The minimax polynomial of degree 5 on [-1/2, 1/2] with constant term 1 (relative error).
        let mut polynomial = L::splat(1.330_060_8e-3);
        for coefficient in [9.669_692e-3, 5.550_558_5e-2, 0.240_222_83, std::f32::consts::LN_2, 1.0] {
            polynomial = L::fma_lanes(polynomial, r, L::splat(coefficient));
        }
        L::mul(polynomial, L::exponent(shifted))
    }
}

/// e^x, within 2 ulp from -87 to 88; 0 from -88 down, the largest power above. NaN stays NaN.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
unsafe fn exp<L: Lanes>(x: L::Floats) -> L::Floats {
    // SAFETY: the processor has `L` (this function's contract).
    unsafe {
        // Cody-Waite reduction: x = n ln 2 + r, with ln 2 in two parts; then a polynomial of degree 7 in r (Cephes,
        // expf).
        let bounded = L::max(L::splat(-88.0), x);
        let bounded = L::select_less(L::splat(88.0), bounded, L::splat(88.0), bounded);
        let shifted = L::fma_lanes(bounded, L::splat(std::f32::consts::LOG2_E), L::splat(ROUNDING));
        let n = L::sub(shifted, L::splat(ROUNDING));
        let r = L::fma_lanes(n, L::splat(-0.693_359_4), bounded);
        let r = L::fma_lanes(n, L::splat(2.121_944_4e-4), r);
        let mut polynomial = L::splat(1.987_569_1e-4);
        for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
            polynomial = L::fma_lanes(polynomial, r, L::splat(coefficient));
        }
        let polynomial = L::fma_lanes(polynomial, L::mul(r, r), L::add(r, L::splat(1.0)));
        L::mul(polynomial, L::exponent(shifted))
    }
}

/// x / (1 + e^-x).
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
pub(crate) unsafe fn silu<L: Lanes>(x: L::Floats) -> L::Floats {
    // SAFETY: the processor has `L` (this function's contract).
    unsafe { L::div(x, L::add(L::splat(1.0), exp::<L>(L::sub(L::splat(0.0), x)))) }
}

#[cfg(test)]
mod tests {
    use super::{super::lanes::*, *};
    use crate::Isa;

    /// e^x, or 2^x.
    struct Powers {
        of_two: bool,
        x: [f32; 16],
    }

    impl Kernel for Powers {
        type Output = [f32; 16];

        #[inline(always)]
        unsafe fn run<L: Lanes>(self) -> [f32; 16] {
            let mut out = [0.0; 16];
            // SAFETY: `x` has sixteen values; the processor has `L` (the contract of `Kernel::run`).
            unsafe {
                let x = L::load_f32(self.x.as_ptr());
                L::store(if self.of_two { exp2::<L>(x) } else { exp::<L>(x) }, &mut out);
            }
            out
        }
    }

    /// Computes the powers, and checks that every instruction set gives the same bits.
    fn powers(of_two: bool, x: [f32; 16]) -> [f32; 16] {
        // SAFETY: every processor has the portable lanes.
        let portable = unsafe { dispatch(Isa::Portable, Powers { of_two, x }) };
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            // SAFETY: checked above.
            let found = unsafe { dispatch(isa, Powers { of_two, x }) };
            for (found, portable) in found.into_iter().zip(portable) {
                assert!(found.to_bits() == portable.to_bits() || found.is_nan() && portable.is_nan());
            }
        }
        portable
    }

    /// The largest relative error over steps of 1/1000, in units of 2^-23.
    fn worst(of_two: bool, steps: std::ops::Range<i32>, exact: fn(f64) -> f64) -> f64 {
        let mut worst = 0.0f64;
        for step in steps {
            let x: [f32; 16] = std::array::from_fn(|lane| step as f32 * 1e-3 + lane as f32 * 6.1e-5);
            for (x, y) in x.into_iter().zip(powers(of_two, x)) {
                let exact = exact(f64::from(x));
                worst = worst.max(((f64::from(y) - exact) / exact).abs());
            }
        }
        worst / f64::from(f32::EPSILON)
    }

    #[test]
    fn powers_are_near_and_the_same_everywhere() {
        let (of_e, of_two) =
            (worst(false, -87_000..87_998, f64::exp), worst(true, -126_000..126_998, f64::exp2));
        assert!(of_e < 2.0 && of_two < 1.5, "{of_e} {of_two}");
    }

    #[test]
    fn powers_at_the_edges() {
        for (of_two, least) in [(false, -88.0), (true, -127.0)] {
            for x in [f32::NEG_INFINITY, f32::MIN, 2.0 * least, least] {
                assert_eq!(powers(of_two, [x; 16]), [0.0; 16], "{x}");
            }
            assert_eq!(powers(of_two, [0.0; 16]), [1.0; 16]);
            assert!(powers(of_two, [f32::NAN; 16]).iter().all(|x| x.is_nan()));
        }
    }
}
