//! Shapes, element types and the f64 arrays of the oracle.

use std::fmt;

/// The element type of a tensor on the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    /// 32-bit float.
    F32,
    /// 16-bit float.
    F16,
    /// 32-bit unsigned integer, for indices.
    U32,
}

impl DType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            DType::F32 | DType::U32 => 4,
            DType::F16 => 2,
        }
    }
}

/// Shape and element type of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TensorType {
    /// Extents, slowest axis first.
    pub shape: Vec<usize>,
    /// Element type.
    pub dtype: DType,
}

impl TensorType {
    /// An f32 tensor.
    pub fn f32(shape: &[usize]) -> TensorType {
        TensorType { shape: shape.to_vec(), dtype: DType::F32 }
    }

    /// A tensor of halves.
    pub fn f16(shape: &[usize]) -> TensorType {
        TensorType { shape: shape.to_vec(), dtype: DType::F16 }
    }

    /// A u32 tensor.
    pub fn u32(shape: &[usize]) -> TensorType {
        TensorType { shape: shape.to_vec(), dtype: DType::U32 }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Size in bytes.
    pub fn bytes(&self) -> u64 {
        (self.len() * self.dtype.bytes()) as u64
    }

    /// Extent of the last axis, 1 for a scalar.
    pub fn cols(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }

    /// Product of all extents but the last.
    pub fn rows(&self) -> usize {
        self.len() / self.cols().max(1)
    }

    /// The three extents of a `[batch, tokens, width]` tensor.
    pub fn batch_tokens_width(&self) -> Result<(usize, usize, usize), ShapeError> {
        match self.shape[..] {
            [b, t, w] => Ok((b, t, w)),
            _ => Err(ShapeError(format!("wants [batch, tokens, width], got {self}"))),
        }
    }
}

impl fmt::Display for TensorType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let extents: Vec<_> = self.shape.iter().map(usize::to_string).collect();
        let dtype = match self.dtype {
            DType::F32 => "f32",
            DType::F16 => "f16",
            DType::U32 => "u32",
        };
        write!(f, "{dtype}[{}]", extents.join(", "))
    }
}

/// Why shapes do not fit an operation.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct ShapeError(pub String);

/// Fails with a [`ShapeError`] unless a condition holds.
#[macro_export]
macro_rules! ensure_shape {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::graph::ShapeError(format!($($message)+)));
        }
    };
}

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
