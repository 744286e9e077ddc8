//! The cross-entropy of soft targets (mixed or smoothed labels are such), and how many rows are told right.

use super::{launch::grid, prelude::*};
use crate::kernels::soft_cross_entropy as shader;

/// `loss [1] = mean over rows of −Σ t log softmax(z)`; inputs logits z and targets t, both `[rows, classes]`. A row's
/// targets need not add up to one. Further outputs: the loss of each row, and of each row the largest logit m and Σ t /
/// Σ exp(z − m), for the backward pass.
#[derive(Debug, Clone, Copy)]
pub struct SoftCrossEntropy;

/// `dz = (softmax(z) Σ t − t) dloss / rows`, of [`SoftCrossEntropy`]; inputs z, t, what that keeps of each row, and
/// dloss.
#[derive(Debug, Clone, Copy)]
pub struct SoftCrossEntropyBackward;

/// The share of rows whose largest logit stands where the largest target does, `[1]`, and 1 or 0 for each row; of equal
/// values the one of the lower class counts. Inputs as [`SoftCrossEntropy`]'s; there is no gradient.
#[derive(Debug, Clone, Copy)]
pub struct Accuracy;

fn params(z: &TensorType) -> shader::Params {
    shader::Params { rows: z.rows() as u32, cols: z.cols() as u32 }
}

fn one_shape(x: &[TensorType]) -> Result<(), ShapeError> {
    ensure_shape!(x[0] == x[1] && x[0].shape.len() == 2, "logits and targets must both be [rows, classes]");
    Ok(())
}

/// A number of each row in output 1, and their mean in output 0.
fn with_mean(z: &TensorType, rows: Dispatch) -> Vec<Dispatch> {
    vec![rows, dispatch(&shader::MEAN, params(z), &[Slot::Out(1), Slot::Out(0)], [1, 1, 1])]
}

fn mean(per_row: &[f64]) -> Array {
    Array::new(&[1], vec![per_row.iter().sum::<f64>() / per_row.len() as f64])
}

impl Op for SoftCrossEntropy {
    fn name(&self) -> &'static str {
        "soft_cross_entropy"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        one_shape(x)?;
        let rows = x[0].rows();
        Ok([&[1][..], &[rows], &[rows, 2]].map(TensorType::f32).into())
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], y: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(x[0].then(SoftCrossEntropyBackward, &[x[1], y[2], dy])), None]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let (mut per_row, mut stats) = (Vec::new(), Array::zeros(&[x[0].rows(), 2]));
        for i in 0..x[0].rows() {
            let (z, t) = (x[0].row(i), x[1].row(i));
            let most = z.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = z.iter().map(|v| (v - most).exp()).sum();
            per_row.push(z.iter().zip(t).map(|(z, t)| t * (most + sum.ln() - z)).sum());
            stats.row_mut(i).copy_from_slice(&[most, t.iter().sum::<f64>() / sum]);
        }
        vec![mean(&per_row), Array::new(&[per_row.len()], per_row), stats]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let slots = [Slot::In(0), Slot::In(1), Slot::Out(1), Slot::Out(2)];
        with_mean(&x[0], dispatch(&shader::ROW_LOSS, params(&x[0]), &slots, grid(x[0].rows())))
    }
}

impl Op for SoftCrossEntropyBackward {
    fn name(&self) -> &'static str {
        "soft_cross_entropy_backward"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![x[0].clone()])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut dz = x[0].clone();
        let scale = x[3].data[0] / dz.rows() as f64;
        for i in 0..dz.rows() {
            let [most, share] = x[2].row(i)[..] else { unreachable!("two numbers a row") };
            let pairs = dz.row_mut(i).iter_mut().zip(x[1].row(i));
            pairs.for_each(|(z, t)| *z = ((*z - most).exp() * share - t) * scale);
        }
        vec![dz]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let slots = [Slot::In(0), Slot::In(1), Slot::In(2), Slot::In(3), Slot::Out(0)];
        vec![dispatch(&shader::BACKWARD, params(&x[0]), &slots, groups(x[0].len()))]
    }
}

impl Op for Accuracy {
    fn name(&self) -> &'static str {
        "accuracy"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        one_shape(x)?;
        Ok(vec![TensorType::f32(&[1]), TensorType::f32(&[x[0].rows()])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let largest = |row: &[f64]| (0..row.len()).rev().max_by(|a, b| row[*a].total_cmp(&row[*b]));
        let hit = |i: usize| f64::from(largest(x[0].row(i)) == largest(x[1].row(i)));
        let per_row: Vec<f64> = (0..x[0].rows()).map(hit).collect();
        vec![mean(&per_row), Array::new(&[per_row.len()], per_row)]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let slots = [Slot::In(0), Slot::In(1), Slot::Out(1)];
        with_mean(&x[0], dispatch(&shader::ROW_HIT, params(&x[0]), &slots, grid(x[0].rows())))
    }
}

/// Logits whose exponentials overflow, and the gradient there.
fn steep() -> [Sample; 2] {
    let (shape, rows) = ([3, 70], 3);
    let input = |content| (TensorType::f32(&shape), content);
    let far = (0..rows * 70).map(|i| f64::from((i * 37 % 101) as f32 * 8.0 - 400.0));
    let z = input(Content::Exact(far.collect()));
    let forward = Sample::new(SoftCrossEntropy, vec![z.clone(), input(Content::Positive)]);
    let values = forward.values(1);
    let stats = SoftCrossEntropy.eval(&[&values[0], &values[1]]).remove(2);
    let stats = (TensorType::f32(&stats.shape), Content::Exact(stats.data));
    let dloss = (TensorType::f32(&[1]), Content::Exact(vec![0.5]));
    let backward = Sample::new(SoftCrossEntropyBackward, vec![z, input(Content::Positive), stats, dloss]);
    [forward, backward]
}

/// Rows whose largest value stands in two columns: in both orders among invocations, and both of one.
fn ties() -> Sample {
    let row = |columns: [usize; 2]| (0..70).map(move |c| if columns.contains(&c) { 1.0 } else { -1.0 });
    let exact =
        |rows: [[usize; 2]; 4]| (TensorType::f32(&[4, 70]), Content::Exact(rows.into_iter().flat_map(row).collect()));
    let z = exact([[5, 66], [5, 66], [3, 67], [69, 69]]);
    Sample::new(Accuracy, vec![z, exact([[5, 5], [66, 66], [3, 3], [68, 69]])])
}

pub(super) fn samples() -> Vec<Sample> {
    let pair =
        |shape: &[usize], logits| vec![(TensorType::f32(shape), logits), (TensorType::f32(shape), Content::Positive)];
    let loss = |shape: &[usize]| Sample::new(SoftCrossEntropy, pair(shape, Content::Random));
    let hits = Sample::new(Accuracy, pair(&[131, 5], Content::Fixed));
    [loss(&[5, 7]), loss(&[131, 70]), loss(&[1, 130]), hits, ties()].into_iter().chain(steep()).collect()
}
