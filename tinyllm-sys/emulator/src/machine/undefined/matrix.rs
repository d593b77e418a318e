//! `mma.sync`: an undefined element of A makes its row of D undefined, one of B its column, one of C itself. An integer 0 takes what it
//! is multiplied with away; a 0 of floats does not, which may meet an infinity.
//!
//! `movmatrix`: bits go where values go.

use super::{Origin, Undefined};
use crate::{
    kernel::{MatrixType, Mma},
    lanes::{Class, LANES, Registers, Slot},
    machine::{
        matrix::{
            places::{N, SIDE, a_place, b_place, c_place},
            transposed_lanes,
        },
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

impl Undefined {
    /// The result of a product that is about to run.
    pub(super) fn multiply(&mut self, registers: &Registers, mask: u32, mma: &Mma) {
        use MatrixType::*;
        let (packed, bits) = (mma.a_type.packed(), mma.a_type.bits());
        let class = if mma.a_type == F64 { Class::Pair } else { Class::Row };
        let zero_hides = matches!(mma.a_type, S8 | U8 | S4 | U4) || mma.a_type == B1 && !mma.xor;
        let part = |slots: &[Slot], index: usize| Part {
            slot: slots[index / packed],
            class,
            bits,
            number: index % packed,
        };
        let mut a = vec![[Element::default(); SIDE]; mma.k];
        let mut b = vec![[Element::default(); SIDE]; mma.k];
        for lane in 0..LANES {
            for index in 0..mma.a.len() * packed {
                let (i, k) = a_place(mma, lane, index);
                a[k][i] = self.element(registers, part(&mma.a, index), lane, zero_hides);
            }
            for index in 0..mma.b.len() * packed {
                let (k, j) = b_place(mma, lane, index);
                b[k][j] = self.element(registers, part(&mma.b, index), lane, zero_hides);
            }
        }
        let sums = |half: bool| if half { (2, 16) } else { (1, if class == Class::Pair { 64 } else { 32 }) };
        let (packed, bits) = sums(mma.half_c);
        let mut origins = [[None; N]; SIDE];
        for lane in 0..LANES {
            for index in 0..mma.c.len() * packed {
                let (i, j) = c_place(mma, mma.half_c, lane, index);
                let part = Part { slot: mma.c[index / packed], class, bits, number: index % packed };
                let of_c = self.element(registers, part, lane, false).undefined;
                let mut products = a.iter().zip(&b).map(|(a, b)| product(a[i], b[j]));
                origins[i][j % N] = of_c.or_else(|| products.find_map(|origin| origin));
            }
        }
        let (packed, bits) = sums(mma.half_d);
        for (register, slot) in mma.d.iter().enumerate() {
            for lane in lanes_of(mask) {
                let (mut undefined, mut origin) = (0u64, 0);
                for number in 0..packed {
                    let (i, j) = c_place(mma, mma.half_d, lane, register * packed + number);
                    if let Some(found) = origins[i][j % N] {
                        undefined |= u64::MAX >> (64 - bits) << (bits * number as u32);
                        origin = found;
                    }
                }
                self.set(*slot, class, lane, undefined, origin);
            }
        }
    }

    pub(super) fn transpose(&mut self, d: Slot, a: Slot, mask: u32) {
        let bits = transposed_lanes(self.bits.row(a));
        // The origin of each half of a word goes the way of its bits.
        let mut low = [0u32; LANES];
        let mut high = [0u32; LANES];
        for lane in lanes_of(self.lanes(a, Class::Row)) {
            let origin = self.origin_of(a, Class::Row, lane);
            (low[lane], high[lane]) = (origin & 0xffff | origin << 16, origin >> 16 | origin & 0xffff_0000);
        }
        let (low, high) = (transposed_lanes(&low), transposed_lanes(&high));
        for lane in lanes_of(mask) {
            let half = |of: u32| if bits[lane] & 0xffff != 0 { of & 0xffff } else { of >> 16 };
            let origin = half(low[lane]) | half(high[lane]) << 16;
            self.set(d, Class::Row, lane, u64::from(bits[lane]), origin);
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
