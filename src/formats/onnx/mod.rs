//! ONNX: networks as graphs of operators, for ONNX Runtime and what else reads them.
//!
//! A file is one `ModelProto` in protocol buffers. [`messages`] has the messages of `onnx.proto` that are needed;
//! [`Graph`] puts a network together; [`File`] writes it, one tensor at a time.

mod file;
mod graph;
pub mod messages;

pub use file::{File, Initializer, LIMIT, Values};
pub use graph::{Attribute, Graph};
