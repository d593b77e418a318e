//! The arithmetic in plain loops over logical arrays: every kernel is compared with this.

/// A row cut into pieces of at most 512 elements from each group's beginning on, each with the index of its group.
fn pieces<T>(row: &[T], group: usize) -> impl Iterator<Item = (usize, &[T])> {
    row.chunks(group)
        .enumerate()
        .flat_map(|(index, group)| group.chunks(512).map(move |piece| (index, piece)))
}

/// xi `[k]` and sx `[pieces]` of a row.
pub(super) fn quantize_input(x: &[f32], group: usize) -> (Vec<i16>, Vec<f32>) {
    let mut xi = Vec::new();
    let mut sx = Vec::new();
    for (_, x) in pieces(x, group) {
        let scale = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs())) / 32767.0;
        sx.push(scale);
        xi.extend(x.iter().map(|x| {
            if scale == 0.0 { 0 } else { (x / scale).round_ties_even().clamp(-32767.0, 32767.0) as i16 }
        }));
    }
    (xi, sx)
}

/// y `[n]` of one row; `q` is `[n][k]`, `scales` `[n][groups]`.
pub(super) fn matmul(q: &[i8], scales: &[f32], k: usize, group: usize, xi: &[i16], sx: &[f32]) -> Vec<f32> {
    let groups = k.div_ceil(group);
    q.chunks(k)
        .zip(scales.chunks(groups))
        .map(|(q, scales)| {
            let mut accumulated = 0.0f32;
            for (((index, q), (_, x)), sx) in pieces(q, group).zip(pieces(xi, group)).zip(sx) {
                let dot: i32 = q.iter().zip(x).map(|(q, x)| i32::from(*q) * i32::from(*x)).sum();
                accumulated = (dot as f32 * sx).mul_add(scales[index], accumulated);
            }
            accumulated
        })
        .collect()
}
