//! An operation that stores what it makes in half precision. A pass records it, not models.

use std::{any::Any, rc::Rc};

use super::{Cast, prelude::*};

/// An operation whose first outputs are halves; everything else is as without.
#[derive(Debug, Clone)]
pub struct Halved {
    op: Rc<dyn Op>,
    outputs: usize,
}

impl Halved {
    /// `op` with so many of its first outputs in half precision: no more than [`Op::stores_halves`] says.
    pub fn new(op: Rc<dyn Op>, outputs: usize) -> Halved {
        Halved { op, outputs }
    }

    /// Whether the variants of a tuning can store all these outputs so.
    pub fn runs_with(&self, x: &[TensorType], tuning: &Tuning) -> bool {
        self.outputs <= self.op.stores_halves(x, tuning)
    }
}

impl Op for Halved {
    fn name(&self) -> &'static str {
        self.op.name()
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let mut y = self.op.infer(x)?;
        y[..self.outputs].iter_mut().for_each(|ty| ty.dtype = DType::F16);
        Ok(y)
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut y = self.op.eval(x);
        y[..self.outputs].iter_mut().for_each(|array| *array = Cast.eval(&[array]).remove(0));
        y
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        self.op.dispatch(x, y, tuning)
    }

    fn halves(&self, operand: usize, x: &[TensorType], tuning: &Tuning) -> Halves {
        if self.op.halves_with_outputs(operand) { Halves::Wanted } else { self.op.halves(operand, x, tuning) }
    }

    fn absorb(&self, next: &dyn Op, operand: usize, only: bool, tuning: &Tuning) -> Option<Rc<dyn Op>> {
        let next = (next as &dyn Any).downcast_ref::<Halved>()?;
        let op = self.op.absorb(&*next.op, operand, only, tuning)?;
        let outputs = if only { next.outputs } else { self.outputs + next.outputs };
        Some(Rc::new(Halved { op, outputs }))
    }

    fn flops(&self, x: &[TensorType], y: &[TensorType]) -> f64 {
        self.op.flops(x, y)
    }

    fn flops_shares(&self) -> &[f64] {
        self.op.flops_shares()
    }

    fn work(&self, x: &[TensorType]) -> Option<Work> {
        self.op.work(x)
    }
}

impl Sample {
    /// A sample of `op` with so many of its first outputs in half precision, on inputs that are if they are marked so.
    pub fn halved(op: impl Op, outputs: usize, inputs: Vec<(TensorType, Content)>) -> Sample {
        Sample::new(Halved::new(Rc::new(op), outputs), inputs)
    }
}
