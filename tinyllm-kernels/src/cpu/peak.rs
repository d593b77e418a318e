//! Multiplying as fast as it goes: what a prompt is measured against.

use super::{
    Cpu,
    lanes::{Kernel, LANES, Lanes, dispatch},
};

/// Sums side by side at most: as many as a product's tile has.
const CHAINS: usize = 12;

/// Inputs that stay in the nearest cache.
const INPUTS: usize = 512;

impl Cpu {
    /// Multiplies int8 weights with int16 inputs and adds, on every thread, with nothing else to do: `rounds` times
    /// through a few inputs. Returns how many multiplications and additions those were; the time it takes is the limit of
    /// every W8A16 product.
    pub fn multiply(&self, rounds: usize) -> u64 {
        self.team.run(|_| {
            // SAFETY: `Cpu::new` checked that the processor has the instruction set.
            std::hint::black_box(unsafe { dispatch(self.isa, Multiply { rounds }) });
        });
        // SAFETY: as above.
        let chains = unsafe { dispatch(self.isa, Chains) };
        (self.team.members() * rounds * (INPUTS / CHAINS) * chains * LANES * 4) as u64
    }
}

/// How many sums the instruction set's tile has.
struct Chains;

impl Kernel for Chains {
    type Output = usize;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> usize {
        L::TILE_ROWS.min(CHAINS)
    }
}

struct Multiply {
    rounds: usize,
}

impl Kernel for Multiply {
    type Output = [f32; LANES];

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> [f32; LANES] {
        // SAFETY: the instruction set is among this function's terms; weights and inputs are the stack's.
        unsafe {
            match L::TILE_ROWS {
                12 => multiply::<L, 12>(self.rounds),
                6 => multiply::<L, 6>(self.rounds),
                _ => multiply::<L, 4>(self.rounds),
            }
        }
    }
}

/// `R` sums, each with inputs of its own, as in a tile of `R` rows.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
unsafe fn multiply<L: Lanes, const R: usize>(rounds: usize) -> [f32; LANES] {
    let inputs: [i32; INPUTS] = std::array::from_fn(|index| index as i32);
    let mut out = [0.0; LANES];
    // SAFETY: as above.
    unsafe {
        let weights = L::load_pairs(std::hint::black_box(&[1i8; 2 * LANES]).as_ptr());
        let mut sums = [L::zero_sums(); R];
        for _ in 0..rounds {
            // Neither weights nor inputs are known to the compiler, which would else multiply beforehand.
            let inputs = std::hint::black_box(&inputs);
            for inputs in inputs.chunks_exact(CHAINS) {
                for (sum, input) in sums.iter_mut().zip(inputs) {
                    *sum = L::dot(*sum, weights, *input);
                }
            }
        }
        let mut total = L::zero_floats();
        for sum in sums {
            total = L::scale(sum, 1.0, L::splat(1.0), total);
        }
        L::store(total, &mut out);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Isa;

    #[test]
    fn what_is_counted_is_multiplied() {
        for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
            // 42 chunks of twelve inputs, of which a tile takes as many as it has rows; two products and two sums each.
            let rows = if isa == Isa::Avx512 {
                12
            } else if isa == Isa::Avx2 {
                6
            } else {
                4
            };
            assert_eq!(Cpu::new(isa, 2).unwrap().multiply(3), 2 * 3 * 42 * rows * 16 * 4);
            // SAFETY: checked above. Inputs i are pairs (i, 0) below 2¹⁵, weights 1: the sum of the first rows of chunks.
            let sums = unsafe { dispatch(isa, Multiply { rounds: 3 }) };
            let expected: u64 = (0..42).map(|chunk| (0..rows).map(|row| chunk * 12 + row).sum::<u64>()).sum();
            assert_eq!(sums, [3.0 * expected as f32; LANES], "{isa}");
        }
    }
}
