//! Fixed two-dimensional sine-cosine positions, row first.

/// Positions of a `rows × cols` grid, `[rows * cols, width]` in raster order: `[sin(row w), cos(row w), sin(col w),
/// cos(col w)]` with `w_k = 10000^(-k / q)` for k below `q = width / 4`. MAE's tables have the column first.
pub fn sincos(rows: usize, cols: usize, width: usize) -> Vec<f32> {
    let quarter = width / 4;
    let frequency = |k: usize| 10000f64.powf(-(k as f64) / quarter as f64);
    let mut table = Vec::with_capacity(rows * cols * width);
    for cell in 0..rows * cols {
        for position in [cell / cols, cell % cols] {
            let angle = |k| position as f64 * frequency(k);
            table.extend((0..quarter).map(|k| angle(k).sin() as f32));
            table.extend((0..quarter).map(|k| angle(k).cos() as f32));
        }
    }
    table
}
