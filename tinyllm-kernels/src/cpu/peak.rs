//! A benchmark of int8 times int16 multiply-adds from registers and L1: the upper bound of prefill speed.

use super::{
    Cpu,
    lanes::{Kernel, LANES, Lanes, dispatch},
};

/// Independent sums at most: as many as the tallest matmul tile has.
const CHAINS: usize = 12;

/// Inputs that stay in L1.
const INPUTS: usize = 512;

impl Cpu {
    /// Multiplies int8 weights with int16 inputs and adds, on every thread, `rounds` times over a few inputs in L1.
    /// Returns the number of multiplications and additions; the time they take is the lower bound of every W8A16
    /// matmul.
    pub fn multiply(&self, rounds: usize) -> u64 {
        self.pool.run(|_| {
            // SAFETY: `Cpu::new` checked that the processor has the instruction set.
            std::hint::black_box(unsafe { dispatch(self.isa, Multiply { rounds }) });
        });
        // SAFETY: `Cpu::new` checked that the processor has the instruction set.
        let chains = unsafe { dispatch(self.isa, Chains) };
        (self.pool.workers() * rounds * (INPUTS / CHAINS) * chains * LANES * 4) as u64
    }
}

/// How many sums the instruction set's matmul tile has.
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
        // SAFETY: the processor has `L` (the contract of `Kernel::run`).
        unsafe {
            match L::TILE_ROWS {
                12 => multiply::<L, 12>(self.rounds),
                6 => multiply::<L, 6>(self.rounds),
                _ => multiply::<L, 4>(self.rounds),
            }
        }
    }
}

/// `R` sums, each over inputs of its own, as in a tile of `R` rows.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
unsafe fn multiply<L: Lanes, const R: usize>(rounds: usize) -> [f32; LANES] {
    let inputs: [i32; INPUTS] = std::array::from_fn(|index| index as i32);
    let mut out = [0.0; LANES];
    // SAFETY: the processor has `L` (this function's contract); weights are 32 int8 on the stack.
    unsafe {
        let weights = L::load_pairs(std::hint::black_box(&[1i8; 2 * LANES]).as_ptr());
        let mut sums = [L::zero_sums(); R];
        for _ in 0..rounds {
            // `black_box`: the compiler would multiply constants at compile time.
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
            // 42 chunks of twelve inputs, of which a tile takes as many as it has rows; for each input and lane two
            // multiplications and two additions.
            let rows = if isa == Isa::Avx512 {
                12
            } else if isa == Isa::Avx2 {
                6
            } else {
                4
            };
            assert_eq!(Cpu::new(isa, 2).unwrap().multiply(3), 2 * 3 * 42 * rows * 16 * 4);
            // SAFETY: the processor has `isa`, checked above.
            let sums = unsafe { dispatch(isa, Multiply { rounds: 3 }) };
            // Input i is the pair (i, 0), weights are 1: the sum of each chunk's first `rows` inputs.
            let expected: u64 = (0..42).map(|chunk| (0..rows).map(|row| chunk * 12 + row).sum::<u64>()).sum();
            assert_eq!(sums, [3.0 * expected as f32; LANES], "{isa}");
        }
    }
}
