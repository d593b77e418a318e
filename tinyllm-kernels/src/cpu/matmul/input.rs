//! The input of a W8A16 matmul: int16 activations with one f32 scale for each piece.

use std::mem::MaybeUninit;

use crate::{
    Isa, Pieces,
    cpu::lanes::{Kernel, LANES, Lanes, dispatch, load_or},
};

/// The layout of a row: xi, `[k rounded up to even]` i16, then sx, `[pieces]` f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ActivationLayout {
    pub(crate) k: usize,
    pub(crate) pieces: Pieces,
}

impl ActivationLayout {
    /// Where the scales begin.
    pub(crate) fn scales_offset(self) -> usize {
        2 * self.k.next_multiple_of(2)
    }

    /// Size of a row.
    pub(crate) fn row_bytes(self) -> usize {
        self.scales_offset() + 4 * self.pieces.count(self.k)
    }
}

/// The largest magnitude of an int16 activation; −32768 is not used, so that the range is symmetric.
const LARGEST: f32 = 32767.0;

/// Quantises `values` to a matmul's input in `row`. Returns false if a value is not finite.
///
/// # Safety
/// `row` is writable for [`ActivationLayout::row_bytes`], 4-byte aligned, does not overlap `values`, and no other
/// thread uses it; the processor has `isa`.
pub(crate) unsafe fn round_row(isa: Isa, values: &[f32], pieces: Pieces, row: *mut u8) -> bool {
    // SAFETY: this function's contract; `values` is readable for its length.
    unsafe { quantize(isa, values.as_ptr(), values.len(), pieces, row) }
}

/// As [`round_row`], with the values in the row itself, `[k]` f32.
///
/// # Safety
/// `row` is readable and writable for `4 * k` initialised bytes and for the layout's row, 4-byte aligned, and no other
/// thread uses it; the processor has `isa`.
pub(crate) unsafe fn round_row_in_place(isa: Isa, row: *mut u8, k: usize, pieces: Pieces) -> bool {
    // SAFETY: this function's contract; the values are in the row from its first byte on.
    unsafe { quantize(isa, row.cast(), k, pieces, row) }
}

/// # Safety
/// `values` is readable for `k` f32, and does not overlap `row` or begins with it; `row` is writable for
/// [`ActivationLayout::row_bytes`], 4-byte aligned, and no other thread uses it; the processor has `isa`.
unsafe fn quantize(isa: Isa, values: *const f32, k: usize, pieces: Pieces, row: *mut u8) -> bool {
    // SAFETY: this function's contract is the kernel's.
    unsafe { dispatch(isa, QuantizeKernel { values, k, pieces, row }) }
}

struct QuantizeKernel {
    values: *const f32,
    k: usize,
    pieces: Pieces,
    row: *mut u8,
}

impl Kernel for QuantizeKernel {
    type Output = bool;

    /// In place, the i16 of a chunk end before the f32 that are not read yet; the scales would overwrite such f32, so
    /// they are written last.
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> bool {
        let QuantizeKernel { values, k, pieces, row } = self;
        let layout = ActivationLayout { k, pieces };
        let mut scales = [const { MaybeUninit::<f32>::uninit() }; crate::MAX_PIECES];
        // There are at most `MAX_PIECES` pieces: `program/check.rs` refuses regions with more.
        let scales = &mut scales[..pieces.count(k)];
        let mut finite = true;
        // SAFETY: pieces lie within the `k` readable values and within xi, the first 2·k bytes of the row; the row also
        // has room for xi's padding of an odd k and for the scales after it, at a multiple of 4 bytes (the contract of
        // `quantize`, the only caller). Each scale is initialised before it is read. In place, chunk by chunk the
        // values are read before i16 are written to the first half of their bytes or before.
        unsafe {
            for (piece, scale) in pieces.ranges(k).zip(&mut *scales) {
                let largest = largest_magnitude::<L>(values.add(piece.start), piece.len());
                finite &= largest.is_finite();
                scale.write(if largest.is_finite() { largest / LARGEST } else { 0.0 });
            }
            for (piece, scale) in pieces.ranges(k).zip(&*scales) {
                let scale = scale.assume_init();
                let xi = row.cast::<i16>().add(piece.start);
                if scale == 0.0 {
                    xi.write_bytes(0, piece.len());
                } else {
                    divided::<L>(values.add(piece.start), piece.len(), scale, xi);
                }
            }
            if !k.is_multiple_of(2) {
                row.cast::<i16>().add(k).write(0);
            }
            let out = row.add(layout.scales_offset()).cast::<f32>();
            std::ptr::copy_nonoverlapping(scales.as_ptr().cast(), out, scales.len());
        }
        finite
    }
}

/// The largest magnitude of some values; infinite or NaN if one of them is.
///
/// # Safety
/// `values` is readable for `len` f32; the processor has `L`.
#[inline(always)]
unsafe fn largest_magnitude<L: Lanes>(values: *const f32, len: usize) -> f32 {
    let mut lanes = [0.0; LANES];
    // SAFETY: `len` values are readable and the processor has `L` (this function's contract).
    unsafe {
        let whole = len / LANES * LANES;
        let mut largest = L::zero_floats();
        for at in (0..whole).step_by(LANES) {
            largest = L::max_magnitude(largest, L::load_f32(values.add(at)));
        }
        if whole < len {
            let rest = std::slice::from_raw_parts(values.add(whole), len - whole);
            largest = L::max_magnitude(largest, load_or::<L>(rest, 0.0));
        }
        L::store(largest, &mut lanes);
    }
    f32::from_bits(lanes.iter().fold(0, |largest, lane| largest.max(lane.to_bits())))
}

/// Divides finite values by a scale that is not 0, and rounds. In place: sixteen values are read before their sixteen
/// i16 are written at or before their address.
///
/// # Safety
/// `values` is readable for `len` f32, `out` writable for as many i16, not beyond the address of the values of the same
/// index; the processor has `L`.
#[inline(always)]
unsafe fn divided<L: Lanes>(values: *const f32, len: usize, scale: f32, out: *mut i16) {
    // SAFETY: `len` values are readable, and `out` has room for as many (this function's contract).
    unsafe {
        let (scale, whole) = (L::splat(scale), len / LANES * LANES);
        for at in (0..whole).step_by(LANES) {
            L::store_i16(L::div(L::load_f32(values.add(at)), scale), out.add(at));
        }
        if whole < len {
            let rest = std::slice::from_raw_parts(values.add(whole), len - whole);
            let mut last = [0; LANES];
            L::store_i16(L::div(load_or::<L>(rest, 0.0), scale), last.as_mut_ptr());
            std::ptr::copy_nonoverlapping(last.as_ptr(), out.add(whole), len - whole);
        }
    }
}
