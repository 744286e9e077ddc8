//! What is measured: a computation on a device, small enough to be timed and tested in a moment.

use std::rc::Rc;

use super::thresholds::{PATTERN, REPEATS, ROWS, RUN_S, TRIAL_FLOPS, WARM_S};
use crate::{
    device::Device,
    error::Result,
    exec::{Arenas, Executor},
    graph::{Array, Graph, Place, Tensor, gradients},
    kernels::{AttentionVariant, Form, Tuning, Variant, Work, inner},
    lower::{Fetch, Plan, PlanOptions},
    ops::{
        Attention, AttentionBackward, LayerNorm, Matmul, SliceVector, StoresF16,
        agreement::{self, normalised_square_error},
    },
    shape::{DType, TensorType},
    train::Clock,
};

/// Holds the inputs of what is measured.
const ARENA: &str = "tuning";

/// Whether every output of a variant is as near to the wanted one as its type allows.
pub(super) fn agree(got: &[Vec<f32>], want: &[Vec<f32>], (work, variant): (&Work, Variant)) -> bool {
    let attention = if let Variant::Attention(rows) = variant { Some(rows) } else { None };
    got.iter().zip(want).all(|(got, want)| {
        let want: Vec<f64> = want.iter().map(|v| f64::from(*v)).collect();
        normalised_square_error(got, &want) <= agreement::tolerance(results(work), attention)
    })
}

/// The variant that every adapter has.
pub(super) fn web_safe(work: &Work) -> Variant {
    match work {
        // That of f32 cannot read halves.
        Work::Attention { inputs, .. } if inputs[0].dtype == DType::F16 => {
            Variant::Attention(AttentionVariant::Vec4 { group: 64, rows: 1 })
        }
        work => Tuning::default().variant(work),
    }
}

/// The type of what is computed.
fn results(work: &Work) -> DType {
    if let Work::Attention { inputs, .. } = work { inputs[0].dtype } else { DType::F32 }
}

/// A small computation of the same kind, at a shape that straddles tiles unless a variant of `work` cannot have one.
pub(super) fn sample(work: &Work) -> Work {
    match work {
        Work::Matmul { form, shape, operands } => {
            let odd = |extent: usize, small: usize| {
                // Matrix units take whole blocks.
                let units: &[usize] = if *operands == DType::F16 { &[16, 8, 4] } else { &[4] };
                let unit = units.iter().copied().find(|unit| extent.is_multiple_of(*unit)).unwrap_or(1);
                small.next_multiple_of(unit)
            };
            let [m, n, k] = *shape;
            Work::Matmul { form: *form, shape: [odd(m, 129), odd(n, 77), odd(k, 45)], operands: *operands }
        }
        Work::Attention { heads, first_query, inputs } => {
            // Every variant takes halves in vec4s.
            let unit = if inputs[0].dtype == DType::F16 { 4 } else { 1 };
            let inner = inner(inputs);
            let width = |ty: &TensorType| ty.cols() / inner * (inner / heads).next_multiple_of(unit);
            let tokens = [19, 37];
            let small =
                |(ty, tokens): (&TensorType, usize)| TensorType { shape: vec![2, tokens, width(ty)], dtype: ty.dtype };
            let inputs = inputs.iter().zip(tokens).map(small).collect();
            Work::Attention { heads: 1, first_query: (*first_query).min(3), inputs }
        }
        Work::LayerNorm { input } => Work::LayerNorm { input: TensorType::f32(&[67, input.cols()]) },
    }
}

/// `work` cut along its rows, or images, to about `flops` operations.
fn cut(work: &Work, flops: f64) -> Work {
    let share = (flops / work.flops()).min(1.0);
    match work {
        Work::Matmul { form, shape: [m, n, k], operands } => {
            let rows = (*m as f64 * share) as usize / ROWS * ROWS;
            let m = if share == 1.0 { *m } else { rows.max(ROWS).min(*m) };
            Work::Matmul { form: *form, shape: [m, *n, *k], operands: *operands }
        }
        Work::Attention { heads, first_query, inputs } => {
            let fewer = |ty: &TensorType| {
                let batch = (ty.shape[0] as f64 * share) as usize;
                TensorType { shape: [&[batch.max(1)], &ty.shape[1..]].concat(), dtype: ty.dtype }
            };
            Work::Attention { heads: *heads, first_query: *first_query, inputs: inputs.iter().map(fewer).collect() }
        }
        Work::LayerNorm { input } => {
            let rows = (input.rows() as f64 * share) as usize;
            Work::LayerNorm { input: TensorType::f32(&[rows.max(1), input.cols()]) }
        }
    }
}

/// A computation to measure, with its inputs on the device.
pub(super) struct Subject {
    pub(super) work: Work,
    arenas: Arenas,
    /// How often a timed run repeats it.
    pub(super) repeats: usize,
}

impl Subject {
    /// `work` cut to what the adapter does within [`RUN_S`], or its
    /// lower end unless `long`, judged by `variant`.
    pub(super) async fn sized(
        device: &Device,
        work: &Work,
        variant: Variant,
        long: bool,
        clock: Clock<'_>,
    ) -> Result<Subject> {
        let trial = Subject::new(device, cut(work, TRIAL_FLOPS), 1)?;
        let rate = trial.work.flops() / trial.seconds(device, variant, f64::INFINITY, clock).await?;
        let most = if long { RUN_S.0 } else { RUN_S.1 };
        let mut subject = Subject::new(device, cut(work, rate * most), 1)?;
        if subject.work.flops() / rate < RUN_S.1 {
            // Shorter than the way to the adapter and back may be: repeat it.
            let seconds = subject.seconds(device, variant, f64::INFINITY, clock).await?;
            subject.repeats = (RUN_S.1 / seconds).ceil().clamp(1.0, REPEATS) as usize;
        }
        Ok(subject)
    }

    pub(super) fn new(device: &Device, work: Work, repeats: usize) -> Result<Subject> {
        let mut arenas = Arenas::default();
        for (shard, ty) in inputs(&work).iter().enumerate() {
            arenas.add(device, ARENA, shard, ty.bytes())?;
            let pattern = (0..ty.len().min(PATTERN)).map(|i| f64::from(((i + 97 * shard) % 251) as f32 / 251.0 - 0.5));
            let pattern = Array { shape: Vec::new(), data: pattern.collect() };
            let mut bytes = agreement::bytes(ty, &pattern);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            let end = ty.bytes().next_multiple_of(4);
            for at in (0..end).step_by(bytes.len()) {
                let some = bytes.len().min((end - at) as usize);
                arenas.write(device, ARENA, shard, at, &bytes[..some]);
            }
        }
        Ok(Subject { work, arenas, repeats })
    }

    fn plan(&self, variant: Variant, whole: bool) -> Plan {
        let graph = Graph::new();
        let fetched = record(&graph, &self.work).into_iter().enumerate().map(|(index, y)| {
            let corner = || y.reshape(&[y.ty().len()]).then(SliceVector { first: 0, len: 1 }, &[]);
            Fetch::new(index.to_string(), if whole { y } else { corner() })
        });
        let fetched: Vec<_> = fetched.collect();
        let mut tuning = Tuning::default();
        tuning.choose(&self.work, variant);
        Plan::new(&graph, &fetched, &PlanOptions { tuning, ..Default::default() })
    }

    async fn executor(&self, device: &Device, variant: Variant, whole: bool) -> Result<Executor> {
        Executor::new(device, self.plan(variant, whole), &self.arenas).await
    }

    /// Compiles the kernels of several variants at once. What the adapter refuses among them fails again when it is used.
    pub(super) async fn compile(&self, device: &Device, variants: &[Variant]) {
        let plans: Vec<_> = variants.iter().map(|variant| self.plan(*variant, true)).collect();
        let dispatches = plans.iter().flat_map(|plan| &plan.dispatches);
        device.compile(dispatches.map(|d| (d.kernel, &d.constants[..]))).await;
    }

    /// Keeps a GPU busy until its clock has risen.
    pub(super) async fn warm(&self, device: &Device, variant: Variant, clock: Clock<'_>) -> Result<()> {
        let began = clock();
        while !device.is_software() && clock() - began < WARM_S {
            self.seconds(device, variant, 0.0, clock).await?;
        }
        Ok(())
    }

    /// Every output in full.
    pub(super) async fn outputs(&self, device: &Device, variant: Variant) -> Result<Vec<Vec<f32>>> {
        let executor = self.executor(device, variant, true).await?;
        executor.run(device);
        let mut outputs = Vec::new();
        for name in executor.plan().outputs.keys() {
            outputs.push(executor.read_as(device, name, results(&self.work)).await?);
        }
        Ok(outputs)
    }

    pub(super) async fn seconds(&self, device: &Device, variant: Variant, limit: f64, clock: Clock<'_>) -> Result<f64> {
        let executor = self.executor(device, variant, false).await?;
        best_run(device, &executor, "0", self.repeats, limit, clock).await
    }
}

/// Seconds of one of `repeats` repetitions in the better of two runs after one that warms up; in the first alone if that
/// takes longer than `limit`. A run ends when its output can be read.
pub(in crate::train) async fn best_run(
    device: &Device,
    executor: &Executor,
    output: &str,
    repeats: usize,
    limit: f64,
    clock: Clock<'_>,
) -> Result<f64> {
    let mut best = f64::INFINITY;
    for run in 0..3 {
        let began = clock();
        executor.repeat(device, repeats);
        executor.read(device, output).await?;
        if run > 0 {
            best = best.min((clock() - began) / repeats as f64);
        }
        if run > 0 && best > limit {
            break;
        }
    }
    // A coarse clock may not have moved.
    Ok(best.max(1e-9))
}

/// The types of what `work` reads: a and b; attention's inputs and the gradient of its output. No bias, so that the forms
/// can share a pipeline.
fn inputs(work: &Work) -> Vec<TensorType> {
    match work {
        Work::Matmul { form, shape: [m, n, k], operands } => {
            let shapes = match form {
                Form::Nt => [[*m, *k], [*n, *k]],
                Form::Nn => [[*m, *k], [*k, *n]],
                Form::Tn => [[*k, *m], [*k, *n]],
            };
            shapes.map(|shape| TensorType { shape: shape.to_vec(), dtype: *operands }).to_vec()
        }
        Work::Attention { first_query, inputs, .. } => {
            let shape = vec![inputs[0].shape[0], inputs[0].shape[1] - first_query, inner(inputs)];
            let dy = TensorType { shape, dtype: inputs[0].dtype };
            inputs.iter().cloned().chain([dy]).collect()
        }
        Work::LayerNorm { input } => {
            let affine = TensorType::f32(&[input.cols()]);
            vec![input.clone(), affine.clone(), affine, input.clone()]
        }
    }
}

/// Records `work` on inputs in the arena and returns its results.
fn record<'g>(graph: &'g Graph, work: &Work) -> Vec<Tensor<'g>> {
    let input = |(shard, ty)| graph.external("x", ty, Place { arena: ARENA, shard, offset: 0 });
    let x: Vec<_> = inputs(work).into_iter().enumerate().map(input).collect();
    match work {
        Work::Matmul { form, .. } => vec![x[0].then(Matmul { form: *form }, &x[1..])],
        Work::Attention { heads, first_query, inputs } => {
            let op = Attention { heads: *heads, first_query: *first_query };
            let (dy, x) = (x[inputs.len()], &x[..inputs.len()]);
            if inputs[0].dtype == DType::F16 {
                let y = graph.apply(StoresF16::new(Rc::new(op), 1), x);
                let all = [&[y[0], y[1], dy], x].concat();
                let d = graph.apply(StoresF16::new(Rc::new(AttentionBackward(op)), x.len()), &all);
                return d[..x.len()].iter().copied().chain([y[0]]).collect();
            }
            let y = x[0].then(op, &x[1..]);
            gradients(y, dy, x).into_iter().chain([y]).collect()
        }
        Work::LayerNorm { .. } => {
            let y = x[0].then(LayerNorm { eps: 1e-6, unbiased: false }, &x[1..3]);
            gradients(y, x[3], &x[..3]).into_iter().chain([y]).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matmul(form: Form, m: usize, n: usize, k: usize) -> Work {
        Work::Matmul { form, shape: [m, n, k], operands: DType::F32 }
    }

    #[test]
    fn what_is_measured_keeps_all_but_its_rows() {
        let work = matmul(Form::Nn, 2080, 768, 192);
        assert_eq!(cut(&work, f64::INFINITY), work);
        assert_eq!(cut(&work, work.flops() / 2.0), matmul(Form::Nn, 1024, 768, 192));
        assert_eq!(cut(&work, 1.0), matmul(Form::Nn, 64, 768, 192));
        assert_eq!(cut(&matmul(Form::Nn, 9, 768, 192), 1.0), matmul(Form::Nn, 9, 768, 192));
        let batch = |n| Work::Attention { heads: 2, first_query: 0, inputs: vec![TensorType::f32(&[n, 65, 96])] };
        assert_eq!(cut(&batch(8), batch(8).flops() / 4.0), batch(2));
        assert_eq!(cut(&batch(8), 1.0), batch(1));
    }
}
