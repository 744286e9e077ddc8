//! Which patches the encoder does not see: rectangles first, then random cells, as published.
//!
//! A cell is a patch position in raster order, `row * columns + column`. The published grid is 14×14 with 147 of 196
//! cells masked, 120 of them in blocks; every function takes the grid and the counts from the [`ModelConfig`] and so
//! works on rectangular grids and other counts too.

use crate::model::config::{Masking, ModelConfig};
use crate::rng::{Rng, Stream};

/// Attempts at one rectangle before a single cell is taken instead. The published sampler has no such limit; on its
/// grid a rectangle fits after a few attempts, on a tiny grid perhaps none ever does.
const ATTEMPTS: usize = 1000;

/// Covers cells with random rectangles until exactly `block_target` are covered: `[patches]`, true where covered.
///
/// A rectangle's area is uniform between `block_min` and what may still be covered (at most `block_max`), its
/// height-to-width ratio is log-uniform between `block_aspect_min` and its inverse, both sides are rounded half to even
/// and are smaller than the grid. It is kept if it covers at least one new cell and not too many. Where
/// none fits, one random uncovered cell is covered. Numbers are drawn in the published order: area, ratio, top, left.
pub fn block_mask(config: &ModelConfig, rng: &mut Rng) -> Vec<bool> {
    let mut mask = vec![false; config.patches()];
    let target = config.block_target.min(mask.len());
    let mut covered = 0;
    while covered < target {
        let room = (target - covered).min(config.block_max);
        let fitting = (0..ATTEMPTS).find_map(|_| draw_block(config, &mask, room, rng));
        let block = fitting.unwrap_or_else(|| {
            let uncovered: Vec<usize> = (0..mask.len()).filter(|&cell| !mask[cell]).collect();
            vec![uncovered[rng.below(uncovered.len())]]
        });
        covered += block.len();
        block.into_iter().for_each(|cell| mask[cell] = true);
    }
    mask
}

/// One attempt at a rectangle: the cells that it would newly cover, or none if it does not fit or covers too few or
/// too many.
fn draw_block(config: &ModelConfig, mask: &[bool], room: usize, rng: &mut Rng) -> Option<Vec<usize>> {
    let (rows, cols) = config.grid();
    let area = rng.range(config.block_min as f64, room as f64);
    let widest = -libm::log(f64::from(config.block_aspect_min));
    let ratio = libm::exp(rng.range(-widest, widest));
    let height = libm::sqrt(area * ratio).round_ties_even() as usize;
    let width = libm::sqrt(area / ratio).round_ties_even() as usize;
    if height >= rows || width >= cols {
        return None;
    }
    let top = rng.below(rows - height + 1);
    let left = rng.below(cols - width + 1);
    let cells = (top..top + height).flat_map(|row| (left..left + width).map(move |col| row * cols + col));
    let new: Vec<usize> = cells.filter(|&cell| !mask[cell]).collect();
    (1..=room).contains(&new.len()).then_some(new)
}

/// The order in which the network reads an image's patches: `[patches]` cells, the visible ones first, the last
/// `masked` ones hidden.
///
/// With [`Masking::Block`] the uncovered cells come first, then the covered ones, each part in random order, and the
/// whole is rotated right by `roll`: that many covered cells become visible, and as many more uncovered ones hidden.
/// With [`Masking::Random`] it is a uniformly random permutation and `roll` has no effect.
pub fn patch_order(config: &ModelConfig, rng: &mut Rng, roll: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..config.patches() as u32).collect();
    match config.masking {
        Masking::Random => rng.shuffle(&mut order),
        Masking::Block => {
            let mask = block_mask(config, rng);
            let keys: Vec<f64> = mask.iter().map(|&covered| f64::from(u8::from(covered)) - rng.uniform()).collect();
            order.sort_by(|&a, &b| keys[a as usize].total_cmp(&keys[b as usize]));
            order.rotate_right(roll % mask.len());
        }
    }
    order
}

/// The rotation of [`patch_order`] at a step, 0 to 3, the same for all images of its batch.
pub fn roll(seed: u64, step: u64) -> usize {
    Rng::new(seed, Stream::Roll, 0, step).below(4)
}

/// What each masked patch's error counts for: `[masked]`, in the order of the last `masked` entries of `order`.
///
/// 1 plus the share of masked cells in its 3×3 neighbourhood, itself included; cells outside the grid count as visible,
/// so the range is 10/9 to 2. All 1 where the configuration does not weight.
///
/// # Panics
/// When `order` has not one entry per patch.
pub fn loss_weights(config: &ModelConfig, order: &[u32]) -> Vec<f32> {
    assert_eq!(order.len(), config.patches(), "loss_weights: one entry per patch");
    let hidden = &order[config.visible()..];
    if !config.centre_weight {
        return vec![1.0; hidden.len()];
    }
    let (rows, cols) = config.grid();
    let mut masked = vec![false; order.len()];
    hidden.iter().for_each(|&cell| masked[cell as usize] = true);
    let weight = |&cell: &u32| {
        let (row, col) = (cell as usize / cols, cell as usize % cols);
        let near = (row.saturating_sub(1)..rows.min(row + 2))
            .flat_map(|r| (col.saturating_sub(1)..cols.min(col + 2)).map(move |c| r * cols + c));
        1.0 + near.filter(|&other| masked[other]).count() as f32 / 9.0
    };
    hidden.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> ModelConfig {
        ModelConfig::preset("base").unwrap()
    }

    fn rng(index: u64) -> Rng {
        Rng::new(3, Stream::Mask, 0, index)
    }

    fn covered(mask: &[bool]) -> usize {
        mask.iter().filter(|&&covered| covered).count()
    }

    #[test]
    fn blocks_cover_exactly_120_of_196_cells() {
        assert!((0..300).all(|index| covered(&block_mask(&base(), &mut rng(index))) == 120));
    }

    #[test]
    fn blocks_are_large_and_connected() {
        let neighbours = |mask: &[bool]| {
            (0..14 * 13).filter(|cell| mask[*cell] && mask[cell + 14]).count() as f64 / covered(mask) as f64
        };
        let (mut blocks, mut scattered) = (0.0, 0.0);
        for index in 0..100 {
            let mut mask = block_mask(&base(), &mut rng(index));
            blocks += neighbours(&mask) / 100.0;
            rng(index).shuffle(&mut mask);
            scattered += neighbours(&mask) / 100.0;
        }
        assert!(blocks > 0.75 && scattered < 0.65, "vertical neighbours: {blocks} in blocks, {scattered} scattered");
    }

    #[test]
    fn order_is_a_permutation_and_the_roll_uncovers_that_many_block_cells() {
        let config = base();
        assert_eq!((config.masked, config.visible()), (147, 49));
        for (index, turn) in (0..40).map(|i| (i, i as usize % 4)) {
            let mask = block_mask(&config, &mut rng(index));
            let order = patch_order(&config, &mut rng(index), turn);
            let visible = order[..49].iter().filter(|&&cell| mask[cell as usize]).count();
            assert_eq!(visible, turn);
            let mut sorted = order;
            sorted.sort_unstable();
            assert!(sorted.iter().copied().eq(0..196));
        }
    }

    #[test]
    fn rolls_are_equally_frequent_and_change_from_step_to_step() {
        let mut counts = [0usize; 4];
        (0..4000).for_each(|step| counts[roll(5, step)] += 1);
        assert!(counts.iter().all(|count| count.abs_diff(1000) < 120), "{counts:?}");
    }

    #[test]
    fn random_masking_hides_every_cell_equally_often() {
        let config = ModelConfig { masking: Masking::Random, ..base() };
        let mut hidden = [0usize; 196];
        for index in 0..2000 {
            patch_order(&config, &mut rng(index), 2)[49..].iter().for_each(|&cell| hidden[cell as usize] += 1);
        }
        assert!(hidden.iter().all(|count| count.abs_diff(1500) < 100), "{hidden:?}");
    }

    #[test]
    fn weights_average_1_803_over_400_block_masks() {
        let config = base();
        let mut sum = 0.0;
        for index in 0..400 {
            let weights = loss_weights(&config, &patch_order(&config, &mut rng(index), roll(3, index)));
            assert_eq!(weights.len(), 147);
            assert!(weights.iter().all(|w| (10.0 / 9.0 - 1e-6..=2.0).contains(w)));
            sum += weights.iter().sum::<f32>() / 147.0;
        }
        assert!((sum / 400.0 - 1.803).abs() < 0.005, "{}", sum / 400.0);
    }

    #[test]
    fn weights_count_masked_neighbours_in_the_order_of_the_slots() {
        let config = ModelConfig { masked: 3, block_target: 2, ..base().with_size(48, 64, 16) };
        // Rows of 4 cells; hidden are 5 and 6 in the second row and the corner 11.
        let order = [0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 5, 6];
        let weights = loss_weights(&config, &order);
        assert_eq!(weights, [1.0 + 2.0 / 9.0, 1.0 + 2.0 / 9.0, 1.0 + 3.0 / 9.0]);
        let plain = ModelConfig { centre_weight: false, ..config };
        assert_eq!(loss_weights(&plain, &order), [1.0; 3]);
    }

    #[test]
    fn blocks_cover_the_centre_most() {
        let mut counts = [0f64; 196];
        for index in 0..4000 {
            let mask = block_mask(&base(), &mut rng(index));
            (0..196).filter(|&cell| mask[cell]).for_each(|cell| counts[cell] += 1.0 / 4000.0);
        }
        let mean = |cells: &[usize]| cells.iter().map(|&cell| counts[cell]).sum::<f64>() / cells.len() as f64;
        let centre = mean(&[6 * 14 + 6, 6 * 14 + 7, 7 * 14 + 6, 7 * 14 + 7]);
        let corner = mean(&[0, 13, 13 * 14, 195]);
        let edge = mean(&(1..13).flat_map(|i| [i, 13 * 14 + i, i * 14, i * 14 + 13]).collect::<Vec<_>>());
        assert!((centre - 0.90).abs() < 0.02, "centre {centre}");
        assert!((edge - 0.28).abs() < 0.03, "edge {edge}");
        assert!((corner - 0.09).abs() < 0.02, "corner {corner}");
    }

    #[test]
    fn rectangular_and_tiny_grids_end_with_the_exact_counts() {
        for (rows, cols) in [(2, 2), (1, 8), (8, 1), (3, 3), (2, 14), (14, 3), (7, 30), (8, 8)] {
            let config = base().with_size(rows * 16, cols * 16, 16);
            config.check().unwrap();
            for index in 0..20 {
                assert_eq!(covered(&block_mask(&config, &mut rng(index))), config.block_target, "{rows}×{cols}");
                let mut order = patch_order(&config, &mut rng(index), 3);
                assert_eq!(loss_weights(&config, &order).len(), config.masked);
                order.sort_unstable();
                assert!(order.iter().copied().eq(0..(rows * cols) as u32), "{rows}×{cols}");
            }
        }
    }
}
