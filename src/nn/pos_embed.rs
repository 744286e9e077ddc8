//! Two-dimensional positions: the fixed sine-cosine table, and resizing a table for another grid.

use serde::{Deserialize, Serialize};

/// Which half of a sine-cosine position comes first. Equal positions on the diagonal make the two easy to mistake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionOrder {
    /// `[sin(row w), cos(row w), sin(col w), cos(col w)]`, as in BootMAE.
    #[default]
    Rows,
    /// `[sin(col w), cos(col w), sin(row w), cos(row w)]`, as in MAE.
    Columns,
}

/// How a table of positions is made fit for another grid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionResize {
    /// Cubic convolution with a = −0.75, indices beyond the edge clamped, also where the grid shrinks: PyTorch's
    /// `interpolate(mode="bicubic")`, which BEiT, MAE and Transformers use.
    #[default]
    Bicubic,
    /// Cubic convolution with a = −0.5, stretched where the grid shrinks, over what lies inside: the same with
    /// `antialias=True`, which timm 1.x uses.
    Antialiased,
    /// Not at all: the sine-cosine table is computed for the new grid. No published code does so.
    Recompute,
}

/// Sine-cosine positions of a `rows × cols` grid, `[rows * cols, width]` in raster order, with the frequencies
/// `w_k = 10000^(-k / q)` for k below `q = width / 4`.
pub fn sincos(rows: usize, cols: usize, width: usize, order: PositionOrder) -> Vec<f32> {
    let quarter = width / 4;
    let frequency = |k: usize| 10000f64.powf(-(k as f64) / quarter as f64);
    let mut table = Vec::with_capacity(rows * cols * width);
    for cell in 0..rows * cols {
        let (row, col) = (cell / cols, cell % cols);
        let halves = match order {
            PositionOrder::Rows => [row, col],
            PositionOrder::Columns => [col, row],
        };
        for position in halves {
            let angle = |k| position as f64 * frequency(k);
            table.extend((0..quarter).map(|k| angle(k).sin() as f32));
            table.extend((0..quarter).map(|k| angle(k).cos() as f32));
        }
    }
    table
}

/// A table `[1 + rows * cols, width]`, class token first, resized from a grid of `from` to one of `to` (rows, columns):
/// the class token's row is copied, the others are interpolated between half-pixel centres. Equal grids leave it as it
/// is.
///
/// # Panics
/// When the table has another size, or is to be computed anew.
pub fn resize_positions(
    table: &[f32],
    width: usize,
    from: (usize, usize),
    to: (usize, usize),
    how: PositionResize,
) -> Vec<f32> {
    assert_eq!(table.len(), (1 + from.0 * from.1) * width, "a row for the class token and each of {from:?} cells");
    let (class, cells) = table.split_at(width);
    let cells: Vec<f64> = cells.iter().map(|v| f64::from(*v)).collect();
    let tall = along(&cells, from.1 * width, &weights(from.0, to.0, how));
    let cells = along(&tall, width, &weights(from.1, to.1, how));
    class.iter().copied().chain(cells.into_iter().map(|v| v as f32)).collect()
}

/// `[.., old, inner]` to `[.., new, inner]` by weights `[new][old]`.
fn along(x: &[f64], inner: usize, weights: &[Vec<f64>]) -> Vec<f64> {
    let mut y = Vec::with_capacity(x.len() / weights[0].len() * weights.len());
    for line in x.chunks(weights[0].len() * inner) {
        for weights in weights {
            let mut sums = vec![0.0; inner];
            for (old, weight) in line.chunks(inner).zip(weights).filter(|(_, weight)| **weight != 0.0) {
                sums.iter_mut().zip(old).for_each(|(sum, v)| *sum += weight * v);
            }
            y.extend(sums);
        }
    }
    y
}

/// What each of `new` places takes from each of `old`.
fn weights(old: usize, new: usize, how: PositionResize) -> Vec<Vec<f64>> {
    let scale = old as f64 / new as f64;
    let of_place = |place: usize| {
        let centre = (place as f64 + 0.5) * scale - 0.5;
        let mut weights = vec![0.0; old];
        match how {
            PositionResize::Bicubic => {
                for tap in [-1.0, 0.0, 1.0, 2.0].map(|tap| centre.floor() + tap) {
                    weights[tap.clamp(0.0, (old - 1) as f64) as usize] += cubic((centre - tap).abs(), -0.75);
                }
            }
            PositionResize::Antialiased => {
                for (at, weight) in weights.iter_mut().enumerate() {
                    *weight = cubic((centre - at as f64).abs() / scale.max(1.0), -0.5);
                }
                let sum: f64 = weights.iter().sum();
                weights.iter_mut().for_each(|weight| *weight /= sum);
            }
            PositionResize::Recompute => panic!("a table that is computed anew is not resized"),
        }
        weights
    };
    (0..new).map(of_place).collect()
}

/// The cubic convolution kernel (Keys, 1981) at a distance.
fn cubic(d: f64, a: f64) -> f64 {
    if d <= 1.0 {
        ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
    } else if d < 2.0 {
        ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
    } else {
        0.0
    }
}
