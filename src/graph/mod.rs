//! The graph: values, the operations between them, gradients as more graph, and the f64 interpreter. Recording a model
//! builds a [`Graph`]; nothing runs until a plan of it is executed. No operation is named here.

mod array;
mod gradient;
mod interpret;
mod record;

pub use array::Array;
pub use gradient::gradients;
pub use interpret::interpret;
pub use record::{Dispatch, Graph, Op, Place, ReadsF16, Slot, Tensor, ValueId};
pub(crate) use record::{Node, Origin, Recorded, Value};

pub use crate::shape::{DType, ShapeError, TensorType};
