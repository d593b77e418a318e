//! A product's input: int16 with one f32 scale for each piece.

use std::mem::MaybeUninit;

use crate::{
    Isa,
    cpu::lanes::{Kernel, Lanes, dispatch},
};

/// A row of a W8A16 product's input: xi, `[k rounded up to even]` i16, then sx, `[pieces]` f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProductInputLayout {
    pub(crate) k: usize,
    /// Inputs that share a scale.
    pub(crate) piece: usize,
}

impl ProductInputLayout {
    /// Where the scales begin.
    pub(crate) fn scales_offset(self) -> usize {
        2 * self.k.next_multiple_of(2)
    }

    /// Size of a row.
    pub(crate) fn row_bytes(self) -> usize {
        self.scales_offset() + 4 * self.k.div_ceil(self.piece.max(1))
    }
}

/// The largest int16 that is used; −32768 is not, so that ranges are symmetric.
const LARGEST: f32 = 32767.0;

/// Writes `values` as a product's input to `row`. Returns false where a value is not finite.
///
/// # Safety
/// `row` is writable for [`ProductInputLayout::row_bytes`], 4-byte aligned, and does not overlap `values`; the
/// processor has `isa`.
pub(crate) unsafe fn quantize_input_row(isa: Isa, values: &[f32], piece: usize, row: *mut u8) -> bool {
    // SAFETY: the caller's promise; `values` is readable for its length.
    unsafe { quantize(isa, values.as_ptr(), values.len(), piece, row) }
}

/// As [`quantize_input_row`], where the row holds the values themselves, `[k]` f32.
///
/// # Safety
/// `row` is readable and writable for `4 * k` bytes and for the layout's row, 4-byte aligned; the processor has `isa`.
pub(crate) unsafe fn quantize_row_in_place(isa: Isa, row: *mut u8, k: usize, piece: usize) -> bool {
    // SAFETY: the caller's promise; `quantize` reads a piece before it writes it.
    unsafe { quantize(isa, row.cast(), k, piece, row) }
}

unsafe fn quantize(isa: Isa, values: *const f32, k: usize, piece: usize, row: *mut u8) -> bool {
    // SAFETY: the caller's promise.
    unsafe { dispatch(isa, QuantizeKernel { values, k, piece, row }) }
}

struct QuantizeKernel {
    values: *const f32,
    k: usize,
    piece: usize,
    row: *mut u8,
}

impl Kernel for QuantizeKernel {
    type Output = bool;

    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> bool {
        // SAFETY: the caller's promise. Nothing here is written over lanes: the compiler vectorises plain loops with
        // the instructions of the set it is compiled for.
        unsafe { quantize_with(self.values, self.k, self.piece, self.row) }
    }
}

/// The rule, written so that the compiler vectorises it. Each step is exact or rounded once, so every instruction set
/// gives the same bits.
#[inline(always)]
unsafe fn quantize_with(values: *const f32, k: usize, piece: usize, row: *mut u8) -> bool {
    let layout = ProductInputLayout { k, piece };
    let pieces = k.div_ceil(piece.max(1));
    // In place, the i16 of a piece end before the f32 of the next begin, but the scales lie where f32 wait to be read:
    // they are written at the end.
    let mut scales = [const { MaybeUninit::<f32>::uninit() }; crate::MAX_PIECES];
    let mut copy = [const { MaybeUninit::<f32>::uninit() }; crate::MAX_PIECE];
    let mut finite = true;
    for (index, scale_out) in scales[..pieces].iter_mut().enumerate() {
        let start = index * piece;
        let len = piece.min(k - start);
        // SAFETY: the piece lies within the `k` readable values; `copy` is the stack's, as long as any piece, and its
        // first `len` values are written before they are read.
        let copy = unsafe {
            std::ptr::copy_nonoverlapping(values.add(start), copy.as_mut_ptr().cast(), len);
            std::slice::from_raw_parts(copy.as_ptr().cast::<f32>(), len)
        };
        // Signs off, larger floats have larger bits, and an infinity or NaN has the largest: an exact maximum without
        // floating-point comparisons.
        let largest = copy.iter().fold(0u32, |largest, x| largest.max(x.to_bits() & 0x7fff_ffff));
        let largest = f32::from_bits(largest);
        finite &= largest.is_finite();
        let scale = if largest.is_finite() { largest / LARGEST } else { 0.0 };
        scale_out.write(scale);
        // SAFETY: the first 2·k bytes of the row are xi.
        let xi = unsafe { std::slice::from_raw_parts_mut(row.cast::<i16>().add(start), len) };
        if scale == 0.0 {
            xi.fill(0);
        } else {
            for (xi, x) in xi.iter_mut().zip(copy) {
                let rounded = (x / scale).round_ties_even().clamp(-LARGEST, LARGEST);
                // SAFETY: x is finite and the scale is not 0, so this is a number within ±32767.
                *xi = unsafe { rounded.to_int_unchecked::<i32>() } as i16;
            }
        }
    }
    if !k.is_multiple_of(2) {
        // SAFETY: the odd tail's partner lies before the scales.
        unsafe { row.cast::<i16>().add(k).write(0) };
    }
    // SAFETY: the layout's row has room for `pieces` scales behind xi, at a multiple of 4 bytes; all were written above.
    unsafe {
        let out = row.add(layout.scales_offset()).cast::<f32>();
        std::ptr::copy_nonoverlapping(scales.as_ptr().cast(), out, pieces);
    }
    finite
}
