//! `mma.sync`: an undefined element of A makes its row of D undefined, one of B its column, one of C itself. An integer 0 takes what it
//! is multiplied with away; a 0 of floats does not, which may meet an infinity.

use super::{Origin, Undefined};
use crate::{
    kernel::{MatrixType, Mma},
    lanes::{Class, LANES, Registers, Slot},
    machine::{
        matrix::{K, M, N, a_place, b_place, c_place},
        transfer::lanes_of,
    },
};

/// An element of A or B.
#[derive(Clone, Copy, Default)]
struct Element {
    undefined: Option<Origin>,
    /// What it is multiplied with does not show.
    is_zero: bool,
}

/// Elements of a register, and the bits of each.
fn packing(ty: MatrixType) -> (usize, u32, Class) {
    match ty {
        MatrixType::F16 | MatrixType::Bf16 => (2, 16, Class::Row),
        MatrixType::Tf32 => (1, 32, Class::Row),
        MatrixType::F64 => (1, 64, Class::Pair),
        MatrixType::S8 | MatrixType::U8 => (4, 8, Class::Row),
    }
}

impl Undefined {
    /// The result of a product that is about to run.
    pub(super) fn multiply(&mut self, registers: &Registers, mask: u32, mma: &Mma) {
        let (packed, bits, class) = packing(mma.a_type);
        let integers = matches!(mma.a_type, MatrixType::S8 | MatrixType::U8);
        let mut a = [[Element::default(); K]; M];
        let mut b = [[Element::default(); N]; K];
        for lane in 0..LANES {
            for index in 0..mma.a.len() * packed {
                let (i, k) = a_place(mma, packed, lane, index);
                let part = Part { slot: mma.a[index / packed], class, bits, number: index % packed };
                a[i][k] = self.element(registers, part, lane, integers);
            }
            for index in 0..mma.b.len() * packed {
                let (k, j) = b_place(packed, lane, index);
                let part = Part { slot: mma.b[index / packed], class, bits, number: index % packed };
                b[k][j] = self.element(registers, part, lane, integers);
            }
        }
        let (packed, bits) =
            if mma.half_accumulator { (2, 16) } else { (1, if class == Class::Pair { 64 } else { 32 }) };
        let mut origins = [[None; N]; M];
        for lane in 0..LANES {
            for index in 0..mma.c.len() * packed {
                let (i, j) = c_place(lane, index);
                let part = Part { slot: mma.c[index / packed], class, bits, number: index % packed };
                origins[i][j] = self.element(registers, part, lane, false).undefined;
            }
        }
        for (i, row) in origins.iter_mut().enumerate().take(mma.m) {
            for (j, origin) in row.iter_mut().enumerate() {
                let products = a[i].iter().zip(&b).take(mma.k);
                *origin = origin.or(products.map(|(a, b)| product(*a, b[j])).find_map(|origin| origin));
            }
        }
        for (register, slot) in mma.d.iter().enumerate() {
            for lane in lanes_of(mask) {
                let (mut undefined, mut origin) = (0u64, 0);
                for number in 0..packed {
                    let (i, j) = c_place(lane, register * packed + number);
                    if let Some(found) = origins[i][j] {
                        undefined |= u64::MAX >> (64 - bits) << (bits * number as u32);
                        origin = found;
                    }
                }
                self.set(*slot, class, lane, undefined, origin);
            }
        }
    }

    fn element(&self, registers: &Registers, part: Part, lane: usize, integer: bool) -> Element {
        let of_part = |value: u64| value >> (part.bits * part.number as u32) & u64::MAX >> (64 - part.bits);
        let undefined = of_part(self.bits(part.slot, part.class, lane)) != 0;
        Element {
            undefined: undefined.then(|| self.origin_of(part.slot, part.class, lane)),
            is_zero: integer && !undefined && of_part(u64::from(registers.row(part.slot)[lane])) == 0,
        }
    }
}

/// An element in a lane of a register.
#[derive(Clone, Copy)]
struct Part {
    slot: Slot,
    class: Class,
    bits: u32,
    number: usize,
}

fn product(a: Element, b: Element) -> Option<Origin> {
    a.undefined.filter(|_| !b.is_zero).or(b.undefined.filter(|_| !a.is_zero))
}
