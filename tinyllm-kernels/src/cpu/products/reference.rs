//! The rules in plain loops over logical arrays: what every version is compared with.

/// xi `[k]` and sx `[pieces]` of a row.
pub(super) fn quantize_input(x: &[f32], piece: usize) -> (Vec<i16>, Vec<f32>) {
    let mut xi = Vec::new();
    let mut sx = Vec::new();
    for x in x.chunks(piece) {
        let scale = x.iter().fold(0.0f32, |largest, x| largest.max(x.abs())) / 32767.0;
        sx.push(scale);
        xi.extend(x.iter().map(|x| {
            if scale == 0.0 { 0 } else { (x / scale).round_ties_even().clamp(-32767.0, 32767.0) as i16 }
        }));
    }
    (xi, sx)
}

/// y `[n]` of one row; `q` is `[n][k]`, `scales` `[n][groups]`.
pub(super) fn product(q: &[i8], scales: &[f32], k: usize, group: usize, xi: &[i16], sx: &[f32]) -> Vec<f32> {
    let piece = group.min(512);
    let groups = k.div_ceil(group);
    q.chunks(k)
        .zip(scales.chunks(groups))
        .map(|(q, scales)| {
            let mut accumulated = 0.0f32;
            for (index, (q, x)) in q.chunks(piece).zip(xi.chunks(piece)).enumerate() {
                let dot: i32 = q.iter().zip(x).map(|(q, x)| i32::from(*q) * i32::from(*x)).sum();
                accumulated = (dot as f32 * sx[index]).mul_add(scales[index * piece / group], accumulated);
            }
            accumulated
        })
        .collect()
}
