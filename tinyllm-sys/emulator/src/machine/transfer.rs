//! Moves between registers and memory once every lane's place is known and checked.

use crate::{
    kernel::{Element, Transfer},
    lanes::{LANES, Registers, Slot},
    memory::{load, store},
};

/// A place in the host's memory for each lane; null where the lane takes no part.
pub(super) type Places = [*mut u8; LANES];

/// Lanes of a mask, lowest first.
#[inline(always)]
pub(super) fn lanes_of(mask: u32) -> impl Iterator<Item = usize> {
    let mut left = mask;
    std::iter::from_fn(move || {
        let lane = left.trailing_zeros() as usize;
        (left != 0).then(|| {
            left &= left - 1;
            lane
        })
    })
}

/// Reads one element of each lane into a register.
macro_rules! read {
    ($ty:ty, $registers:ident.$row:ident($slot:ident), $places:ident, $at:ident, $mask:ident, |$value:ident| $into:expr) => {{
        let row = $registers.$row($slot);
        let read = |lane: usize| {
            // SAFETY: the caller checked that each lane of the mask has its whole element there, aligned; what others use
            // meanwhile is used through words alone.
            let $value = unsafe { load::<{ size_of::<$ty>() }>($places[lane].wrapping_add($at)) } as $ty;
            $into
        };
        if $mask == u32::MAX {
            for (lane, out) in row.iter_mut().enumerate() {
                *out = read(lane);
            }
        } else {
            for lane in lanes_of($mask) {
                row[lane] = read(lane);
            }
        }
    }};
}

fn read_element(
    registers: &mut Registers,
    slot: Slot,
    element: Element,
    places: &Places,
    at: usize,
    mask: u32,
) {
    let wide = element.register_bits == 64;
    match (element.bytes, element.signed, wide) {
        (1, false, false) => read!(u8, registers.row_mut(slot), places, at, mask, |v| u32::from(v)),
        // Registers of 16 bits hold their upper half as 0.
        (1, true, false) if element.register_bits == 16 => {
            read!(u8, registers.row_mut(slot), places, at, mask, |v| u32::from(v as i8 as u16))
        }
        (1, true, false) => read!(u8, registers.row_mut(slot), places, at, mask, |v| v as i8 as u32),
        (1, false, true) => read!(u8, registers.wide_mut(slot), places, at, mask, |v| u64::from(v)),
        (1, true, true) => read!(u8, registers.wide_mut(slot), places, at, mask, |v| v as i8 as u64),
        (2, true, false) if element.register_bits == 32 => {
            read!(u16, registers.row_mut(slot), places, at, mask, |v| v as i16 as u32)
        }
        (2, _, false) => read!(u16, registers.row_mut(slot), places, at, mask, |v| u32::from(v)),
        (2, false, true) => read!(u16, registers.wide_mut(slot), places, at, mask, |v| u64::from(v)),
        (2, true, true) => read!(u16, registers.wide_mut(slot), places, at, mask, |v| v as i16 as u64),
        (4, _, false) => read!(u32, registers.row_mut(slot), places, at, mask, |v| v),
        (4, false, true) => read!(u32, registers.wide_mut(slot), places, at, mask, |v| u64::from(v)),
        (4, true, true) => read!(u32, registers.wide_mut(slot), places, at, mask, |v| v as i32 as u64),
        _ => read!(u64, registers.wide_mut(slot), places, at, mask, |v| v),
    }
}

/// Writes one element of each lane.
macro_rules! write {
    ($ty:ty, $registers:ident.$row:ident($slot:ident), $places:ident, $at:ident, $mask:ident) => {{
        let row = $registers.$row($slot);
        let write = |lane: usize| {
            // SAFETY: as for reads.
            unsafe { store::<{ size_of::<$ty>() }>($places[lane].wrapping_add($at), row[lane].into()) }
        };
        if $mask == u32::MAX {
            (0..LANES).for_each(write);
        } else {
            lanes_of($mask).for_each(write);
        }
    }};
}

fn write_element(registers: &Registers, slot: Slot, element: Element, places: &Places, at: usize, mask: u32) {
    match (element.bytes, element.register_bits == 64) {
        (1, false) => write!(u8, registers.row(slot), places, at, mask),
        (1, true) => write!(u8, registers.wide(slot), places, at, mask),
        (2, false) => write!(u16, registers.row(slot), places, at, mask),
        (2, true) => write!(u16, registers.wide(slot), places, at, mask),
        (4, false) => write!(u32, registers.row(slot), places, at, mask),
        (4, true) => write!(u32, registers.wide(slot), places, at, mask),
        _ => write!(u64, registers.wide(slot), places, at, mask),
    }
}

/// Reads what a load loads. Every lane of the mask has all its elements at its place, aligned to each element.
pub(super) fn read(registers: &mut Registers, transfer: &Transfer, places: &Places, mask: u32) {
    for (index, slot) in transfer.registers.iter().enumerate() {
        if let Some(slot) = *slot {
            let at = index * transfer.element.bytes as usize;
            read_element(registers, slot, transfer.element, places, at, mask);
        }
    }
}

/// Writes what a store stores; as [`read()`].
pub(super) fn write(registers: &Registers, transfer: &Transfer, places: &Places, mask: u32) {
    for (index, slot) in transfer.registers.iter().enumerate() {
        if let Some(slot) = *slot {
            let at = index * transfer.element.bytes as usize;
            write_element(registers, slot, transfer.element, places, at, mask);
        }
    }
}

/// One lane's element as a number, for comparing.
pub(super) fn lane_value(registers: &Registers, slot: Slot, element: Element, lane: usize) -> u64 {
    let value = match element.register_bits {
        64 => registers.wide(slot)[lane],
        _ => u64::from(registers.row(slot)[lane]),
    };
    if element.bytes == 8 { value } else { value & ((1 << (8 * element.bytes)) - 1) }
}
