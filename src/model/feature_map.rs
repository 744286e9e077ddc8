//! Features of patches as colours: their first three principal components as red, green and blue.

use super::components::{Component, components, product};

/// Features of the patches of one image, each row normalised as the loss sees it, and then without the mean of the momentum
/// encoder's rows: what all patches of an image have in common hides how they differ.
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

impl Features {
    /// Normalises the student's rows, as `LayerNorm` without gain and bias does; the teacher's are.
    pub fn new(student: Vec<f32>, hidden: Vec<u32>, teacher: Vec<f32>, width: usize, eps: f32) -> Features {
        let count = (teacher.len() / width) as f64;
        let column = |c: usize| teacher.chunks(width).map(|row| f64::from(row[c])).sum::<f64>() / count;
        let mean: Vec<f32> = (0..width).map(|c| column(c) as f32).collect();
        let mut features = Features { student: normalised(student, width, eps), hidden, teacher, width };
        for row in features.student.chunks_mut(width).chain(features.teacher.chunks_mut(width)) {
            row.iter_mut().zip(&mean).for_each(|(v, mean)| *v -= mean);
        }
        features
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
        let wide = |row: &[f32]| -> Vec<f64> { row.iter().map(|v| f64::from(*v)).collect() };
        let components = components(self.teacher.chunks(width).map(wide).collect(), 3);
        let deviation = |component: &Component| {
            (component.along.iter().map(|v| v * v).sum::<f64>() / count).sqrt().max(f64::MIN_POSITIVE)
        };
        let deviations: Vec<f64> = components.iter().map(deviation).collect();
        let colour = |row: &[f32]| {
            let row = wide(row);
            [0, 1, 2].map(|i| {
                let at = product(&row, &components[i].axis) / deviations[i] / 2.0;
                (127.5 + 127.5 * at.clamp(-1.0, 1.0)).round() as u8
            })
        };
        self.rows(whose).into_iter().map(|row| row.map(colour)).collect()
    }
}

/// Rows with mean 0 and deviation 1.
fn normalised(mut rows: Vec<f32>, width: usize, eps: f32) -> Vec<f32> {
    for row in rows.chunks_mut(width) {
        let mean = row.iter().sum::<f32>() / width as f32;
        let square = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / width as f32;
        row.iter_mut().for_each(|v| *v = (*v - mean) / (square + eps).sqrt());
    }
    rows
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(student: Vec<f32>, hidden: &[u32]) -> Features {
        let eps = 1e-6;
        let teacher = vec![1.0, 2.0, 3.0, 9.0, 4.0, 3.0, 2.0, 1.0, 5.0, -5.0, 5.0, -5.0];
        Features::new(student, hidden.to_vec(), normalised(teacher, 4, eps), 4, eps)
    }

    #[test]
    fn equal_features_have_equal_colours_and_different_ones_differ() {
        let same = features(vec![5.0, -5.0, 5.0, -5.0, 1.0, 2.0, 3.0, 9.0], &[2, 0]);
        let (student, teacher) = (same.colours(Whose::Student), same.colours(Whose::Teacher));
        assert_eq!(student, [teacher[0], None, teacher[2]]);
        assert!(teacher[0] != teacher[1] && teacher[1] != teacher[2], "{teacher:?}");
        assert!((same.cosine() - 1.0).abs() < 1e-6);
        let opposite = features(vec![-5.0, 5.0, -5.0, 5.0], &[2]);
        assert!(opposite.cosine() < -0.5, "{}", opposite.cosine());
        // What all patches have in common makes nothing alike.
        let shifted = |rows: &[[f32; 4]]| rows.iter().flatten().map(|v| v + 5.0).collect::<Vec<f32>>();
        let (rows, eps) = ([[1.0, -1.0, 0.5, -0.5], [-1.0, 1.0, -0.5, 0.5]], 1e-6);
        let features = Features::new(shifted(&rows[..1]), vec![0], shifted(&rows), 4, eps);
        assert!(features.cosines(Whose::Teacher, 0)[1] < -0.9);
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
