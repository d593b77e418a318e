//! Packing rows into panels, and reading a row back from any form of a weight.

use crate::{
    QuantizedMatrix, ScaleType,
    cpu::{
        lanes::{Lanes, TRANSPOSED_PAIRS},
        layout::{PANEL, PanelLayout},
    },
};

/// Packs up to sixteen rows of int8 (`[rows][row_bytes]`, k columns used; the last row may end after its k columns)
/// into one panel, `[ceil(k/2)][16][2]`, padded with 0. With twice k, rows of f16 become a panel `[k][16]`.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
pub(crate) unsafe fn pack_values<L: Lanes>(
    rows: &[u8],
    row_bytes: usize,
    k: usize,
    offset_binary: bool,
    panel: &mut [u8],
) {
    // Offset binary (q + 128) and two's complement differ in the top bit.
    let offset = if offset_binary { 0x80 } else { 0 };
    let is_full = rows.len() >= (PANEL - 1) * row_bytes + k;
    if k % 2 == 1 || !is_full {
        panel.fill(0);
    }
    let mut transposed = 0;
    if is_full {
        let blocks: &mut [[[[u8; 2]; PANEL]; TRANSPOSED_PAIRS]] =
            bytemuck::cast_slice_mut(panel.as_chunks_mut::<{ TRANSPOSED_PAIRS * 2 * PANEL }>().0);
        for out in blocks.iter_mut().take(k / (2 * TRANSPOSED_PAIRS)) {
            // SAFETY: `is_full`: sixteen rows have k columns, and sixteen bytes from `transposed` on are among them;
            // the processor has `L` (this function's contract).
            unsafe { L::transpose_pairs(rows[transposed..].as_ptr(), row_bytes, offset, out) };
            transposed += 2 * TRANSPOSED_PAIRS;
        }
    }
    for (lane, row) in rows.chunks(row_bytes.max(1)).enumerate() {
        for column in transposed..k {
            panel[(column / 2 * PANEL + lane) * 2 + column % 2] = row[column] ^ offset;
        }
    }
}

/// A group's scales of up to sixteen rows, `[rows][groups]`.
#[inline(always)]
fn pack_scales<const SIZE: usize>(scales: &[u8], groups: usize, group: usize, out: &mut [u8]) {
    let scales = scales.as_chunks::<SIZE>().0;
    for (lane, out) in out.as_chunks_mut::<SIZE>().0.iter_mut().enumerate() {
        *out = scales.get(lane * groups + group).copied().unwrap_or([0; SIZE]);
    }
}

/// Packs up to sixteen rows into one panel of their format, padded with 0.
///
/// # Safety
/// The processor has `L`.
#[inline(always)]
pub(crate) unsafe fn pack_rows<L: Lanes>(rows: &QuantizedMatrix<&[u8]>, panel: &mut [u8]) {
    let layout = PanelLayout { k: rows.k, group_size: rows.group_size, scale_type: rows.scale_type };
    let (columns, groups) = (layout.group_size.elements(layout.k), layout.groups());
    for (group, panel) in panel.chunks_mut(layout.group_bytes()).enumerate() {
        let (scales, values) = panel.split_at_mut(layout.scales_bytes());
        match layout.scale_type {
            ScaleType::F16 | ScaleType::Bf16 => pack_scales::<2>(rows.scales, groups, group, scales),
            ScaleType::F32 => pack_scales::<4>(rows.scales, groups, group, scales),
        }
        let first = group * columns;
        let count = columns.min(layout.k - first);
        // SAFETY: the processor has `L` (this function's contract), which is all that it requires.
        unsafe {
            pack_values::<L>(&rows.values[first..], rows.row_bytes, count, rows.offset_binary, values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        GroupSize, Isa,
        cpu::lanes::{Kernel, Portable, dispatch},
    };

    struct Pack<'a> {
        rows: &'a [u8],
        row_bytes: usize,
        k: usize,
        offset_binary: bool,
        panel: &'a mut [u8],
    }

    impl Kernel for Pack<'_> {
        type Output = ();

        #[inline(always)]
        unsafe fn run<L: Lanes>(self) {
            let Pack { rows, row_bytes, k, offset_binary, panel } = self;
            // SAFETY: the processor has `L` (this function's contract), which is all that it requires.
            unsafe { pack_values::<L>(rows, row_bytes, k, offset_binary, panel) };
        }
    }

    /// Every row count, odd widths, rows longer than k, both signs: byte by byte.
    #[test]
    fn packing_puts_every_byte_in_its_place() {
        for (k, row_bytes) in
            [(1usize, 1), (2, 4), (7, 8), (8, 8), (9, 12), (31, 31), (16, 17), (64, 64), (130, 132)]
        {
            for rows in 1..=PANEL {
                let bytes: Vec<u8> = (0..rows * row_bytes).map(|at| (at * 89 % 251) as u8).collect();
                for offset_binary in [false, true] {
                    let mut expected = vec![0u8; k.div_ceil(2) * 2 * PANEL];
                    for (row, column) in (0..rows).flat_map(|row| (0..k).map(move |column| (row, column))) {
                        let value = bytes[row * row_bytes + column];
                        let value = if offset_binary { value.wrapping_sub(128) } else { value };
                        expected[(column / 2 * PANEL + row) * 2 + column % 2] = value;
                    }
                    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
                        for bytes in [&bytes[..], &bytes[..bytes.len() - row_bytes + k]] {
                            let mut panel = vec![0xaa; expected.len()];
                            let pack = Pack { rows: bytes, row_bytes, k, offset_binary, panel: &mut panel };
                            // SAFETY: the processor has `isa`, checked above.
                            unsafe { dispatch(isa, pack) };
                            assert_eq!(panel, expected, "{isa:?}: {rows} rows of {k} in {row_bytes}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn a_panel_has_scales_before_the_values_of_each_group() {
        for (k, group_size) in
            [(64usize, GroupSize::Elements(32)), (70, GroupSize::Elements(32)), (9, GroupSize::Channel)]
        {
            for (count, scale_type) in [(16, ScaleType::F16), (3, ScaleType::F32)] {
                let layout = PanelLayout { k, group_size, scale_type };
                let (groups, size, row_bytes) = (group_size.groups(k), scale_type.size_bytes(), k + 3);
                let values: Vec<u8> = (0..count * row_bytes).map(|at| (at * 89 % 251) as u8).collect();
                let scales: Vec<u8> = (0..count * groups * size).map(|at| (at * 7) as u8).collect();
                let rows = QuantizedMatrix {
                    n: count,
                    k,
                    group_size,
                    scale_type,
                    offset_binary: false,
                    row_bytes,
                    values: &values[..],
                    scales: &scales[..],
                };
                let mut panel = vec![0xaa; layout.bytes()];
                // SAFETY: every processor has the portable lanes.
                unsafe { pack_rows::<Portable>(&rows, &mut panel) };
                let (mut at, elements) = (0, group_size.elements(k));
                for group in 0..groups {
                    for row in 0..PANEL {
                        let expected = scales.get((row * groups + group) * size..).filter(|_| row < count);
                        assert_eq!(
                            &panel[at..at + size],
                            expected.map_or(&[0; 4][..size], |bytes| &bytes[..size])
                        );
                        at += size;
                    }
                    for first in (group * elements..k.min((group + 1) * elements)).step_by(2) {
                        for (row, column) in (0..PANEL).flat_map(|row| [(row, first), (row, first + 1)]) {
                            let expected =
                                if row < count && column < k { values[row * row_bytes + column] } else { 0 };
                            assert_eq!(
                                panel[at], expected,
                                "{k} {group_size:?} {count} rows: {row} {column}"
                            );
                            at += 1;
                        }
                    }
                }
                assert_eq!(at, panel.len());
            }
        }
    }
}
