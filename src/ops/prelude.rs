//! Shorthands for the operations' own files.

pub(super) use super::{
    launch::{dispatch, groups},
    sample::{Content, Sample},
};
pub(super) use crate::{
    ensure_shape,
    graph::{Array, Dispatch, Op, ReadsF16, Slot, Tensor},
    kernels::{self, Constant, Kernel, Tuning, Work},
    shape::{DType, ShapeError, TensorType},
};
