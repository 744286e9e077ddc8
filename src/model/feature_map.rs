//! Features of patches as colours: their first three principal components as red, green and blue.

/// Features of the patches of one image, each row normalised as the loss sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// What the student predicts for the hidden patches, `[masked, width]`.
    student: Vec<f32>,
    /// The hidden patches, in the order of the student's rows.
    hidden: Vec<u32>,
    /// What the momentum encoder makes of the whole image, `[patches, width]` in raster order.
    teacher: Vec<f32>,
    /// Values of a row.
    width: usize,
}

/// Whose features.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The student's, predicted.
    Student,
    /// The momentum encoder's.
    Teacher,
}

/// Rounds of the power iteration for each component.
const ROUNDS: usize = 60;

impl Features {
    /// Normalises the student's rows, as `LayerNorm` without gain and bias does; the teacher's are.
    pub fn new(mut student: Vec<f32>, hidden: Vec<u32>, teacher: Vec<f32>, width: usize, eps: f32) -> Features {
        for row in student.chunks_mut(width) {
            let mean = row.iter().sum::<f32>() / width as f32;
            let square = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / width as f32;
            row.iter_mut().for_each(|v| *v = (*v - mean) / (square + eps).sqrt());
        }
        Features { student, hidden, teacher, width }
    }

    /// Patches of the image.
    fn patches(&self) -> usize {
        self.teacher.len() / self.width
    }

    /// The features of each patch in raster order; the student has none of visible ones.
    fn rows(&self, whose: Whose) -> Vec<Option<&[f32]>> {
        let mut rows = vec![None; self.patches()];
        match whose {
            Whose::Student => {
                let held = self.hidden.iter().zip(self.student.chunks(self.width));
                held.for_each(|(cell, row)| rows[*cell as usize] = Some(row));
            }
            Whose::Teacher => {
                rows.iter_mut().zip(self.teacher.chunks(self.width)).for_each(|(to, row)| *to = Some(row))
            }
        }
        rows
    }

    /// The cosine of the angle between student and teacher, averaged over hidden patches.
    pub fn cosine(&self) -> f64 {
        let pairs = self.rows(Whose::Student).into_iter().zip(self.rows(Whose::Teacher));
        let sum: f64 = pairs.filter_map(|(a, b)| Some(cosine(a?, b?))).sum();
        sum / self.hidden.len() as f64
    }

    /// The cosine of the angle between the features of `cell` and those of each patch in raster order; NaN where one of
    /// them has none.
    ///
    /// # Panics
    /// When there is no such patch.
    pub fn cosines(&self, whose: Whose, cell: usize) -> Vec<f64> {
        let rows = self.rows(whose);
        let asked = rows[cell];
        rows.iter().map(|row| asked.zip(*row).map_or(f64::NAN, |(a, b)| cosine(a, b))).collect()
    }

    /// A colour for each patch in raster order, none where there are no features. Both are seen along the teacher's
    /// components over all patches: two deviations of the teacher's rows span a channel.
    pub fn colours(&self, whose: Whose) -> Vec<Option<[u8; 3]>> {
        let width = self.width;
        let count = self.patches() as f64;
        let mean: Vec<f64> =
            (0..width).map(|c| self.teacher.chunks(width).map(|row| f64::from(row[c])).sum::<f64>() / count).collect();
        let centre = |row: &[f32]| -> Vec<f64> { row.iter().zip(&mean).map(|(v, m)| f64::from(*v) - m).collect() };
        let mut rest: Vec<Vec<f64>> = self.teacher.chunks(width).map(centre).collect();
        let axes: Vec<(Vec<f64>, f64)> = (0..3)
            .map(|_| {
                let axis = first_component(&rest);
                let along: Vec<f64> = rest.iter().map(|row| product(row, &axis)).collect();
                for (row, along) in rest.iter_mut().zip(&along) {
                    row.iter_mut().zip(&axis).for_each(|(v, a)| *v -= along * a);
                }
                let deviation = (along.iter().map(|v| v * v).sum::<f64>() / count).sqrt();
                (axis, deviation)
            })
            .collect();
        let colour = |row: &[f32]| {
            let row = centre(row);
            [0, 1, 2].map(|i| {
                let (axis, deviation) = &axes[i];
                let at = product(&row, axis) / deviation.max(f64::MIN_POSITIVE) / 2.0;
                (127.5 + 127.5 * at.clamp(-1.0, 1.0)).round() as u8
            })
        };
        self.rows(whose).into_iter().map(|row| row.map(colour)).collect()
    }
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn product(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The direction along which centred rows vary most, of length one, its largest value positive; by power iteration.
fn first_component(rows: &[Vec<f64>]) -> Vec<f64> {
    let width = rows[0].len();
    // The longest row is not orthogonal to the direction sought, or hardly ever.
    let longest = rows.iter().max_by(|a, b| product(a, a).total_cmp(&product(b, b))).expect("at least one row");
    let mut axis = longest.clone();
    for _ in 0..ROUNDS {
        let length = product(&axis, &axis).sqrt();
        if length == 0.0 {
            break;
        }
        axis.iter_mut().for_each(|v| *v /= length);
        let mut next = vec![0.0; width];
        for row in rows {
            let along = product(row, &axis);
            next.iter_mut().zip(row).for_each(|(n, v)| *n += along * v);
        }
        axis = next;
    }
    let largest = axis.iter().copied().max_by(|a, b| a.abs().total_cmp(&b.abs())).unwrap_or_default();
    let length = product(&axis, &axis).sqrt().max(f64::MIN_POSITIVE);
    axis.iter_mut().for_each(|v| *v *= largest.signum() / length);
    axis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_component_is_the_longest_axis() {
        // Points along (3, 4) / 5 with a little along its normal.
        let points = [(2.0, 0.1), (-2.0, 0.1), (1.0, -0.2), (-1.0, 0.0)];
        let rows: Vec<Vec<f64>> = points.iter().map(|(a, b)| vec![0.6 * a - 0.8 * b, 0.8 * a + 0.6 * b]).collect();
        let axis = first_component(&rows);
        assert!((axis[0] - 0.6).abs() < 0.05 && (axis[1] - 0.8).abs() < 0.05, "{axis:?}");
        assert_eq!(first_component(&[vec![0.0; 3], vec![0.0; 3]]), [0.0; 3]);
    }

    fn features(student: Vec<f32>, hidden: &[u32]) -> Features {
        let eps = 1e-6;
        let teacher = vec![1.0, 2.0, 3.0, 9.0, 4.0, 3.0, 2.0, 1.0, 5.0, -5.0, 5.0, -5.0];
        let all = Features::new(teacher, vec![], vec![], 4, eps).student;
        Features::new(student, hidden.to_vec(), all, 4, eps)
    }

    #[test]
    fn equal_features_have_equal_colours_and_different_ones_differ() {
        let same = features(vec![5.0, -5.0, 5.0, -5.0, 1.0, 2.0, 3.0, 9.0], &[2, 0]);
        let (student, teacher) = (same.colours(Whose::Student), same.colours(Whose::Teacher));
        assert_eq!(student, [teacher[0], None, teacher[2]]);
        assert!(teacher[0] != teacher[1] && teacher[1] != teacher[2], "{teacher:?}");
        assert!((same.cosine() - 1.0).abs() < 1e-6);
        let opposite = features(vec![-5.0, 5.0, -5.0, 5.0], &[2]);
        assert!((opposite.cosine() + 1.0).abs() < 1e-6);
    }

    #[test]
    fn cosines_are_those_between_patches() {
        let features = features(vec![5.0, -5.0, 5.0, -5.0], &[2]);
        let teacher = features.cosines(Whose::Teacher, 2);
        assert!((teacher[2] - 1.0).abs() < 1e-6 && teacher[0] < 0.0 && teacher[1].abs() < 1.0, "{teacher:?}");
        let student = features.cosines(Whose::Student, 2);
        assert!(student[0].is_nan() && student[1].is_nan() && (student[2] - 1.0).abs() < 1e-6, "{student:?}");
        assert!(features.cosines(Whose::Student, 0).iter().all(|v| v.is_nan()));
    }
}
