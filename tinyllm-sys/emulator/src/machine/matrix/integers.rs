//! Products of s8, u8, s4 and u4, summed exactly; the sum wraps, or stops at the ends of s32.
//!
//! The bytes of a register of A are eight rows of sixteen columns, one after the other, those of a register of B eight columns of
//! sixteen rows: each element of D is a sum of products of such sixteens. A register of s4 or u4 is two of them, the
//! lower half of each lane's elements and the upper one: which elements of a sum come first does not matter.

use crate::{
    kernel::{MatrixType, Mma},
    lanes::{LANES, Lane, Registers},
};

/// Elements of a row or a column that a register has, and the rows or columns.
const DEPTH: usize = 16;
const ROWS: usize = 8;

/// What a register holds, or half of what it does, as numbers that are multiplied two at a time.
type Strips = [[i16; DEPTH]; ROWS];

/// Eight rows of sums: even columns first, then odd ones, as two registers of D hold them.
type Sums = [[i32; ROWS]; ROWS];

pub(super) fn multiply(registers: &mut Registers, mask: u32, mma: &Mma) {
    #[cfg(target_arch = "x86_64")]
    if crate::lanes::is_wide() {
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn wide(registers: &mut Registers, mask: u32, mma: &Mma) {
            multiply_with(registers, mask, mma, |a, b, sums| add_products_avx2(a, b, sums));
        }
        // SAFETY: this processor has what it is compiled for.
        return unsafe { wide(registers, mask, mma) };
    }
    multiply_with(registers, mask, mma, add_products);
}

#[inline(always)]
fn multiply_with(
    registers: &mut Registers,
    mask: u32,
    mma: &Mma,
    add_products: impl Fn(&Strips, &Strips, &mut Sums),
) {
    let halves = mma.m / ROWS;
    let parts = parts(mma.a_type);
    let mut b = [[[[0; DEPTH]; ROWS]; 2]; 2];
    for (strips, slot) in b.iter_mut().zip(&mma.b) {
        for (part, strips) in strips.iter_mut().enumerate().take(parts) {
            *strips = even_first(strips_of(registers.row(*slot), mma.b_type, part));
        }
    }
    let mut results = [[0u32; LANES]; 4];
    for half in 0..halves {
        let mut sums = [[0; ROWS]; ROWS];
        for (b, slot) in b.iter().zip(mma.a.iter().skip(half).step_by(halves)) {
            for (part, b) in b.iter().enumerate().take(parts) {
                add_products(&strips_of(registers.row(*slot), mma.a_type, part), b, &mut sums);
            }
        }
        for odd in 0..2 {
            let index = 2 * half + odd;
            let c = registers.row(mma.c[index]);
            for (lane, (result, c)) in results[index].iter_mut().zip(c).enumerate() {
                let (c, sum) = (*c as i32, sums[lane / 4][4 * odd + lane % 4]);
                *result = if mma.saturate { c.saturating_add(sum) } else { c.wrapping_add(sum) } as u32;
            }
        }
    }
    for (slot, result) in mma.d.iter().zip(&results) {
        <u32 as Lane>::write(registers, *slot, result, mask);
    }
}

/// Sixteens in each row of a register.
#[inline(always)]
fn parts(ty: MatrixType) -> usize {
    if matches!(ty, MatrixType::S4 | MatrixType::U4) { 2 } else { 1 }
}

/// The numbers in a register, or in one of its parts.
#[inline(always)]
fn strips_of(row: &[u32; LANES], ty: MatrixType, part: usize) -> Strips {
    let mut strips = [[0; DEPTH]; ROWS];
    let numbers = strips.as_flattened_mut().chunks_exact_mut(4).zip(row);
    match ty {
        MatrixType::S8 => numbers.for_each(|(numbers, word)| {
            numbers
                .iter_mut()
                .zip(word.to_le_bytes())
                .for_each(|(number, byte)| *number = i16::from(byte as i8));
        }),
        MatrixType::S4 | MatrixType::U4 => numbers.for_each(|(numbers, word)| {
            for (index, number) in numbers.iter_mut().enumerate() {
                let bits = (word >> (16 * part + 4 * index) & 0xf) as i16;
                let negative = ty == MatrixType::S4 && bits >= 8;
                *number = if negative { bits - 16 } else { bits };
            }
        }),
        _ => numbers.for_each(|(numbers, word)| {
            numbers.iter_mut().zip(word.to_le_bytes()).for_each(|(number, byte)| *number = i16::from(byte));
        }),
    }
    strips
}

/// Columns 0, 2, 4, 6, 1, 3, 5, 7.
#[inline(always)]
fn even_first(columns: Strips) -> Strips {
    let [a, b, c, d, e, f, g, h] = columns;
    [a, c, e, g, b, d, f, h]
}

fn add_products(a: &Strips, b: &Strips, sums: &mut Sums) {
    for (a, sums) in a.iter().zip(sums) {
        for (b, sum) in b.iter().zip(sums) {
            *sum += a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>();
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn add_products_avx2(a: &Strips, b: &Strips, sums: &mut Sums) {
    use std::arch::x86_64::*;
    #[inline(always)]
    fn numbers(strip: &[i16; DEPTH]) -> __m256i {
        // SAFETY: both are 32 bytes, any of which are numbers.
        unsafe { std::mem::transmute(*strip) }
    }
    let b: [__m256i; ROWS] = [
        numbers(&b[0]),
        numbers(&b[1]),
        numbers(&b[2]),
        numbers(&b[3]),
        numbers(&b[4]),
        numbers(&b[5]),
        numbers(&b[6]),
        numbers(&b[7]),
    ];
    for (a, sums) in a.iter().zip(sums) {
        let a = numbers(a);
        // Four columns' sums of two become sums of four, then of eight in each half of a vector.
        let four = |b: &[__m256i]| {
            let two =
                |b: &[__m256i]| _mm256_hadd_epi32(_mm256_madd_epi16(a, b[0]), _mm256_madd_epi16(a, b[1]));
            _mm256_hadd_epi32(two(&b[..2]), two(&b[2..]))
        };
        let (even, odd) = (four(&b[..4]), four(&b[4..]));
        let whole = _mm256_add_epi32(
            _mm256_permute2x128_si256::<0x20>(even, odd),
            _mm256_permute2x128_si256::<0x31>(even, odd),
        );
        // SAFETY: both are eight numbers of 32 bits.
        let whole: [i32; ROWS] = unsafe { std::mem::transmute(whole) };
        sums.iter_mut().zip(whole).for_each(|(sum, products)| *sum += products);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn both_ways_give_the_same() {
        if !crate::lanes::is_wide() {
            return;
        }
        let mut state = 7u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            [-128, 127, 255, 0, (state >> 24) as i16 - 128][(state >> 16) as usize % 5]
        };
        for _ in 0..100 {
            let a: Strips = std::array::from_fn(|_| std::array::from_fn(|_| next()));
            let b: Strips = std::array::from_fn(|_| std::array::from_fn(|_| next()));
            let (mut plain, mut wide) = ([[5; ROWS]; ROWS], [[5; ROWS]; ROWS]);
            add_products(&a, &b, &mut plain);
            // SAFETY: this processor has what it is compiled for.
            unsafe { add_products_avx2(&a, &b, &mut wide) };
            assert_eq!(plain, wide);
        }
    }
}
