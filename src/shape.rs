//! Shapes and element types of tensors, and the precision of a computation.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The element type of a tensor on the GPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
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

/// In what precision matmuls read their operands, and with them what lies between products in a block. Everything else
/// is f32 either way: sums, statistics, softmax, the residual stream, losses, the weights themselves, the optimiser's moments
/// and the teacher's weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Single precision.
    #[default]
    F32,
    /// Half precision, to which weights and activations are rounded for products.
    F16,
}

const NAMES: [(&str, Precision); 2] = [("f32", Precision::F32), ("f16", Precision::F16)];

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = NAMES.iter().find(|(_, held)| held == self).expect("every case has a name");
        f.write_str(name)
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Precision, String> {
        let found = NAMES.iter().find(|(name, _)| *name == text);
        found.map(|(_, held)| *held).ok_or_else(|| format!("`{text}` is none of f32 and f16"))
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
            return Err($crate::shape::ShapeError(format!($($message)+)));
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for (name, precision) in NAMES {
            assert_eq!((precision.to_string().as_str(), name.parse()), (name, Ok(precision)));
        }
        assert!("bf16".parse::<Precision>().unwrap_err().contains("f32 and f16"));
    }
}
