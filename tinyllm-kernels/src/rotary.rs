//! The table of rotary position embedding (RoPE), made by the processor for every device: angles in f64, cos and sin by
//! `libm`, so that every machine computes the same bits.

/// A row of the table: cos (first half of `out`) and sin (second half) of a position's angles, times `scale`.
pub(crate) fn table_row(inverse_frequencies: &[f64], scale: f64, position: u32, out: &mut [f32]) {
    let (cos, sin) = out.split_at_mut(inverse_frequencies.len());
    for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(inverse_frequencies) {
        let (sine, cosine) = libm::sincos(f64::from(position) * frequency);
        *cos = (cosine * scale) as f32;
        *sin = (sine * scale) as f32;
    }
}
