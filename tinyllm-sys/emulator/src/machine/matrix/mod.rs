//! `ldmatrix`, `movmatrix` and `mma.sync`, which `wmma.mma` is decoded to as well.
//!
//! Sums of floats go over k in order, one rounding for each product: the hardware's own order is not specified.

mod bits;
mod floats;
mod integers;
pub(super) mod places;
mod quad_pairs;

use super::{
    Fault, addresses::addresses, context::Context, memory::in_window, private, shared::Shared, warp::Warp,
    words::Use,
};
use crate::{
    kernel::{Address, MatrixType, Mma},
    lanes::{LANES, Lane, Slot},
};

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

/// Transposes the matrix whose row `g` the four lanes from `4 g` on have, two elements each.
pub(super) fn transpose_lanes(warp: &mut Warp, mask: u32, d: Slot, a: Slot) {
    let values = transposed_lanes(warp.registers.row(a));
    <u32 as Lane>::write(&mut warp.registers, d, &values, mask);
}

/// What each lane has of a transposed matrix.
pub(super) fn transposed_lanes(values: &[u32; LANES]) -> [u32; LANES] {
    let mut rows = [[0; 4]; 8];
    rows.as_flattened_mut().copy_from_slice(values);
    let mut lanes = [0; LANES];
    lanes.copy_from_slice(transpose(&rows).as_flattened());
    lanes
}

pub(super) fn mma(warp: &mut Warp, mask: u32, mma: &Mma) {
    let registers = &mut warp.registers;
    match mma.a_type {
        _ if mma.quad_pairs.is_some() => quad_pairs::multiply(registers, mask, mma),
        MatrixType::F64 => floats::doubles(registers, mask, mma),
        MatrixType::S8 | MatrixType::U8 | MatrixType::S4 | MatrixType::U4 => {
            integers::multiply(registers, mask, mma);
        }
        MatrixType::B1 => bits::multiply(registers, mask, mma),
        MatrixType::F16 | MatrixType::Bf16 | MatrixType::Tf32 => floats::singles(registers, mask, mma),
    }
}
