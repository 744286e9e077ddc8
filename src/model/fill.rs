//! The smoothest picture that visible pixels leave room for: what a reconstruction has to be better than. Every hidden pixel is
//! the mean of its neighbours (the discrete Laplace equation; pixels behind the picture's edge do not count).

/// Where the largest change of a round ends the search; values span about −1 to 1.
const TOLERANCE: f32 = 2e-4;

/// Rounds at most.
const MOST_ROUNDS: usize = 2000;

/// Fills hidden pixels of `image` `[channels, height, width]`, by successive over-relaxation. `hidden` has an entry for each
/// pixel in raster order.
///
/// # Panics
/// When the sizes do not belong together, or no pixel is visible.
pub fn smooth(image: &[f32], (height, width): (usize, usize), hidden: &[bool]) -> Vec<f32> {
    let area = height * width;
    assert!(hidden.len() == area && image.len().is_multiple_of(area), "an entry for each pixel");
    let visible = hidden.iter().filter(|hidden| !**hidden).count();
    assert!(visible > 0, "a visible pixel");
    let pixels: Vec<usize> = (0..area).filter(|at| hidden[*at]).collect();
    // The best factor for a hidden square as large as the picture.
    let factor = 2.0 / (1.0 + (std::f32::consts::PI / (height.max(width) + 1) as f32).sin());
    let mut out = image.to_vec();
    for channel in out.chunks_mut(area) {
        let known = channel.iter().zip(hidden).filter(|(_, hidden)| !**hidden).map(|(v, _)| f64::from(*v));
        let mean = (known.sum::<f64>() / visible as f64) as f32;
        pixels.iter().for_each(|at| channel[*at] = mean);
        for _ in 0..MOST_ROUNDS {
            let mut most = 0.0f32;
            for at in &pixels {
                let (row, column) = (at / width, at % width);
                let (mut sum, mut count) = (0.0, 0.0);
                let mut add = |there: bool, other: usize| {
                    if there {
                        sum += channel[other];
                        count += 1.0;
                    }
                };
                add(row > 0, at.wrapping_sub(width));
                add(row + 1 < height, at + width);
                add(column > 0, at.wrapping_sub(1));
                add(column + 1 < width, at + 1);
                let change = factor * (sum / count - channel[*at]);
                channel[*at] += change;
                most = most.max(change.abs());
            }
            if most < TOLERANCE {
                break;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_a_ramp_is_filled_by_the_ramp() {
        let (height, width) = (9, 12);
        let ramp: Vec<f32> = (0..2 * height * width).map(|at| (at % width) as f32 / 12.0 - 0.5).collect();
        let hidden: Vec<bool> = (0..height * width).map(|at| (3..9).contains(&(at % width))).collect();
        let mut holed = ramp.clone();
        for channel in holed.chunks_mut(height * width) {
            channel.iter_mut().zip(&hidden).filter(|(_, hidden)| **hidden).for_each(|(v, _)| *v = 7.0);
        }
        let filled = smooth(&holed, (height, width), &hidden);
        assert!(filled.iter().zip(&ramp).all(|(a, b)| (a - b).abs() < 5e-3), "{filled:?}");
    }

    #[test]
    fn visible_pixels_stay_and_hidden_ones_lie_between() {
        let image: Vec<f32> = (0..64).map(|at| ((at * 37) % 64) as f32 / 32.0 - 1.0).collect();
        let hidden: Vec<bool> = (0..64).map(|at| at % 3 != 0).collect();
        let filled = smooth(&image, (8, 8), &hidden);
        for (at, hidden) in hidden.iter().enumerate() {
            assert!(*hidden && filled[at].abs() <= 1.0 || filled[at] == image[at], "{at}");
        }
    }
}
