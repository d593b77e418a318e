//! `ldmatrix` and `mma.sync`. Which lane holds which element is as the PTX manual draws it: with `g` a lane's number over 4 and
//! `t` the rest, a register of A holds row `g` (or `g + 8`), columns from `t * p`, of B column `g`, rows from `t * p`, where `p`
//! elements fit a register; C and D hold row `g` (or `g + 8`), columns `2 t` and `2 t + 1`.
//!
//! Sums of floats go over k in order, one rounding for each product: the hardware's own order is not specified.

mod floats;
mod integers;

use super::{
    Fault, addresses::addresses, context::Context, memory::in_window, private, shared::Shared, warp::Warp,
    words::Use,
};
use crate::{
    kernel::{Address, MatrixType, Mma},
    lanes::{LANES, Lane, Slot},
};

/// The largest m, n and k.
pub(super) const M: usize = 16;
pub(super) const N: usize = 8;
pub(super) const K: usize = 32;

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
        let values = if transposed { &transpose(rows) } else { rows };
        lanes.copy_from_slice(values.as_flattened());
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
        MatrixType::F64 => floats::doubles(&mut warp.registers, mask, mma),
        MatrixType::S8 | MatrixType::U8 => integers::multiply(&mut warp.registers, mask, mma),
        _ => floats::singles(&mut warp.registers, mask, mma),
    }
}
