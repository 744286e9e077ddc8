//! The seam between a task and the trainer.

use std::{borrow::Cow, sync::Arc};

use super::scalars::Scalars;
use crate::{
    graph::Tensor,
    nn::{Param, Params},
};

/// What a training step computes.
pub trait Task: Send + Sync {
    /// The trainable tensors: names, shapes, starting values, parameter groups.
    fn parameters(&self) -> Vec<Param>;

    /// Records the forward pass of a micro-batch of `batch` images. `average` are the moving averages of the same
    /// parameters, given exactly if [`Task::average`] asks for them. Gradients are the trainer's.
    fn record<'g>(&self, batch: usize, params: &Params<'g>, average: Option<&Params<'g>>) -> Objective<'g>;

    /// The moving average that follows the weights, where there is one.
    fn average(&self) -> Option<Average> {
        None
    }

    /// Inputs that stay as they are, written once.
    fn constants(&self) -> Vec<(&'static str, Vec<f32>)> {
        Vec::new()
    }

    /// What is done on the host to the images `[batch, channels, height, width]` of a whole update, before they are cut into
    /// micro-batches; `shown` are their numbers. What it returns, as many values for each image, comes with the micro-batches.
    fn prepare(&self, _step: u64, _images: &mut [f32], _shown: &[usize]) -> Vec<f32> {
        Vec::new()
    }

    /// What the host writes for a micro-batch of step `step` (from 0). Whatever is drawn follows from the task's seed,
    /// the step and [`MicroBatch::samples`] alone.
    fn inputs<'b>(&self, step: u64, batch: &MicroBatch<'b>) -> Inputs<'b>;
}

/// What a recorded step is judged by, and what it tells.
pub struct Objective<'g> {
    /// What is minimised, `[1]`.
    pub loss: Tensor<'g>,
    /// What is reported beside it.
    pub scalars: Vec<Scalar<'g>>,
    /// Values that stay readable where a trainer is asked to keep them, by the names that its plan gives them.
    pub inspected: Vec<(&'static str, Tensor<'g>)>,
}

/// Makes a scalar of a tensor's values.
pub(crate) type Read = Arc<dyn Fn(&[f32]) -> f64 + Send + Sync>;

/// A number that a step reports, averaged over its micro-batches.
pub struct Scalar<'g> {
    pub(crate) name: &'static str,
    pub(crate) tensor: Tensor<'g>,
    pub(crate) read: Read,
}

impl<'g> Scalar<'g> {
    /// The value of `tensor`, `[1]`.
    pub fn new(name: &'static str, tensor: Tensor<'g>) -> Scalar<'g> {
        Scalar::read(name, tensor, |values| f64::from(values[0]))
    }

    /// What the host makes of the values of a small f32 tensor.
    pub fn read(
        name: &'static str,
        tensor: Tensor<'g>,
        read: impl Fn(&[f32]) -> f64 + Send + Sync + 'static,
    ) -> Scalar<'g> {
        Scalar { name, tensor, read: Arc::new(read) }
    }
}

/// A moving average of the weights. It starts as they do.
#[derive(Clone, Copy, Debug)]
pub struct Average {
    /// Its arena, and its group in checkpoints.
    pub name: &'static str,
    /// The scalar that says how far it is from the weights after an update: ‖average − weights‖ / ‖weights‖.
    pub drift: &'static str,
    /// Which parameters that compares.
    pub measured: fn(&str) -> bool,
}

/// Some images of a batch.
#[derive(Clone, Copy, Debug)]
pub struct MicroBatch<'b> {
    /// Views `[batch, channels, height, width]`, normalised.
    pub images: &'b [f32],
    /// Epoch and number of each image that was due.
    pub samples: &'b [(u64, usize)],
    /// The number of each image that is there; another than was due where that could not be read.
    pub shown: &'b [usize],
    /// What [`Task::prepare`] returned for these images.
    pub prepared: &'b [f32],
}

/// What the host writes for a micro-batch.
#[derive(Clone, Debug, Default)]
pub struct Inputs<'b> {
    pub(crate) values: Vec<(&'static str, Cow<'b, [u8]>)>,
    pub(crate) scalars: Scalars,
}

impl<'b> Inputs<'b> {
    /// With these values for an input of the recorded graph.
    pub fn with<T: bytemuck::Pod>(mut self, name: &'static str, values: &'b [T]) -> Inputs<'b> {
        self.values.push((name, bytemuck::cast_slice(values).into()));
        self
    }

    /// With values that were made for this micro-batch.
    pub fn with_owned<T: bytemuck::Pod>(mut self, name: &'static str, values: &[T]) -> Inputs<'b> {
        self.values.push((name, bytemuck::cast_slice(values).to_vec().into()));
        self
    }

    /// With a number that the step reports, for example a weight of this step.
    pub fn reporting(mut self, name: &'static str, value: f64) -> Inputs<'b> {
        self.scalars.add(name, value);
        self
    }
}
