//! What recording a model makes: values, the operations between them, and the graph that holds both.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    fmt::Debug,
    rc::Rc,
};

use super::Array;
use crate::{
    kernels::{Constant, Kernel, Tuning, Work},
    shape::{ShapeError, TensorType},
};

/// A value's number in its graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub(crate) usize);

/// One dispatch of an operation, in terms of the operation's own inputs and outputs.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// The entry point.
    pub kernel: &'static Kernel,
    /// Values for the shader's constants.
    pub constants: Vec<Constant>,
    /// The bytes of the shader's `Params`.
    pub params: Vec<u8>,
    /// What is bound, in the order of the kernel's bindings.
    pub slots: Vec<Slot>,
    /// Workgroups along x, y and z.
    pub groups: [u32; 3],
}

/// An input or output of an operation, by position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The operation's input.
    In(usize),
    /// The operation's output.
    Out(usize),
}

/// How an operation reads an input where half precision is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadsF16 {
    /// As f32.
    Never,
    /// As halves, if it is stored as halves anyway.
    Willing,
    /// As halves.
    Wanted,
}

/// An operation: what it does to shapes, its gradient, its meaning in f64 and how it runs.
pub trait Op: Debug + Any {
    /// The operation's name as errors and profiles show it.
    fn name(&self) -> &'static str;
    /// Shapes and element types of the outputs.
    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError>;
    /// The gradient with respect to each input as graph values, given that of the first output; further outputs are
    /// what the backward pass needs from the forward pass, and carry none. `None` for an input without a gradient.
    fn gradient<'g>(&self, x: &[Tensor<'g>], y: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        let _ = (x, y, dy);
        panic!("{} has no gradient", self.name())
    }
    /// The outputs in f64: the definition that kernels are checked against.
    fn eval(&self, x: &[&Array]) -> Vec<Array>;
    /// The dispatches that compute the outputs.
    fn dispatch(&self, x: &[TensorType], y: &[TensorType], tuning: &Tuning) -> Vec<Dispatch>;
    /// `(output, input)` pairs that share storage: the operation updates the input in place.
    fn overwrites(&self) -> &[(usize, usize)] {
        &[]
    }
    /// The operation that does the work of this one and of `next`, which reads this one's first output as its input
    /// `operand`. Where nothing else reads that output (`only`), the result has `next`'s outputs, otherwise this one's
    /// and then `next`'s; its inputs are this one's and then `next`'s others.
    fn absorb(&self, next: &dyn Op, operand: usize, only: bool, tuning: &Tuning) -> Option<Rc<dyn Op>> {
        let _ = (next, operand, only, tuning);
        None
    }
    /// Whether input `operand` may be in half precision, for inputs of these types.
    fn reads_f16(&self, operand: usize, x: &[TensorType], tuning: &Tuning) -> ReadsF16 {
        let _ = (operand, x, tuning);
        ReadsF16::Never
    }
    /// How many of the first outputs can be stored in half precision. They are all stored so, or none is.
    fn stores_f16(&self, x: &[TensorType], tuning: &Tuning) -> usize {
        let _ = (x, tuning);
        0
    }
    /// Whether input `operand` must be in half precision where these outputs are.
    fn reads_f16_with_outputs(&self, operand: usize) -> bool {
        let _ = operand;
        false
    }
    /// Whether the only output is the input under another shape, so that nothing runs.
    fn is_view(&self) -> bool {
        false
    }
    /// Floating-point operations, two for a multiply-add; counted for matmuls and attention only.
    fn flops(&self, x: &[TensorType], y: &[TensorType]) -> f64 {
        let _ = (x, y);
        0.0
    }
    /// How the floating-point operations divide among the dispatches.
    fn flops_shares(&self) -> &[f64] {
        &[1.0]
    }
    /// What a tuning chooses the kernel's variant by, for operations whose kernel has some.
    fn work(&self, x: &[TensorType]) -> Option<Work> {
        let _ = x;
        None
    }
}

/// A range of an arena: `arena` names it, `shard` counts its buffers, `offset` is in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The arena's name, e.g. `weights`.
    pub arena: &'static str,
    /// Which of the arena's buffers.
    pub shard: usize,
    /// First byte, a multiple of 256.
    pub offset: u64,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// Written by the host before a run.
    Input,
    /// Lives in an arena that outlasts the run.
    External(Place),
    /// Output `.1` of node `.0`.
    Node(usize),
}

#[derive(Clone)]
pub(crate) struct Value {
    pub ty: TensorType,
    pub origin: Origin,
    pub name: String,
}

#[derive(Clone)]
pub(crate) struct Node {
    pub op: Rc<dyn Op>,
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
    pub path: String,
    /// Whether `gradients` recorded it.
    pub backward: bool,
}

#[derive(Clone, Default)]
pub(crate) struct Recorded {
    pub values: Vec<Value>,
    pub nodes: Vec<Node>,
}

/// A record of operations in the order they were written.
#[derive(Default)]
pub struct Graph {
    pub(crate) recorded: RefCell<Recorded>,
    scope: RefCell<Vec<String>>,
    /// Whether `gradients` is recording.
    pub(crate) backward: Cell<bool>,
}

/// A name for a value of a graph; shape and element type live in the graph.
#[derive(Clone, Copy)]
pub struct Tensor<'g> {
    pub(crate) graph: &'g Graph,
    pub(crate) id: ValueId,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Graph {
        Graph::default()
    }

    /// A value that the host writes before each run.
    pub fn input(&self, name: &str, ty: TensorType) -> Tensor<'_> {
        self.value(ty, Origin::Input, name.to_string())
    }

    /// A value at a fixed place of an arena.
    pub fn external(&self, name: &str, ty: TensorType, place: Place) -> Tensor<'_> {
        self.value(ty, Origin::External(place), name.to_string())
    }

    /// Runs `f` with `name` added to the path of everything it records.
    pub fn scope<T>(&self, name: impl Into<String>, f: impl FnOnce() -> T) -> T {
        self.scope.borrow_mut().push(name.into());
        let result = f();
        self.scope.borrow_mut().pop();
        result
    }

    /// Records an operation and returns all its outputs. Panics, naming the operation, the shapes and the path, when the
    /// shapes do not fit.
    #[track_caller]
    pub fn apply(&self, op: impl Op, x: &[Tensor<'_>]) -> Vec<Tensor<'_>> {
        self.apply_rc(Rc::new(op), x)
    }

    #[track_caller]
    pub(crate) fn apply_rc(&self, op: Rc<dyn Op>, x: &[Tensor<'_>]) -> Vec<Tensor<'_>> {
        let types: Vec<_> = x.iter().map(|t| t.ty()).collect();
        let path = self.scope.borrow().join(".");
        let outputs = op.infer(&types).unwrap_or_else(|error| {
            let shapes: Vec<_> = types.iter().map(TensorType::to_string).collect();
            panic!("{} in `{path}`: {error} (inputs {})", op.name(), shapes.join(", "))
        });
        let node = self.recorded.borrow().nodes.len();
        let name = if path.is_empty() { op.name().to_string() } else { format!("{path}.{}", op.name()) };
        let outputs: Vec<_> = outputs.into_iter().map(|ty| self.value(ty, Origin::Node(node), name.clone())).collect();
        self.recorded.borrow_mut().nodes.push(Node {
            op,
            inputs: x.iter().map(|t| t.id).collect(),
            outputs: outputs.iter().map(|t| t.id).collect(),
            path,
            backward: self.backward.get(),
        });
        outputs
    }

    fn value(&self, ty: TensorType, origin: Origin, name: String) -> Tensor<'_> {
        let mut recorded = self.recorded.borrow_mut();
        recorded.values.push(Value { ty, origin, name });
        Tensor { graph: self, id: ValueId(recorded.values.len() - 1) }
    }
}

impl<'g> Tensor<'g> {
    /// Shape and element type.
    pub fn ty(self) -> TensorType {
        self.graph.recorded.borrow().values[self.id.0].ty.clone()
    }

    /// The shape.
    pub fn shape(self) -> Vec<usize> {
        self.ty().shape
    }

    /// The name it was recorded under.
    pub fn name(self) -> String {
        self.graph.recorded.borrow().values[self.id.0].name.clone()
    }

    /// The value's number, for plans.
    pub fn id(self) -> ValueId {
        self.id
    }

    /// The graph it belongs to.
    pub fn graph(self) -> &'g Graph {
        self.graph
    }

    /// Records `op` on this value and further inputs and returns its first output.
    #[track_caller]
    pub fn then(self, op: impl Op, rest: &[Tensor<'g>]) -> Tensor<'g> {
        let x: Vec<_> = std::iter::once(self).chain(rest.iter().copied()).collect();
        self.graph.apply(op, &x)[0]
    }
}
