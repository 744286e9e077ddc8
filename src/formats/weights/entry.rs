//! A tensor as a file of weights lists it.

use std::fmt;

/// The type of a tensor's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Dtype {
    F64,
    F32,
    F16,
    Bf16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
    /// Of a kind that is not read: complex, quantised and others.
    Other,
}

impl Dtype {
    /// Bytes of a value; none for [`Dtype::Other`].
    pub(super) fn width(self) -> Option<u64> {
        match self {
            Dtype::F64 | Dtype::I64 => Some(8),
            Dtype::F32 | Dtype::I32 => Some(4),
            Dtype::F16 | Dtype::Bf16 | Dtype::I16 => Some(2),
            Dtype::I8 | Dtype::U8 | Dtype::Bool => Some(1),
            Dtype::Other => None,
        }
    }
}

/// As safetensors has them: `F32`, `BF16`, `BOOL`.
impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.pad(match self {
            Dtype::F64 => "F64",
            Dtype::F32 => "F32",
            Dtype::F16 => "F16",
            Dtype::Bf16 => "BF16",
            Dtype::I64 => "I64",
            Dtype::I32 => "I32",
            Dtype::I16 => "I16",
            Dtype::I8 => "I8",
            Dtype::U8 => "U8",
            Dtype::Bool => "BOOL",
            Dtype::Other => "another",
        })
    }
}

/// A tensor of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, as the file has it.
    pub name: String,
    /// The type of its values in the file.
    pub dtype: Dtype,
    /// Extent of each axis, outermost first. The product is below 2^31, and the file holds what the tensor needs.
    pub shape: Vec<usize>,
}
