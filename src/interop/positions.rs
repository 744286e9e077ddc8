//! Tables of positions in a file: computed ones are told by their values.

use crate::{
    formats::weights::Dtype,
    nn::{PositionOrder, sincos},
};

/// How far a table of a type may be from the computed one. BootMAE computes its own in f32, off by up to 7.3e-7.
fn rounding(dtype: Dtype) -> f32 {
    match dtype {
        Dtype::F16 => 5e-4,
        Dtype::Bf16 => 4e-3,
        _ => 2e-6,
    }
}

/// The order in which `table` `[1 + rows * cols, width]` is the sine-cosine table, zeros for the class token, to within the
/// rounding of f32; none where it is another.
pub(super) fn computed(table: &[f32], width: usize, grid: (usize, usize)) -> Option<PositionOrder> {
    order(table, width, grid, Dtype::F32)
}

/// The same to within the rounding of the type that the file keeps it in.
pub(super) fn order(table: &[f32], width: usize, (rows, cols): (usize, usize), kept: Dtype) -> Option<PositionOrder> {
    let most = rounding(kept);
    let (class, cells) = table.split_at_checked(width)?;
    if !width.is_multiple_of(4) || class.iter().any(|v| v.abs() > most) {
        return None;
    }
    let near = |order: &PositionOrder| {
        let wanted = sincos(rows, cols, width, *order);
        wanted.len() == cells.len() && wanted.iter().zip(cells).all(|(a, b)| (a - b).abs() <= most)
    };
    [PositionOrder::Rows, PositionOrder::Columns].into_iter().find(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn computed_tables_are_told_from_trained_ones() {
        for wanted in [PositionOrder::Rows, PositionOrder::Columns] {
            let mut table = [vec![0.0; 16], sincos(3, 3, 16, wanted)].concat();
            assert_eq!(computed(&table, 16, (3, 3)), Some(wanted));
            let halves: Vec<f32> = table.iter().map(|v| half::f16::from_f32(*v).to_f32()).collect();
            assert_eq!(computed(&halves, 16, (3, 3)), None);
            assert_eq!(order(&halves, 16, (3, 3), Dtype::F16), Some(wanted));
            table[0] = 1e-3;
            assert_eq!(computed(&table, 16, (3, 3)), None, "the class token has a position");
        }
    }
}
