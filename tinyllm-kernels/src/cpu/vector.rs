//! A norm's weight or a bias, in the format it is stored in.

use std::ops::Range;

use half::f16;

use super::lanes::{LANES, Lanes, load_or};

/// Borrowed elements.
#[derive(Clone, Copy, Debug)]
pub(crate) enum VectorView<'a> {
    F16(&'a [f16]),
    F32(&'a [f32]),
}

impl<'a> VectorView<'a> {
    /// Some of the elements.
    pub(crate) fn only(self, elements: Range<usize>) -> VectorView<'a> {
        match self {
            VectorView::F16(values) => VectorView::F16(&values[elements]),
            VectorView::F32(values) => VectorView::F32(&values[elements]),
        }
    }

    /// Sixteen elements from `start` on, 0 beyond the end.
    ///
    /// # Safety
    /// The processor has `L`.
    #[inline(always)]
    pub(crate) unsafe fn lanes<L: Lanes>(&self, start: usize) -> L::Floats {
        // SAFETY: each address has sixteen elements, of the slice or of the array on the stack; loads take any
        // alignment. The processor has `L` (this function's contract).
        unsafe {
            match self {
                VectorView::F32(values) => load_or::<L>(&values[start..], 0.0),
                VectorView::F16(values) if values.len() - start >= LANES => {
                    L::load_f16(values[start..].as_ptr())
                }
                VectorView::F16(values) => {
                    let mut lanes = [f16::ZERO; LANES];
                    lanes[..values.len() - start].copy_from_slice(&values[start..]);
                    L::load_f16(lanes.as_ptr())
                }
            }
        }
    }
}
