//! Symmetric positive definite matrices in f64, by their triangular factor (Cholesky).

use crate::infer::products::{View, multiply};

/// The inverse of the lower triangular factor `L` of a matrix `L Lᵀ`, `[n, n]` with zeros above the diagonal.
#[derive(Clone, Debug)]
pub struct InverseFactor {
    n: usize,
    values: Vec<f64>,
    factor: Vec<f64>,
}

impl InverseFactor {
    /// Of the symmetric matrix `a [n, n]`, whose lower triangle is read. None where it is not positive definite.
    pub fn of(mut a: Vec<f64>, n: usize) -> Option<InverseFactor> {
        assert_eq!(a.len(), n * n, "a square matrix");
        for j in 0..n {
            let (above, below) = a.split_at_mut((j + 1) * n);
            let row = &mut above[j * n..];
            let pivot = row[j] - row[..j].iter().map(|v| v * v).sum::<f64>();
            if pivot.is_nan() || pivot <= 0.0 {
                return None;
            }
            row[j] = pivot.sqrt();
            row[j + 1..].fill(0.0);
            for other in below.chunks_mut(n) {
                other[j] = (other[j] - dot(&other[..j], &row[..j])) / row[j];
            }
        }
        // Row by row: L⁻¹ L = 1.
        let mut values = vec![0.0; n * n];
        for i in 0..n {
            let (above, row) = values.split_at_mut(i * n);
            let own = &a[i * n..];
            for (j, before) in above.chunks(n).enumerate() {
                row[..=j].iter_mut().zip(before).for_each(|(sum, value)| *sum -= own[j] * value);
            }
            row[..i].iter_mut().for_each(|value| *value /= own[i]);
            row[i] = 1.0 / own[i];
        }
        Some(InverseFactor { n, values, factor: a })
    }

    /// `rows L⁻¹`, rows of `n` values.
    pub fn times(&self, rows: &[f64]) -> Vec<f64> {
        self.product(rows, View::new(&self.values, self.n))
    }

    /// `rows L⁻ᵀ`.
    pub fn times_transposed(&self, rows: &[f64]) -> Vec<f64> {
        self.product(rows, View::new(&self.values, self.n).transposed())
    }

    /// `rows L`.
    pub fn undone(&self, rows: &[f64]) -> Vec<f64> {
        self.product(rows, View::new(&self.factor, self.n))
    }

    fn product(&self, rows: &[f64], by: View<'_, f64>) -> Vec<f64> {
        let mut product = vec![0.0; rows.len()];
        multiply(View::new(rows, self.n), by, false, &mut product);
        product
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<4>(), b.as_chunks::<4>());
    let mut sums = [0.0; 4];
    for (a, b) in a.iter().zip(b) {
        (0..4).for_each(|lane| sums[lane] += a[lane] * b[lane]);
    }
    sums.iter().sum::<f64>() + rest_a.iter().zip(rest_b).map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved_by_the_factors() {
        // A = X Xᵀ + 1 of any X; A⁻¹ is L⁻ᵀ L⁻¹, which on rows from the right is L⁻ᵀ first.
        let n = 9;
        let x: Vec<f64> = (0..n * n).map(|at| ((at * at + 3 * at) % 17) as f64 / 8.0 - 1.0).collect();
        let mut a: Vec<f64> = (0..n * n).map(|at| f64::from(u8::from(at % (n + 1) == 0))).collect();
        multiply(View::new(&x, n), View::new(&x, n).transposed(), true, &mut a);
        let factor = InverseFactor::of(a.clone(), n).unwrap();
        let b: Vec<f64> = (0..2 * n).map(|at| at as f64 - 5.0).collect();
        let solved = factor.times(&factor.times_transposed(&b));
        let mut back = vec![0.0; 2 * n];
        multiply(View::new(&solved, n), View::new(&a, n), false, &mut back);
        assert!(back.iter().zip(&b).all(|(got, want)| (got - want).abs() < 1e-10), "{back:?}");
        let there_and_back = factor.undone(&factor.times(&b));
        assert!(there_and_back.iter().zip(&b).all(|(got, want)| (got - want).abs() < 1e-10));
        assert!(InverseFactor::of(vec![1.0, 2.0, 2.0, 1.0], 2).is_none(), "an eigenvalue of -1");
    }
}
