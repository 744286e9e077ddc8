//! Principal components: the directions along which features vary most.

/// Rounds of the power iteration for each component.
const ROUNDS: usize = 60;

/// A principal component.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// Its direction, of length one, the largest value positive; all zeros where nothing varies.
    pub axis: Vec<f64>,
    /// How far along it each row lies.
    pub along: Vec<f64>,
}

/// The first `count` principal components of centred rows, by power iteration, each of what those before it leave.
///
/// # Panics
/// Without a row.
pub fn components(mut rows: Vec<Vec<f64>>, count: usize) -> Vec<Component> {
    let next = |_| {
        let axis = first_component(&rows);
        let along: Vec<f64> = rows.iter().map(|row| product(row, &axis)).collect();
        for (row, along) in rows.iter_mut().zip(&along) {
            row.iter_mut().zip(&axis).for_each(|(v, a)| *v -= along * a);
        }
        Component { axis, along }
    };
    (0..count).map(next).collect()
}

/// The dot product.
pub(super) fn product(a: &[f64], b: &[f64]) -> f64 {
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
    fn components_are_orthogonal_and_the_longest_comes_first() {
        let rows = vec![vec![3.0, 0.1], vec![-3.0, 0.1], vec![0.0, -1.0], vec![0.0, 0.8]];
        let [first, second] = &components(rows, 2)[..] else { panic!("two components") };
        assert!(product(&first.axis, &second.axis).abs() < 1e-9, "{first:?} {second:?}");
        let square = |component: &Component| product(&component.along, &component.along);
        assert!(square(first) > square(second) && (first.along[0] - 3.0).abs() < 0.01, "{first:?}");
    }
}
