//! A warp's registers: a row of 32 lanes for each, predicates as masks.

/// Threads of a warp.
pub(crate) const LANES: usize = 32;

/// A register's number. 32-bit and narrower registers take one row, 64-bit ones two; predicates are counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Slot(pub(crate) u32);

/// What a slot is a number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Row,
    /// A row and the next.
    Pair,
    Predicate,
}

#[derive(Clone, Copy, Debug, Hash)]
#[repr(C, align(128))]
struct Row([u32; LANES]);

/// The registers of one warp.
#[derive(Clone, Debug, Hash)]
pub(crate) struct Registers {
    rows: Box<[Row]>,
    predicates: Box<[u32]>,
}

impl Registers {
    /// So many rows and predicates, all 0.
    pub(crate) fn new(rows: usize, predicates: usize) -> Self {
        Registers {
            rows: vec![Row([0; LANES]); rows].into_boxed_slice(),
            predicates: vec![0; predicates].into_boxed_slice(),
        }
    }

    /// Makes them what another's are.
    pub(crate) fn reset(&mut self, from: &Registers) {
        self.rows.copy_from_slice(&from.rows);
        self.predicates.copy_from_slice(&from.predicates);
    }

    /// A 32-bit register.
    #[inline(always)]
    pub(crate) fn row(&self, slot: Slot) -> &[u32; LANES] {
        &self.rows[slot.0 as usize].0
    }

    /// A 32-bit register.
    #[inline(always)]
    pub(crate) fn row_mut(&mut self, slot: Slot) -> &mut [u32; LANES] {
        &mut self.rows[slot.0 as usize].0
    }

    /// A 64-bit register: its row and the next.
    #[inline(always)]
    pub(crate) fn wide(&self, slot: Slot) -> &[u64; LANES] {
        let rows = &self.rows[slot.0 as usize..slot.0 as usize + 2];
        // SAFETY: two rows are 256 bytes one after the other, aligned to 128; any bits are numbers.
        unsafe { &*rows.as_ptr().cast() }
    }

    /// A 64-bit register.
    #[inline(always)]
    pub(crate) fn wide_mut(&mut self, slot: Slot) -> &mut [u64; LANES] {
        let rows = &mut self.rows[slot.0 as usize..slot.0 as usize + 2];
        // SAFETY: as in `wide`, and borrowed alone.
        unsafe { &mut *rows.as_mut_ptr().cast() }
    }

    /// A predicate: a bit a lane.
    #[inline(always)]
    pub(crate) fn predicate(&self, slot: Slot) -> u32 {
        self.predicates[slot.0 as usize]
    }

    /// Sets a predicate in the lanes of a mask.
    #[inline(always)]
    pub(crate) fn set_predicate(&mut self, slot: Slot, value: u32, mask: u32) {
        let predicate = &mut self.predicates[slot.0 as usize];
        *predicate = (*predicate & !mask) | (value & mask);
    }
}

/// A value that a register holds in each lane.
pub(crate) trait Lane: Copy + Default {
    /// What it is held in.
    const CLASS: Class;

    /// The register's lanes.
    fn read(registers: &Registers, slot: Slot) -> [Self; LANES];

    /// Sets the lanes of a mask.
    fn write(registers: &mut Registers, slot: Slot, values: &[Self; LANES], mask: u32);
}

/// A type that is a 32-bit or 64-bit register's number seen another way.
macro_rules! lane {
    ($ty:ty, $class:ident, $read:ident, $write:ident, |$bits:ident| $from:expr, |$value:ident| $into:expr) => {
        impl Lane for $ty {
            const CLASS: Class = Class::$class;

            #[inline(always)]
            #[allow(clippy::needless_range_loop, reason = "several arrays go side by side")]
            fn read(registers: &Registers, slot: Slot) -> [Self; LANES] {
                // Loops, because the standard library's `map` of arrays is not put in line.
                let row = registers.$read(slot);
                let mut lanes = [Self::default(); LANES];
                for lane in 0..LANES {
                    let $bits = row[lane];
                    lanes[lane] = $from;
                }
                lanes
            }

            #[inline(always)]
            #[allow(clippy::needless_range_loop, reason = "several arrays go side by side")]
            fn write(registers: &mut Registers, slot: Slot, values: &[Self; LANES], mask: u32) {
                let row = registers.$write(slot);
                if mask == u32::MAX {
                    for lane in 0..LANES {
                        let $value = values[lane];
                        row[lane] = $into;
                    }
                    return;
                }
                for lane in 0..LANES {
                    let $value = values[lane];
                    row[lane] = if mask >> lane & 1 == 1 { $into } else { row[lane] };
                }
            }
        }
    };
}

lane!(u32, Row, row, row_mut, |bits| bits, |value| value);
lane!(i32, Row, row, row_mut, |bits| bits as i32, |value| value as u32);
lane!(f32, Row, row, row_mut, |bits| f32::from_bits(bits), |value| value.to_bits());
lane!(u16, Row, row, row_mut, |bits| bits as u16, |value| u32::from(value));
lane!(i16, Row, row, row_mut, |bits| bits as i16, |value| u32::from(value as u16));
lane!(u8, Row, row, row_mut, |bits| bits as u8, |value| u32::from(value));
lane!(i8, Row, row, row_mut, |bits| bits as i8, |value| u32::from(value as u8));
lane!(u64, Pair, wide, wide_mut, |bits| bits, |value| value);
lane!(i64, Pair, wide, wide_mut, |bits| bits as i64, |value| value as u64);
lane!(f64, Pair, wide, wide_mut, |bits| f64::from_bits(bits), |value| value.to_bits());

impl Lane for bool {
    const CLASS: Class = Class::Predicate;

    #[inline(always)]
    fn read(registers: &Registers, slot: Slot) -> [Self; LANES] {
        let bits = registers.predicate(slot);
        let mut lanes = [false; LANES];
        for (lane, value) in lanes.iter_mut().enumerate() {
            *value = bits >> lane & 1 == 1;
        }
        lanes
    }

    #[inline(always)]
    fn write(registers: &mut Registers, slot: Slot, values: &[Self; LANES], mask: u32) {
        let mut bits = 0;
        for (lane, value) in values.iter().enumerate() {
            bits |= u32::from(*value) << lane;
        }
        registers.set_predicate(slot, bits, mask);
    }
}
