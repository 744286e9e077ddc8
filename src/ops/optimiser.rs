//! What happens to a shard of weights after the backward pass: gradient norm and health, AdamW, the momentum encoder's
//! moving average and its distance, and the sum of micro-batches' gradients.

use std::{any::Any, rc::Rc};

use super::{
    column_sum,
    launch::{GROUP, grid},
    prelude::*,
};

/// Values that one invocation of [`SquareSum`] adds up.
const CHUNK: usize = 256;
/// Fours of values that one invocation of [`Ema`] moves, or each part of one.
const VEC4S: usize = 16;
/// Invocations side by side, or parts of them, that move vec4s side by side.
const ACROSS: usize = 16;

/// The scalars of one update, as the kernels read them.
#[repr(C)]
#[derive(Clone, Copy, Debug, bytemuck::Pod, bytemuck::Zeroable)]
pub struct Settings {
    learning_rate: f32,
    weight_decay: f32,
    beta1: f32,
    beta2: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    eps: f32,
    correction1: f32,
    correction2: f32,
    one_minus_ema_decay: f32,
    most_square: f32,
}

impl Settings {
    /// How many scalars there are.
    pub const LEN: usize = 11;

    /// The scalars of update number `t` (from 1): AdamW with bias correction (Loshchilov and Hutter, 2019, in PyTorch's
    /// form, epsilon outside the corrected root) and the teacher's decay.
    pub fn new(t: u64, learning_rate: f64, weight_decay: f64, betas: (f64, f64), eps: f64, ema_decay: f64) -> Settings {
        let power = |beta: f64| 1.0 - beta.powf(t as f64);
        Settings {
            learning_rate: learning_rate as f32,
            weight_decay: weight_decay as f32,
            beta1: betas.0 as f32,
            beta2: betas.1 as f32,
            one_minus_beta1: (1.0 - betas.0) as f32,
            one_minus_beta2: (1.0 - betas.1) as f32,
            eps: eps as f32,
            correction1: (1.0 / power(betas.0)) as f32,
            correction2: (1.0 / power(betas.1).sqrt()) as f32,
            one_minus_ema_decay: (1.0 - ema_decay) as f32,
            most_square: f32::MAX,
        }
    }

    /// The same update, but made only if the gradient's norm is at most `limit`.
    pub fn with_norm_limit(self, limit: f64) -> Settings {
        Settings { most_square: (limit * limit) as f32, ..self }
    }

    /// Whether the kernels make no update with gradients of this sum of squares and so many values that are not finite.
    pub fn refuse(&self, square: f32, not_finite: u64) -> bool {
        not_finite > 0 || square > self.most_square
    }
}

/// Sum of squares and number of values that are not finite, over chunks of a shard: `[chunks, 2]`.
#[derive(Debug, Clone, Copy)]
pub struct SquareSum;

/// AdamW in place; inputs weights, gradient, moment1, moment2, settings and health, outputs weights and moments. Health of
/// three values ends with what the gradients are to be multiplied by.
#[derive(Debug, Clone, PartialEq)]
pub struct AdamW {
    /// The parameter groups, at most [`AdamW::GROUPS`], in order from value 0.
    pub groups: Vec<Run>,
}

/// A run of values that one parameter group takes up, to where the next one begins.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// Its first value, a multiple of 4.
    pub first: usize,
    /// What the learning rate is multiplied by, and with it the decay.
    pub rate: f32,
    /// What the weight decay is multiplied by.
    pub decay: f32,
}

/// The teacher's moving average in place; inputs teacher, weights, settings and health, outputs teacher and, of each
/// invocation, the sums of (teacher − student)² and student² after it.
#[derive(Debug, Clone, Copy)]
pub struct Ema {
    /// The values whose distance is summed, two runs from one multiple of four to another.
    pub measured: [(usize, usize); 2],
}

/// [`AdamW`] and the [`Ema`] that reads its weights, in one; inputs of the first, then teacher, settings and health of the
/// second, outputs those of both. Recorded by the fusion pass, not by models.
#[derive(Debug, Clone)]
struct AdamWEma(AdamW, Ema);

/// Adds a micro-batch's gradient in place; inputs sum, gradient and `[1]`: 0 to start anew.
#[derive(Debug, Clone, Copy)]
pub struct Accumulate;

/// Sum of squares and number of values that are not finite, of several shards together: `[2]`.
pub fn health<'g>(gradients: &[Tensor<'g>]) -> Tensor<'g> {
    added(gradients.iter().map(|g| g.then(SquareSum, &[])))
}

/// Partial sums of several shards together.
pub fn added<'g>(partial: impl Iterator<Item = Tensor<'g>>) -> Tensor<'g> {
    partial.map(column_sum::finish).reduce(|a, b| a + b).expect("at least one shard")
}

/// A kernel by its name, in 64-bit integers where these are the better way.
macro_rules! pick {
    ($tuning:ident, $kernel:ident) => {
        if $tuning.moves_wide() { &kernels::optimiser_wide::$kernel } else { &kernels::optimiser::$kernel }
    };
}

/// Vec4s side by side that those kernels load and store at once.
fn parts(tuning: &Tuning) -> usize {
    if tuning.moves_wide() { 2 } else { 1 }
}

fn params(len: usize) -> kernels::optimiser::Params {
    kernels::optimiser::Params { len: len as u32, chunk: CHUNK as u32, ..bytemuck::Zeroable::zeroed() }
}

fn vectors(x: &[TensorType]) -> Result<(), ShapeError> {
    let len = x[0].len();
    ensure_shape!(x.iter().all(|t| t.shape == [len]), "wants vectors of one length");
    Ok(())
}

impl Op for SquareSum {
    fn name(&self) -> &'static str {
        "square_sum"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::f32(&[x[0].len().div_ceil(CHUNK), 2])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let sums = x[0].data.chunks(CHUNK).flat_map(|chunk| {
            let bad = chunk.iter().filter(|v| !v.is_finite()).count();
            [chunk.iter().map(|v| v * v).sum::<f64>(), bad as f64]
        });
        vec![Array::new(&[x[0].data.len().div_ceil(CHUNK), 2], sums.collect())]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let slots = [Slot::In(0), Slot::Out(0)];
        let grid = groups(y[0].rows().div_ceil(2 * parts(tuning)));
        vec![dispatch(pick!(tuning, SQUARE_SUM), params(x[0].len()), &slots, grid)]
    }
}

impl AdamW {
    /// How many parameter groups a shard may have.
    pub const GROUPS: usize = 64;

    fn params(&self, x: &[TensorType]) -> kernels::optimiser::Params {
        let mut groups = [[0; 4]; AdamW::GROUPS];
        for (group, run) in groups.iter_mut().zip(&self.groups) {
            *group = [(run.first / 4) as u32, run.rate.to_bits(), run.decay.to_bits(), 0];
        }
        let (scaled, count) = (u32::from(x[5].len() == 3), self.groups.len() as u32);
        kernels::optimiser::Params { scaled, count, groups, ..params(x[0].len()) }
    }
}

impl Op for AdamWEma {
    fn name(&self) -> &'static str {
        "adamw+ema"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let updated = self.0.infer(&x[..6])?;
        let followed = self.1.infer(&[x[6].clone(), updated[0].clone()])?;
        Ok(updated.into_iter().chain(followed).collect())
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut y = self.0.eval(&x[..6]);
        let followed = self.1.eval(&[x[6], &y[0], x[7], x[8]]);
        y.extend(followed);
        y
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let state = [Slot::Out(0), Slot::Out(1), Slot::Out(2), Slot::Out(3), Slot::Out(4)];
        let slots = [&[Slot::In(1), Slot::In(4), Slot::In(5)][..], &state].concat();
        vec![self.1.launch(pick!(tuning, ADAMW_EMA), self.0.params(x), &slots, tuning)]
    }

    fn overwrites(&self) -> &[(usize, usize)] {
        &[(0, 0), (1, 2), (2, 3), (3, 6)]
    }
}

impl Op for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        vectors(&x[..4])?;
        ensure_shape!(x[4].len() == Settings::LEN && [2, 3].contains(&x[5].len()), "wants settings and health");
        let starts: Vec<_> = self.groups.iter().map(|run| run.first).collect();
        let ordered = starts.is_sorted() && starts.iter().all(|first| first.is_multiple_of(4));
        ensure_shape!(starts.first() == Some(&0) && ordered, "wants groups of vec4s from 0, not {starts:?}");
        ensure_shape!(starts.len() <= AdamW::GROUPS, "takes {} groups, not {}", AdamW::GROUPS, starts.len());
        Ok(vec![x[0].clone(); 3])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let (mut w, mut m, mut v) = (x[0].clone(), x[2].clone(), x[3].clone());
        let [lr, decay, beta1, beta2, rest1, rest2, eps, correction1, correction2, _, most] = x[4].data[..] else {
            unreachable!("checked when recorded")
        };
        for i in 0..w.data.len() {
            if x[5].data[1] > 0.0 || x[5].data[0] > most {
                break;
            }
            let g = x[1].data[i] * x[5].data.get(2).unwrap_or(&1.0);
            let group = self.groups.iter().rfind(|run| run.first <= i).expect("a group begins at 0");
            let lr = lr * f64::from(group.rate);
            w.data[i] *= 1.0 - lr * decay * f64::from(group.decay);
            m.data[i] = beta1 * m.data[i] + rest1 * g;
            v.data[i] = beta2 * v.data[i] + rest2 * g * g;
            w.data[i] -= lr * correction1 * m.data[i] / (v.data[i].sqrt() * correction2 + eps);
        }
        vec![w, m, v]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let slots = [Slot::In(1), Slot::In(4), Slot::In(5), Slot::Out(0), Slot::Out(1), Slot::Out(2)];
        let grid = groups(x[0].len().div_ceil(4 * parts(tuning)));
        vec![dispatch(pick!(tuning, ADAMW), self.params(x), &slots, grid)]
    }

    fn absorb(&self, next: &dyn Op, operand: usize, _: bool, _: &Tuning) -> Option<Rc<dyn Op>> {
        let ema = (next as &dyn Any).downcast_ref::<Ema>().filter(|_| operand == 1)?;
        Some(Rc::new(AdamWEma(self.clone(), *ema)))
    }

    fn overwrites(&self) -> &[(usize, usize)] {
        &[(0, 0), (1, 2), (2, 3)]
    }
}

impl Ema {
    fn groups(len: usize) -> usize {
        len.div_ceil(4 * GROUP * VEC4S)
    }

    /// One of the kernels that move the teacher.
    fn launch(
        &self,
        kernel: &'static Kernel,
        params: kernels::optimiser::Params,
        slots: &[Slot],
        tuning: &Tuning,
    ) -> Dispatch {
        let [(first, end), (more_first, more_end)] = self.measured.map(|(first, end)| (first as u32, end as u32));
        let params = kernels::optimiser::Params { first, end, more_first, more_end, ..params };
        let parts = parts(tuning);
        let sizes = [("VEC4S", VEC4S), ("ACROSS", ACROSS / parts)];
        let constants = sizes.map(|(name, value)| Constant { name, value: value as u32 }).to_vec();
        Dispatch {
            constants,
            ..dispatch(kernel, params, slots, grid(Ema::groups(params.len as usize).div_ceil(parts)))
        }
    }
}

impl Op for Ema {
    fn name(&self) -> &'static str {
        "ema"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        vectors(&x[..2])?;
        let whole = self.measured.iter().all(|(first, end)| first.is_multiple_of(4) && end.is_multiple_of(4));
        ensure_shape!(whole, "measures vec4s, not {:?}", self.measured);
        Ok(vec![x[0].clone(), TensorType::f32(&[Ema::groups(x[0].len()) * GROUP, 2])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let refused = x[3].data[1] > 0.0 || x[3].data[0] > x[2].data[10];
        let rest = if refused { 0.0 } else { x[2].data[9] };
        let moved: Vec<_> = x[0].data.iter().zip(&x[1].data).map(|(t, w)| t + rest * (w - t)).collect();
        let mut sums = Array::zeros(&[Ema::groups(moved.len()) * GROUP, 2]);
        let measured = |i: &usize| self.measured.iter().any(|(first, end)| (*first..*end).contains(i));
        for i in (0..moved.len()).filter(measured) {
            let row = sums.row_mut(i / 4 / (ACROSS * VEC4S) * ACROSS + i / 4 % ACROSS);
            row[0] += (moved[i] - x[1].data[i]).powi(2);
            row[1] += x[1].data[i].powi(2);
        }
        vec![Array::new(&x[0].shape, moved), sums]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let slots = [Slot::In(1), Slot::In(2), Slot::In(3), Slot::Out(0), Slot::Out(1)];
        vec![self.launch(pick!(tuning, EMA), params(x[0].len()), &slots, tuning)]
    }

    fn overwrites(&self) -> &[(usize, usize)] {
        &[(0, 0)]
    }
}

impl Op for Accumulate {
    fn name(&self) -> &'static str {
        "accumulate"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        vectors(&x[..2])?;
        Ok(vec![x[0].clone()])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let keep = if x[2].data[0] == 0.0 { 0.0 } else { 1.0 };
        vec![Array::new(&x[0].shape, x[0].data.iter().zip(&x[1].data).map(|(s, g)| keep * s + g).collect())]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let slots = [Slot::In(1), Slot::In(2), Slot::Out(0)];
        let grid = groups(x[0].len().div_ceil(4 * parts(tuning)));
        vec![dispatch(pick!(tuning, ACCUMULATE), params(x[0].len()), &slots, grid)]
    }

    fn overwrites(&self) -> &[(usize, usize)] {
        &[(0, 0)]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let n = 1031;
    let vector = |content| (TensorType::f32(&[n]), content);
    // Infinities in the first two chunks, one in each place of a vec4.
    let infinite = |i: usize| [1, 6, 300, 511].contains(&i);
    let overflown = (0..600).map(|i| if infinite(i) { f64::INFINITY } else { (i % 7) as f64 / 8.0 }).collect();
    let settings = |limit: f64| {
        let settings = Settings::new(3, 1e-3, 0.05, (0.9, 0.95), 1e-8, 0.99).with_norm_limit(limit);
        let values = bytemuck::cast::<Settings, [f32; Settings::LEN]>(settings).map(f64::from);
        (TensorType::f32(&[Settings::LEN]), Content::Exact(values.to_vec()))
    };
    let health_of = |values: &[f64]| (TensorType::f32(&[values.len()]), Content::Exact(values.to_vec()));
    let health = |bad: f64| health_of(&[1.0, bad]);
    let runs = [(0, 1.0, 1.0), (300, 0.75, 1.0), (500, 1.0, 0.0), (776, 0.25, 0.0), (1000, 0.0, 1.0)];
    let adamw = AdamW { groups: runs.map(|(first, rate, decay)| Run { first, rate, decay }).into() };
    let update_of = |health, limit| {
        let state = [vector(Content::Fixed), vector(Content::Fixed), vector(Content::Fixed), vector(Content::Positive)];
        Sample::new(adamw.clone(), state.into_iter().chain([settings(limit), health]).collect())
    };
    let update = |bad, limit| update_of(health(bad), limit);
    let sum = |first: f64| (TensorType::f32(&[1]), Content::Exact(vec![first]));
    let pair = || vec![vector(Content::Fixed), vector(Content::Fixed)];
    let following = |measured, n: usize, limit| {
        let vectors = [(TensorType::f32(&[n]), Content::Fixed), (TensorType::f32(&[n]), Content::Fixed)];
        Sample::new(Ema { measured }, vectors.into_iter().chain([settings(limit), health(0.0)]).collect())
    };
    let both = |limit, bad| {
        let update = update(bad, limit);
        let ema = Ema { measured: [(8, 512), (600, 1024)] };
        let rest = [vector(Content::Fixed), settings(limit), health(bad)];
        Sample::new(AdamWEma(adamw.clone(), ema), update.inputs.into_iter().chain(rest).collect())
    };
    // Values of a workgroup of the moving average.
    let group = 4 * GROUP * VEC4S;
    vec![
        Sample::new(SquareSum, vec![vector(Content::Fixed)]),
        Sample::new(SquareSum, vec![(TensorType::f32(&[600]), Content::Exact(overflown))]),
        update(0.0, 1.5),
        update(1.0, 1.5),
        update(0.0, 0.5),
        update_of(health_of(&[1.0, 0.0, 0.125]), 1.5),
        update_of(health_of(&[1.0, 1.0, 0.125]), 1.5),
        both(1.5, 0.0),
        both(0.5, 0.0),
        both(1.5, 1.0),
        following([(0, 1032), (0, 0)], n, 1.5),
        following([(4, 8), (1028, 1032)], n, 0.5),
        following([(64, group), (group + 4, 2 * group + 64)], 2 * group + 67, 1.5),
        Sample::new(Accumulate, pair().into_iter().chain([sum(0.0)]).collect()),
        Sample::new(Accumulate, pair().into_iter().chain([sum(1.0)]).collect()),
    ]
}
