//! `mma.m8n8k4` of f16: four products at once, summed in f32.

use super::{
    floats::canonical,
    places::{N, SIDE, a_place, b_place, c_place},
};
use crate::{
    kernel::Mma,
    lanes::{LANES, Lane, Registers, Slot},
    numerics::*,
};

/// Columns of A.
const K: usize = 4;

/// Elements of C or D in a lane.
const SUMS: usize = 8;

pub(super) fn multiply(registers: &mut Registers, mask: u32, mma: &Mma) {
    let half = |slots: &[Slot], lane: usize, index: usize| {
        let bits = registers.row(slots[index / 2])[lane] >> (16 * (index % 2));
        half_to_f32::<F16>(bits as u16)
    };
    let (mut a, mut b) = ([[0f32; K]; SIDE], [[0f32; SIDE]; K]);
    let mut sums = [[0f32; N]; SIDE];
    for lane in 0..LANES {
        for index in 0..K {
            let (i, k) = a_place(mma, lane, index);
            a[i][k] = half(&mma.a, lane, index);
            let (k, j) = b_place(mma, lane, index);
            b[k][j] = half(&mma.b, lane, index);
        }
        for index in 0..SUMS {
            let (i, j) = c_place(mma, mma.half_c, lane, index);
            sums[i][j % N] = match mma.half_c {
                true => half(&mma.c, lane, index),
                false => f32::from_bits(registers.row(mma.c[index])[lane]),
            };
        }
    }
    for (i, (a, sums)) in a.iter().zip(&mut sums).enumerate() {
        for (a, b) in a.iter().zip(&b) {
            // The columns of the product that the row is of.
            for (sum, b) in sums.iter_mut().zip(&b[i / N * N..][..N]) {
                *sum = a.mul_add(*b, *sum);
            }
        }
    }
    for (register, slot) in mma.d.iter().enumerate() {
        let sum = |lane: usize, index: usize| {
            let (i, j) = c_place(mma, mma.half_d, lane, index);
            sums[i][j % N]
        };
        let result = std::array::from_fn(|lane| {
            if !mma.half_d {
                return canonical(sum(lane, register)).to_bits();
            }
            let [low, high] = [0, 1].map(|odd| half_from_f32_rn::<F16>(sum(lane, 2 * register + odd)));
            u32::from(low) | u32::from(high) << 16
        });
        <u32 as Lane>::write(registers, *slot, &result, mask);
    }
}
