//! `ldmatrix` and `mma.sync`. Which lane holds which element is as the PTX manual draws it: with `g` a lane's number over 4 and
//! `t` the rest, a register of A holds row `g` (or `g + 8`), columns from `t * p`, of B column `g`, rows from `t * p`, where `p`
//! elements fit a register; C and D hold row `g` (or `g + 8`), columns `2 t` and `2 t + 1`.
//!
//! Sums of floats go over k in order, one rounding for each product: the hardware's own order is not specified.

use super::{
    Fault, addresses::addresses, context::Context, memory::in_window, private, shared::Shared,
    transfer::lanes_of, warp::Warp, words::Use,
};
use crate::{
    kernel::{Address, MatrixType, Mma},
    lanes::{LANES, Lane, Registers, Slot},
    numerics::*,
};

/// The largest m, n and k.
const M: usize = 16;
const N: usize = 8;
const K: usize = 32;

/// Row and column of the element `index` of a lane's A, `packed` of them a register.
pub(super) fn a_place(mma: &Mma, packed: usize, lane: usize, index: usize) -> (usize, usize) {
    let (group, thread) = (lane / 4, lane % 4);
    let (register, element) = (index / packed, index % packed);
    let halves = mma.m / 8;
    (group + 8 * (register % halves), thread * packed + element + 4 * packed * (register / halves))
}

/// Row and column of the element `index` of a lane's B.
pub(super) fn b_place(packed: usize, lane: usize, index: usize) -> (usize, usize) {
    let (register, element) = (index / packed, index % packed);
    (lane % 4 * packed + element + 4 * packed * register, lane / 4)
}

/// Row and column of the element `index` of a lane's C or D.
pub(super) fn c_place(lane: usize, index: usize) -> (usize, usize) {
    (lane / 4 + 8 * (index / 2), lane % 4 * 2 + index % 2)
}

/// A sum as it is stored: one NaN.
#[inline(always)]
fn canonical(value: f32) -> f32 {
    if value.is_nan() { f32::from_bits(0x7fff_ffff) } else { value }
}

impl Context<'_> {
    #[allow(clippy::too_many_arguments, reason = "the instruction has that many sides")]
    pub(super) fn load_matrix(
        &mut self,
        shared: &mut Shared,
        warp: &mut Warp,
        pc: u32,
        mask: u32,
        address: Address,
        generic: bool,
        transposed: bool,
        registers: &[Slot],
    ) -> Result<(), Fault> {
        let at = addresses(&warp.registers, address);
        let offsets = if generic { in_window(&at) } else { at };
        // Eight lanes for each matrix give the addresses of its rows.
        let rows = if registers.len() == 4 { u32::MAX } else { (1 << (8 * registers.len())) - 1 };
        let request = private::Request {
            pc,
            warp: warp.index,
            mask: rows & mask,
            offsets: &offsets,
            bytes: 16,
            what: Use::Read,
        };
        let places = self.shared(shared, &request)?;
        self.shared_races(shared, &request);
        // All are read before any is written: a register may be an address too.
        let mut rows = [[[0u32; 4]; 8]; 4];
        for (row, place) in rows.as_flattened_mut().iter_mut().zip(places).take(registers.len() * 8) {
            if !place.is_null() {
                // SAFETY: the request was for 16 aligned bytes of the block's own memory.
                *row = unsafe { place.cast::<[u32; 4]>().read() };
            }
        }
        for (slot, lanes) in registers.iter().zip(fragments(&rows, transposed)) {
            <u32 as Lane>::write(&mut warp.registers, *slot, &lanes, mask);
        }
        if !self.unwritten.is_empty() {
            self.load_matrix_undefined(warp, mask, transposed, registers);
        }
        Ok(())
    }
}

/// What each lane gets of matrices given by their rows: a register a matrix.
#[inline(always)]
pub(super) fn fragments(rows: &[[[u32; 4]; 8]; 4], transposed: bool) -> impl Iterator<Item = [u32; LANES]> {
    rows.iter().map(move |rows| {
        let mut lanes = [0; LANES];
        lanes.copy_from_slice((if transposed { transpose(rows) } else { *rows }).as_flattened());
        lanes
    })
}

/// Rows of eight elements of 16 bits, two a word, as columns.
#[inline(always)]
fn transpose(rows: &[[u32; 4]; 8]) -> [[u32; 4]; 8] {
    let mut columns = [[0; 4]; 8];
    for (index, column) in columns.iter_mut().enumerate() {
        for (pair, out) in column.iter_mut().enumerate() {
            let element = |row: usize| rows[row][index / 2] >> (16 * (index % 2)) & 0xffff;
            *out = element(2 * pair) | element(2 * pair + 1) << 16;
        }
    }
    columns
}

pub(super) fn mma(warp: &mut Warp, mask: u32, mma: &Mma) {
    match mma.a_type {
        MatrixType::F64 => doubles(&mut warp.registers, mask, mma),
        MatrixType::S8 | MatrixType::U8 => integers(&mut warp.registers, mask, mma),
        _ => {
            let run = singles_loop();
            run(&mut warp.registers, mask, mma);
        }
    }
}

type Loop = fn(&mut Registers, u32, &Mma);

/// The loop for this processor: both give the same bits.
fn singles_loop() -> Loop {
    #[cfg(target_arch = "x86_64")]
    if crate::lanes::is_wide() {
        #[target_feature(enable = "avx2,fma,bmi1,bmi2,lzcnt,popcnt")]
        fn wide(registers: &mut Registers, mask: u32, mma: &Mma) {
            singles(registers, mask, mma);
        }
        // SAFETY: only how it may be called differs between the two types, and this processor has what it needs.
        return unsafe { std::mem::transmute::<unsafe fn(&mut Registers, u32, &Mma), Loop>(wide) };
    }
    singles
}

/// f16, bf16 and tf32, summed in f32.
#[inline(always)]
fn singles(registers: &mut Registers, mask: u32, mma: &Mma) {
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
    if mma.half_accumulator {
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
        if mma.half_accumulator {
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

fn doubles(registers: &mut Registers, mask: u32, mma: &Mma) {
    let mut a = [[0f64; 4]; 8];
    let mut b = [[0f64; 8]; 4];
    let mut sums = [[0f64; 8]; 8];
    for lane in 0..LANES {
        a[lane / 4][lane % 4] = f64::from_bits(registers.wide(mma.a[0])[lane]);
        b[lane % 4][lane / 4] = f64::from_bits(registers.wide(mma.b[0])[lane]);
        for (index, slot) in mma.c.iter().enumerate() {
            let (i, j) = c_place(lane, index);
            sums[i][j] = f64::from_bits(registers.wide(*slot)[lane]);
        }
    }
    for (a, sums) in a.iter().zip(&mut sums) {
        for (a, b) in a.iter().zip(&b) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum = f64_fma(*a, *b, *sum, Rounding::Nearest);
            }
        }
    }
    for (index, slot) in mma.d.iter().enumerate() {
        for lane in lanes_of(mask) {
            let (i, j) = c_place(lane, index);
            registers.wide_mut(*slot)[lane] = sums[i][j].to_bits();
        }
    }
}

/// s8 and u8, summed exactly; the sum wraps, or stops at the ends of s32.
fn integers(registers: &mut Registers, mask: u32, mma: &Mma) {
    const PACKED: usize = 4;
    let value = |ty: MatrixType, register: u32, element: usize| {
        let byte = (register >> (8 * element)) as u8;
        if ty == MatrixType::S8 { i64::from(byte as i8) } else { i64::from(byte) }
    };
    let mut a = [[0i64; K]; M];
    let mut b = [[0i64; N]; K];
    let mut sums = [[0i64; N]; M];
    for lane in 0..LANES {
        for index in 0..mma.a.len() * PACKED {
            let (i, k) = a_place(mma, PACKED, lane, index);
            a[i][k] = value(mma.a_type, registers.row(mma.a[index / PACKED])[lane], index % PACKED);
        }
        for index in 0..mma.b.len() * PACKED {
            let (k, j) = b_place(PACKED, lane, index);
            b[k][j] = value(mma.b_type, registers.row(mma.b[index / PACKED])[lane], index % PACKED);
        }
        for (index, slot) in mma.c.iter().enumerate() {
            let (i, j) = c_place(lane, index);
            sums[i][j] = i64::from(registers.row(*slot)[lane] as i32);
        }
    }
    for (a, sums) in a.iter().zip(&mut sums).take(mma.m) {
        for (a, b) in a.iter().zip(&b).take(mma.k) {
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a * b;
            }
        }
    }
    for (index, slot) in mma.d.iter().enumerate() {
        for lane in lanes_of(mask) {
            let (i, j) = c_place(lane, index);
            let sum = match mma.saturate {
                true => sums[i][j].clamp(i64::from(i32::MIN), i64::from(i32::MAX)),
                false => sums[i][j],
            };
            registers.row_mut(*slot)[lane] = sum as u32;
        }
    }
}
