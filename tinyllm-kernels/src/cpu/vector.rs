//! A norm's weight or a bias, in the format it is stored in.

use half::f16;

/// Borrowed elements.
#[derive(Clone, Copy, Debug)]
pub(crate) enum VectorView<'a> {
    F16(&'a [f16]),
    F32(&'a [f32]),
}

impl VectorView<'_> {
    pub(crate) fn get(&self, index: usize) -> f32 {
        match self {
            VectorView::F16(values) => values[index].to_f32(),
            VectorView::F32(values) => values[index],
        }
    }
}
