//! An operation that stores what it makes in half precision. A pass records it, not models.

use std::{any::Any, rc::Rc};

use super::{Cast, prelude::*};

/// An operation whose first outputs are halves; everything else is as without.
#[derive(Debug, Clone)]
pub struct StoresF16 {
    op: Rc<dyn Op>,
    outputs: usize,
}

impl StoresF16 {
    /// `op` with so many of its first outputs in half precision: no more than [`Op::stores_f16`] says.
    pub fn new(op: Rc<dyn Op>, outputs: usize) -> StoresF16 {
        StoresF16 { op, outputs }
    }

    /// Whether the variants of a tuning can store all these outputs so.
    pub fn runs_with(&self, x: &[TensorType], tuning: &Tuning) -> bool {
        self.outputs <= self.op.stores_f16(x, tuning)
    }
}

impl Op for StoresF16 {
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

    fn reads_f16(&self, operand: usize, x: &[TensorType], tuning: &Tuning) -> ReadsF16 {
        if self.op.reads_f16_with_outputs(operand) { ReadsF16::Wanted } else { self.op.reads_f16(operand, x, tuning) }
    }

    fn absorb(&self, next: &dyn Op, operand: usize, only: bool, tuning: &Tuning) -> Option<Rc<dyn Op>> {
        let next = (next as &dyn Any).downcast_ref::<StoresF16>()?;
        let op = self.op.absorb(&*next.op, operand, only, tuning)?;
        let outputs = if only { next.outputs } else { self.outputs + next.outputs };
        Some(Rc::new(StoresF16 { op, outputs }))
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
        Sample::new(StoresF16::new(Rc::new(op), outputs), inputs)
    }
}
