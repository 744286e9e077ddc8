//! Features of patches as colours: their first three principal components as red, green and blue.

/// Features of the hidden patches of one image, `[masked, width]`, each row normalised as the loss sees it.
#[derive(Clone, Debug, PartialEq)]
pub struct Features {
    /// What the student predicts.
    pub student: Vec<f32>,
    /// What the momentum encoder makes of the whole image.
    pub teacher: Vec<f32>,
    /// Values of a row.
    pub width: usize,
}

/// Rounds of the power iteration for each component.
const ROUNDS: usize = 60;

impl Features {
    /// Normalises the rows of both, as `LayerNorm` without gain and bias does.
    pub fn new(mut student: Vec<f32>, mut teacher: Vec<f32>, width: usize, eps: f32) -> Features {
        for row in student.chunks_mut(width).chain(teacher.chunks_mut(width)) {
            let mean = row.iter().sum::<f32>() / width as f32;
            let square = row.iter().map(|v| (v - mean).powi(2)).sum::<f32>() / width as f32;
            row.iter_mut().for_each(|v| *v = (*v - mean) / (square + eps).sqrt());
        }
        Features { student, teacher, width }
    }

    /// The cosine of the angle between student and teacher, averaged over patches.
    pub fn cosine(&self) -> f64 {
        let rows = self.student.chunks(self.width).zip(self.teacher.chunks(self.width));
        let cosine = |(a, b): (&[f32], &[f32])| dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(f64::MIN_POSITIVE);
        rows.clone().map(cosine).sum::<f64>() / rows.len() as f64
    }

    /// A colour for each row of the student and of the teacher. Both are seen along the teacher's components: two
    /// deviations of the teacher's rows span a channel.
    pub fn colours(&self) -> [Vec<[u8; 3]>; 2] {
        let width = self.width;
        let count = self.teacher.len() / width;
        let mean: Vec<f64> = (0..width)
            .map(|c| self.teacher.chunks(width).map(|row| f64::from(row[c])).sum::<f64>() / count as f64)
            .collect();
        let centred = |rows: &[f32]| -> Vec<Vec<f64>> {
            rows.chunks(width).map(|row| row.iter().zip(&mean).map(|(v, m)| f64::from(*v) - m).collect()).collect()
        };
        let (student, teacher) = (centred(&self.student), centred(&self.teacher));
        let mut rest = teacher.clone();
        let axes: Vec<(Vec<f64>, f64)> = (0..3)
            .map(|_| {
                let axis = first_component(&rest);
                let along: Vec<f64> = rest.iter().map(|row| product(row, &axis)).collect();
                for (row, along) in rest.iter_mut().zip(&along) {
                    row.iter_mut().zip(&axis).for_each(|(v, a)| *v -= along * a);
                }
                let deviation = (along.iter().map(|v| v * v).sum::<f64>() / count as f64).sqrt();
                (axis, deviation)
            })
            .collect();
        [student, teacher].map(|rows| {
            let colour = |row: &Vec<f64>| {
                [0, 1, 2].map(|i| {
                    let (axis, deviation) = &axes[i];
                    let at = product(row, axis) / deviation.max(f64::MIN_POSITIVE) / 2.0;
                    (127.5 + 127.5 * at.clamp(-1.0, 1.0)).round() as u8
                })
            };
            rows.iter().map(colour).collect()
        })
    }
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

    #[test]
    fn equal_features_have_equal_colours_and_different_ones_differ() {
        let rows: Vec<f32> = vec![1.0, 2.0, 3.0, 9.0, 4.0, 3.0, 2.0, 1.0, 5.0, -5.0, 5.0, -5.0];
        let features = Features::new(rows.clone(), rows, 4, 1e-6);
        let [student, teacher] = features.colours();
        assert_eq!(student, teacher);
        assert!(teacher[0] != teacher[1] && teacher[1] != teacher[2], "{teacher:?}");
        assert!((features.cosine() - 1.0).abs() < 1e-6);
        let opposite = Features { student: features.teacher.iter().map(|v| -v).collect(), ..features };
        assert!((opposite.cosine() + 1.0).abs() < 1e-6);
    }
}
