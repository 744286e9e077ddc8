//! Products of matrices on all processors, with sums in an order that does not depend on how many there are.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Rows that are worked on together: with their features they stay in a near cache.
pub const BLOCK: usize = 256;

/// A matrix that is read where it stands.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T> {
    values: &'a [T],
    rows: usize,
    cols: usize,
    /// From an element to the one below, and to the one beside.
    steps: (usize, usize),
}

impl<'a, T> View<'a, T> {
    /// Rows of `cols` values.
    ///
    /// # Panics
    /// When the values do not fill whole rows.
    pub fn new(values: &'a [T], cols: usize) -> View<'a, T> {
        assert!(values.len().is_multiple_of(cols), "{} values are no rows of {cols}", values.len());
        View { values, rows: values.len() / cols, cols, steps: (cols, 1) }
    }

    /// Its rows as columns.
    pub fn transposed(self) -> View<'a, T> {
        View { rows: self.cols, cols: self.rows, steps: (self.steps.1, self.steps.0), ..self }
    }
}

/// f32 and f64.
pub trait Real: Copy + Default + 'static {
    /// 0 and 1.
    const BOTH: [Self; 2];

    /// `c = scale · c + a b`, from matrices of `m` × `k` and `k` × `n` elements, `steps` apart; the rows of `c` lie one after
    /// the other.
    ///
    /// # Safety
    /// All elements lie in memory that may be read, those of `c` in memory that may be written and is none of the others'.
    unsafe fn gemm(
        mkn: [usize; 3],
        a: (*const Self, [isize; 2]),
        b: (*const Self, [isize; 2]),
        scale: Self,
        c: *mut Self,
    );
}

macro_rules! real {
    ($type:ty, $gemm:path) => {
        impl Real for $type {
            const BOTH: [$type; 2] = [0.0, 1.0];

            unsafe fn gemm(
                [m, k, n]: [usize; 3],
                (a, [a_down, a_beside]): (*const $type, [isize; 2]),
                (b, [b_down, b_beside]): (*const $type, [isize; 2]),
                scale: $type,
                c: *mut $type,
            ) {
                // SAFETY: what the caller promises is what is asked for.
                unsafe { $gemm(m, k, n, 1.0, a, a_down, a_beside, b, b_down, b_beside, scale, c, n as isize, 1) }
            }
        }
    };
}

real!(f32, matrixmultiply::sgemm);
real!(f64, matrixmultiply::dgemm);

/// Writes the product `a b` to `c`, row by row, or adds it to what is there. Equal rows and columns give equal bits wherever
/// they stand.
///
/// # Panics
/// When the extents do not fit.
pub fn multiply<T: Real>(a: View<'_, T>, b: View<'_, T>, add: bool, c: &mut [T]) {
    assert!(a.cols == b.rows && c.len() == a.rows * b.cols, "extents of a product");
    if c.is_empty() {
        return;
    }
    let steps = |view: &View<'_, T>| [view.steps.0 as isize, view.steps.1 as isize];
    // SAFETY: a view's elements lie in its slice, as `new` checked; the extents fit; and `c` is borrowed by nobody else.
    unsafe {
        T::gemm(
            [a.rows, a.cols, b.cols],
            (a.values.as_ptr(), steps(&a)),
            (b.values.as_ptr(), steps(&b)),
            T::BOTH[usize::from(add)],
            c.as_mut_ptr(),
        );
    }
}

/// What `make` makes of 0 to `count`, in order, computed on all processors.
pub fn in_parallel<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let threads = thread::available_parallelism().map_or(1, usize::from).min(count);
    if threads < 2 {
        return (0..count).map(make).collect();
    }
    let next = AtomicUsize::new(0);
    let mut made: Vec<(usize, T)> = thread::scope(|scope| {
        let work = || {
            let numbers = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
            numbers.take_while(|number| *number < count).map(|number| (number, make(number))).collect::<Vec<_>>()
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().flat_map(|thread| thread.join().expect("no panic in a computation")).collect()
    });
    made.sort_unstable_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, value)| value).collect()
}

/// The sum over parts of the rows 0 to `rows`: `add` adds what a block of them gives to `values` numbers that start at zero.
/// Which rows are added first depends on `rows` and `values` alone.
pub fn sum_over(rows: usize, values: usize, add: impl Fn(std::ops::Range<usize>, &mut [f64]) + Sync) -> Vec<f64> {
    /// The most parts, and about the most numbers of all of them together.
    const PARTS: (usize, usize) = (16, 1 << 27);
    let parts = (PARTS.1 / values.max(1)).clamp(1, PARTS.0);
    let part = rows.div_ceil(parts).next_multiple_of(BLOCK).max(BLOCK);
    let sums = in_parallel(rows.div_ceil(part), |number| {
        let mut sums = vec![0.0; values];
        let end = ((number + 1) * part).min(rows);
        (number * part..end).step_by(BLOCK).for_each(|first| add(first..(first + BLOCK).min(end), &mut sums));
        sums
    });
    let all = sums.into_iter().reduce(|mut all, sums| {
        all.iter_mut().zip(sums).for_each(|(all, sum)| *all += sum);
        all
    });
    all.unwrap_or_else(|| vec![0.0; values])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_is_of_rows_and_columns() {
        let (a, b) = ([1.0f32, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0f32, 0.0, 2.0, -1.0, 1.0, 1.0]);
        let mut c = [10.0; 4];
        multiply(View::new(&a, 3), View::new(&b, 3).transposed(), false, &mut c);
        assert_eq!(c, [7.0, 4.0, 16.0, 7.0]);
        multiply(View::new(&a, 3), View::new(&b, 3).transposed(), true, &mut c);
        assert_eq!(c, [14.0, 8.0, 32.0, 14.0]);
        let mut d = [0.0f64; 4];
        let (a, b) = (a.map(f64::from), b.map(f64::from));
        multiply(View::new(&a, 2).transposed(), View::new(&b, 2), false, &mut d);
        assert_eq!(d, [1.0 + 6.0 + 5.0, -3.0 + 5.0, 2.0 + 8.0 + 6.0, -4.0 + 6.0]);
    }

    #[test]
    fn results_come_in_order_and_sums_are_of_all_rows() {
        assert_eq!(in_parallel(1000, |number| number * 2), (0..1000).map(|number| number * 2).collect::<Vec<_>>());
        for rows in [0, 1, 255, 5000] {
            let sums = sum_over(rows, 2, |range, sums| {
                sums[0] += range.len() as f64;
                sums[1] += range.sum::<usize>() as f64;
            });
            assert_eq!(sums, [rows as f64, (rows * rows.saturating_sub(1) / 2) as f64]);
        }
    }
}
