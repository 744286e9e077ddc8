//! The arrays of the oracle.

/// A value of the oracle: f64, row-major. Indices are held as exact integers.
#[derive(Clone, Debug, PartialEq)]
pub struct Array {
    /// Extents, slowest axis first.
    pub shape: Vec<usize>,
    /// Elements, last axis fastest.
    pub data: Vec<f64>,
}

impl Array {
    /// An array of this shape and these elements.
    pub fn new(shape: &[usize], data: Vec<f64>) -> Array {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "array of shape {shape:?}");
        Array { shape: shape.to_vec(), data }
    }

    /// An array of zeros.
    pub fn zeros(shape: &[usize]) -> Array {
        Array { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    /// An array from f32 values.
    pub fn from_f32(shape: &[usize], values: &[f32]) -> Array {
        Array::new(shape, values.iter().map(|v| f64::from(*v)).collect())
    }

    /// Extent of the last axis, 1 for a scalar.
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Product of all extents but the last.
    pub fn rows(&self) -> usize {
        self.data.len() / self.cols().max(1)
    }

    /// Row `i` of the array seen as a matrix over its last axis.
    pub fn row(&self, i: usize) -> &[f64] {
        let cols = self.cols();
        &self.data[i * cols..(i + 1) * cols]
    }

    /// Row `i`, to write to.
    pub fn row_mut(&mut self, i: usize) -> &mut [f64] {
        let cols = self.cols();
        &mut self.data[i * cols..(i + 1) * cols]
    }

    /// The same elements under a function.
    pub fn map(&self, f: impl Fn(f64) -> f64) -> Array {
        Array { shape: self.shape.clone(), data: self.data.iter().map(|v| f(*v)).collect() }
    }
}
