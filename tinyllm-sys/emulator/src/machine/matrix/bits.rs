//! Products of single bits: those that both have, or those that differ, are counted.

use crate::{
    kernel::Mma,
    lanes::{LANES, Lane, Registers},
};

pub(super) fn multiply(registers: &mut Registers, mask: u32, mma: &Mma) {
    let halves = mma.m / 8;
    let mut results = [[0u32; LANES]; 4];
    for (index, (result, c)) in results.iter_mut().zip(&mma.c).enumerate() {
        let (half, odd) = (index / 2, index % 2);
        *result = *registers.row(*c);
        for (a, b) in mma.a.iter().skip(half).step_by(halves).zip(&mma.b) {
            let (a, b) = (registers.row(*a), registers.row(*b));
            for (lane, result) in result.iter_mut().enumerate() {
                // Four lanes have a row of A, four a column of B.
                let (row, column) = (&a[lane / 4 * 4..][..4], &b[(lane % 4 * 2 + odd) * 4..][..4]);
                let count = |(a, b): (&u32, &u32)| if mma.xor { a ^ b } else { a & b }.count_ones();
                *result = result.wrapping_add(row.iter().zip(column).map(count).sum());
            }
        }
    }
    for (slot, result) in mma.d.iter().zip(&results) {
        <u32 as Lane>::write(registers, *slot, result, mask);
    }
}
