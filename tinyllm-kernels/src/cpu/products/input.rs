//! A product's input: int16 with one f32 scale for each piece.

use std::mem::MaybeUninit;

use crate::{
    Isa, Pieces,
    cpu::lanes::{Kernel, LANES, Lanes, dispatch, load_or},
};

/// A row of a W8A16 product's input: xi, `[k rounded up to even]` i16, then sx, `[pieces]` f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProductInputLayout {
    pub(crate) k: usize,
    pub(crate) pieces: Pieces,
}

impl ProductInputLayout {
    /// Where the scales begin.
    pub(crate) fn scales_offset(self) -> usize {
        2 * self.k.next_multiple_of(2)
    }

    /// Size of a row.
    pub(crate) fn row_bytes(self) -> usize {
        self.scales_offset() + 4 * self.pieces.count(self.k)
    }
}

/// The largest int16 that is used; −32768 is not, so that ranges are symmetric.
const LARGEST: f32 = 32767.0;

/// Writes `values` as a product's input to `row`. Returns false where a value is not finite.
///
/// # Safety
/// `row` is writable for [`ProductInputLayout::row_bytes`], 4-byte aligned, and does not overlap `values`; the
/// processor has `isa`.
pub(crate) unsafe fn quantize_input_row(isa: Isa, values: &[f32], pieces: Pieces, row: *mut u8) -> bool {
    // SAFETY: this function's terms; `values` is readable for its length.
    unsafe { quantize(isa, values.as_ptr(), values.len(), pieces, row) }
}

/// As [`quantize_input_row`], where the row holds the values themselves, `[k]` f32.
///
/// # Safety
/// `row` is readable and writable for `4 * k` bytes and for the layout's row, 4-byte aligned; the processor has `isa`.
pub(crate) unsafe fn quantize_row_in_place(isa: Isa, row: *mut u8, k: usize, pieces: Pieces) -> bool {
    // SAFETY: this function's terms; `quantize` reads a piece before it writes it.
    unsafe { quantize(isa, row.cast(), k, pieces, row) }
}

/// # Safety
/// `values` is readable for `k` f32; `row` as [`quantize_input_row`] demands, where the values are elsewhere or in it from
/// its first byte on; the processor has `isa`.
unsafe fn quantize(isa: Isa, values: *const f32, k: usize, pieces: Pieces, row: *mut u8) -> bool {
    // SAFETY: the processor has `isa`; the kernel's terms are these.
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

    /// In place, the i16 end before the f32 that are still to be read, but the scales lie where f32 wait: they are written
    /// at the end.
    #[inline(always)]
    unsafe fn run<L: Lanes>(self) -> bool {
        let QuantizeKernel { values, k, pieces, row } = self;
        let layout = ProductInputLayout { k, pieces };
        let mut scales = [const { MaybeUninit::<f32>::uninit() }; crate::MAX_PIECES];
        // As many scales as pieces: `GroupSize::is_runnable` has it that there is room.
        let scales = &mut scales[..pieces.count(k)];
        let mut finite = true;
        // SAFETY: pieces lie within the `k` readable values and the 2·k first bytes of the row, which are xi; the layout's
        // row has room for the scales behind them, at a multiple of 4 bytes, and for an odd tail's partner before. Each
        // scale is written before it is read.
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

/// The largest magnitude of some values; an infinity or NaN where there is one.
///
/// # Safety
/// `values` is readable for `len` f32; the processor has `L`.
#[inline(always)]
unsafe fn largest_magnitude<L: Lanes>(values: *const f32, len: usize) -> f32 {
    let mut lanes = [0.0; LANES];
    // SAFETY: the caller has `len` readable values.
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

/// Finite values over a scale that is not 0, rounded. Each is read before anything is written where it is or behind.
///
/// # Safety
/// `values` is readable for `len` f32, `out` writable for as many i16; the processor has `L`.
#[inline(always)]
unsafe fn divided<L: Lanes>(values: *const f32, len: usize, scale: f32, out: *mut i16) {
    // SAFETY: the caller has `len` readable values, and room for as many at `out`.
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
