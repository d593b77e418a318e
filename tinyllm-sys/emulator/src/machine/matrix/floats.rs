//! Products of floats: f16, bf16 and tf32 summed in f32, f64 in f64.

use super::places::{N, c_place};
use crate::{
    kernel::{MatrixType, Mma},
    lanes::{LANES, Lane, Registers},
    machine::transfer::lanes_of,
    numerics::*,
};

/// A sum as it is stored: one NaN.
#[inline(always)]
pub(super) fn canonical(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(0x7fff_ffff) } else { value }
}

/// f16, bf16 and tf32, summed in f32.
pub(super) fn singles(registers: &mut Registers, mask: u32, mma: &Mma) {
    let run = singles_loop();
    run(registers, mask, mma);
}

type Loop = fn(&mut Registers, u32, &Mma);

/// The loop for this processor: both give the same bits.
fn singles_loop() -> Loop {
    #[cfg(target_arch = "x86_64")]
    if crate::lanes::is_wide() {
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn wide(registers: &mut Registers, mask: u32, mma: &Mma) {
            singles_by_type(registers, mask, mma);
        }
        // SAFETY: only how it may be called differs between the two types, and this processor has what it needs.
        return unsafe { std::mem::transmute::<unsafe fn(&mut Registers, u32, &Mma), Loop>(wide) };
    }
    singles_by_type
}

#[inline(always)]
fn singles_by_type(registers: &mut Registers, mask: u32, mma: &Mma) {
    match mma.a_type {
        MatrixType::F16 => singles_of::<2>(registers, mask, mma, |bits, element| {
            half_to_f32::<F16>((bits >> (16 * element)) as u16)
        }),
        MatrixType::Bf16 => singles_of::<2>(registers, mask, mma, |bits, element| {
            half_to_f32::<Bf16>((bits >> (16 * element)) as u16)
        }),
        // The lowest 13 bits of tf32 are not part of the number.
        _ => singles_of::<1>(registers, mask, mma, |bits, _| f32::from_bits(bits & !0x1fff)),
    }
}

/// Rows of B, at most.
const K: usize = 16;

/// Lanes of a group: those that share a row of A, or a column of B.
const THREADS: usize = 4;
const GROUPS: usize = LANES / THREADS;

/// `PACKED` elements fit a register of A and B, which are of one type.
#[inline(always)]
fn singles_of<const PACKED: usize>(
    registers: &mut Registers,
    mask: u32,
    mma: &Mma,
    value: impl Fn(u32, usize) -> f32 + Copy,
) {
    let halves = mma.m / GROUPS;
    // A register of A has eight rows, one after the other, of as many columns as a group has elements.
    let mut a = [[0f32; LANES * 2]; 4];
    for (a, slot) in a.iter_mut().zip(&mma.a) {
        let row = registers.row(*slot);
        for (elements, bits) in a.chunks_exact_mut(PACKED).zip(row) {
            for (element, out) in elements.iter_mut().enumerate() {
                *out = value(*bits, element);
            }
        }
    }
    // A register of B has eight columns: rows are put together, even columns first, as they are in C and D.
    let mut b = [[0f32; N]; K];
    for (b, slot) in b.chunks_exact_mut(THREADS * PACKED).zip(&mma.b) {
        let row = registers.row(*slot);
        for (thread, b) in b.chunks_exact_mut(PACKED).enumerate() {
            let mut bits = [0; N];
            for (place, bits) in bits.iter_mut().enumerate() {
                let group = place % (N / 2) * 2 + place / (N / 2);
                *bits = row[group * THREADS + thread];
            }
            for (element, b) in b.iter_mut().enumerate() {
                for (out, bits) in b.iter_mut().zip(bits) {
                    *out = value(bits, element);
                }
            }
        }
    }
    let mut c = [[0f32; LANES]; 4];
    sums_in(registers, mma, &mut c);
    for half in 0..halves {
        let mut sums = [[0f32; N]; GROUPS];
        for (group, sums) in sums.iter_mut().enumerate() {
            for (odd, sums) in sums.chunks_exact_mut(N / 2).enumerate() {
                sums.copy_from_slice(&c[2 * half + odd][group * THREADS..][..THREADS]);
            }
        }
        for (register, b) in b.chunks_exact(THREADS * PACKED).enumerate().take(mma.b.len()) {
            let a = &a[(register * halves + half) % 4];
            for (k, b) in b.iter().enumerate() {
                for (group, sums) in sums.iter_mut().enumerate() {
                    let a = a[group * THREADS * PACKED + k];
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum = a.mul_add(*b, *sum);
                    }
                }
            }
        }
        // A vector is a row of sums; without this the compiler makes vectors of halves of rows, and shuffles A to fit.
        std::hint::black_box(&mut sums);
        for (group, sums) in sums.iter().enumerate() {
            for (odd, sums) in sums.chunks_exact(N / 2).enumerate() {
                c[2 * half + odd][group * THREADS..][..THREADS].copy_from_slice(sums);
            }
        }
    }
    sums_out(registers, mask, mma, &c);
}

/// C as f32: two registers' lanes for each eight rows, even columns and odd ones.
#[inline(always)]
fn sums_in(registers: &Registers, mma: &Mma, sums: &mut [[f32; LANES]; 4]) {
    if mma.half_c {
        for (sums, slot) in sums.chunks_exact_mut(2).zip(&mma.c) {
            let row = registers.row(*slot);
            for (element, sums) in sums.iter_mut().enumerate() {
                for (sum, bits) in sums.iter_mut().zip(row) {
                    *sum = half_to_f32::<F16>((bits >> (16 * element)) as u16);
                }
            }
        }
    } else {
        for (sums, slot) in sums.iter_mut().zip(&mma.c) {
            for (sum, bits) in sums.iter_mut().zip(registers.row(*slot)) {
                *sum = f32::from_bits(*bits);
            }
        }
    }
}

/// D from f32.
#[inline(always)]
fn sums_out(registers: &mut Registers, mask: u32, mma: &Mma, sums: &[[f32; LANES]; 4]) {
    for (index, slot) in mma.d.iter().enumerate() {
        let mut bits = [0u32; LANES];
        if mma.half_d {
            for (lane, bits) in bits.iter_mut().enumerate() {
                let [low, high] =
                    [0, 1].map(|element| half_from_f32_rn::<F16>(sums[2 * index + element][lane]));
                *bits = u32::from(low) | u32::from(high) << 16;
            }
        } else {
            for (bits, sum) in bits.iter_mut().zip(&sums[index]) {
                *bits = canonical(*sum).to_bits();
            }
        }
        <u32 as Lane>::write(registers, *slot, &bits, mask);
    }
}

pub(super) fn doubles(registers: &mut Registers, mask: u32, mma: &Mma) {
    let mut a = [[0f64; 4]; 8];
    let mut b = [[0f64; 8]; 4];
    let mut sums = [[0f64; 8]; 8];
    for lane in 0..LANES {
        a[lane / 4][lane % 4] = f64::from_bits(registers.wide(mma.a[0])[lane]);
        b[lane % 4][lane / 4] = f64::from_bits(registers.wide(mma.b[0])[lane]);
        for (index, slot) in mma.c.iter().enumerate() {
            let (i, j) = c_place(mma, false, lane, index);
            sums[i][j] = f64::from_bits(registers.wide(*slot)[lane]);
        }
    }
    for (a, sums) in a.iter().zip(&mut sums) {
        for (a, b) in a.iter().zip(&b) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = f64_fma(*a, *b, *sum, mma.rounding);
            }
        }
    }
    for (index, slot) in mma.d.iter().enumerate() {
        for lane in lanes_of(mask) {
            let (i, j) = c_place(mma, false, lane, index);
            registers.wide_mut(*slot)[lane] = sums[i][j].to_bits();
        }
    }
}
