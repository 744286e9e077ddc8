//! Chooses kernel variants by measuring them on the adapter: for each class of products that a training step has, for each
//! shape of product, and for attention and layer norm. Knows neither files nor the system's clock, so that it works in a browser too.

#[cfg(not(target_arch = "wasm32"))]
pub mod cache;

use std::fmt;

use super::Clock;
use crate::{
    device::Device,
    error::Result,
    graph::{Arenas, Array, DType, Executor, Fetch, Graph, Place, Plan, PlanOptions, Tensor, TensorType, gradients},
    ops::{
        Attention, Form, Product, SliceVector, Tile, Tuning, Variant, Work,
        self_test::{self, TOLERANCE, normalised_square_error},
    },
};

/// Seconds that a tuning may take, unless said otherwise; a measurement in progress is finished.
pub const BUDGET_S: f64 = 20.0;

/// The most and the least seconds that one timed run is meant to take.
const RUN_S: (f64, f64) = (0.05, 0.01);
/// The most repetitions in a timed run.
const REPEATS: f64 = 64.0;
/// Floating-point operations of the run that estimates an adapter's rate.
const TRIAL_FLOPS: f64 = 32e6;
/// A candidate this many times slower than the best is not run again.
const HOPELESS: f64 = 2.0;
/// Candidates at most this many times slower than the best are timed in turn again, since machines are noisy: for a
/// moment, one may be half as fast.
const NEAR: f64 = 1.7;
/// How often they are, for a class and for a shape.
const ROUNDS: (usize, usize) = (3, 1);
/// A variant expected to be this many times slower than the best at a shape is not measured there.
const UNLIKELY: f64 = 1.2;
/// Rows of a product are cut to a multiple of this.
const ROWS: usize = 64;

/// Holds the inputs of what is measured.
const ARENA: &str = "tuning";

/// Something that a step needs variants for.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// A computation of the step.
    pub work: Work,
    /// Whether all computations like it take its variant, or products of its shape alone.
    pub of_class: bool,
}

impl Need {
    /// Gives `variant` to all that need it.
    pub fn choose(&self, tuning: &mut Tuning, variant: Variant) {
        if self.of_class {
            tuning.choose(&self.work, variant);
        } else {
            tuning.choose_for_shape(&self.work, variant);
        }
    }
}

/// What was chosen for one class of products or one shape, for attention or layer norm.
#[derive(Clone, Debug)]
pub struct Choice {
    /// The shape that the choice is for, or the largest computation of the class.
    pub work: Work,
    /// Whether it is a class's.
    pub of_class: bool,
    /// The fastest variant.
    pub variant: Variant,
    /// Its rate, GFLOP/s, measured or expected.
    pub gflops: f64,
    /// The variant that the tuning had before.
    pub before: Variant,
    /// Its rate, if it was measured and passed its test.
    pub before_gflops: Option<f64>,
    /// How many variants were measured: with one there was nothing to choose from; none where its class's measurements left
    /// no doubt.
    pub measured: usize,
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, {:.1} GFLOP/s", self.work, self.variant, self.gflops)?;
        match self.before_gflops {
            Some(rate) if self.of_class => write!(f, " (built-in {rate:.1})"),
            Some(rate) => write!(f, " (its class's {rate:.1})"),
            None if self.measured == 0 => write!(f, " expected"),
            None if self.of_class => write!(f, " (built-in failed)"),
            None => Ok(()),
        }
    }
}

/// What has to be tuned for a step that computes `work`: the largest computation of each class, the class that the step
/// spends most operations on first; then the other shapes of products, in the same order.
pub fn needs(work: Vec<Work>) -> Vec<Need> {
    let mut needs = classes(work.clone());
    let mut shapes: Vec<(Work, f64)> = Vec::new();
    for one in work {
        let flops = one.flops();
        match shapes.iter_mut().find(|(held, _)| *held == one) {
            Some((_, sum)) => *sum += flops,
            None => shapes.push((one, flops)),
        }
    }
    shapes.sort_by(|a, b| b.1.total_cmp(&a.1));
    let alone = |work: &Work| matches!(work, Work::Product { .. }) && !needs.iter().any(|need| need.work == *work);
    let alone: Vec<_> = shapes.into_iter().map(|(work, _)| work).filter(alone).collect();
    needs.extend(alone.into_iter().map(|work| Need { work, of_class: false }));
    needs
}

/// The [`needs`] of classes alone.
pub fn classes(work: Vec<Work>) -> Vec<Need> {
    let mut classes: Vec<(Work, f64)> = Vec::new();
    for one in work {
        let flops = one.flops();
        match classes.iter_mut().find(|(held, _)| held.is_like(&one)) {
            Some((held, sum)) => {
                *sum += flops;
                if flops > held.flops() {
                    *held = one;
                }
            }
            None => classes.push((one, flops)),
        }
    }
    classes.sort_by(|a, b| b.1.total_cmp(&a.1));
    classes.into_iter().map(|(work, _)| Need { work, of_class: true }).collect()
}

/// Measures the candidates for each of `needs` and writes the fastest into `tuning`; for a shape those alone that may be
/// the fastest by what its class's took. What `budget_s` seconds do not suffice for stays as it is, or takes what is
/// expected to be the fastest. `on` hears of each choice but those that lack of time made.
pub async fn tune(
    device: &Device,
    needs: &[Need],
    tuning: &mut Tuning,
    budget_s: f64,
    clock: Clock<'_>,
    mut on: impl FnMut(&Choice),
) -> Result<()> {
    let began = clock();
    let expired = || clock() - began >= budget_s;
    let mut classes: Vec<Measured> = Vec::new();
    for need @ Need { work, of_class } in needs {
        let mut before = tuning.variant(work);
        let expected = if *of_class { Vec::new() } else { expected(&classes, work) };
        if let Some(&(variant, gflops)) = expected.first()
            && (expired() || expected.len() == 1)
        {
            need.choose(tuning, variant);
            if !expired() {
                let work = work.clone();
                on(&Choice { work, of_class: false, variant, gflops, before, before_gflops: None, measured: 0 });
            }
            continue;
        }
        if expired() {
            continue;
        }
        let mut subject = Subject::sized(device, work, before, *of_class, clock).await;
        if subject.is_err() && matches!(before, Variant::Product(Tile::Matrix { .. })) {
            tracing::warn!("the variant `{before}` is left out: the adapter refuses it");
            before = Tuning::for_gpus().variant(work);
            need.choose(tuning, before);
            subject = Subject::sized(device, work, before, *of_class, clock).await;
        }
        let mut candidates: Vec<_> = expected.into_iter().map(|(variant, _)| variant).collect();
        if candidates.is_empty() {
            candidates = work.candidates(device);
            candidates.retain(|candidate| *candidate != before);
            candidates.insert(0, before);
        }
        let subject = match subject {
            Ok(subject) => subject,
            Err(error) => {
                tracing::warn!("{work} is not tuned: {error}");
                continue;
            }
        };
        let sample = Subject::new(device, sample(work), 1)?;
        sample.compile(device, &[&candidates[..], &[web_safe(work)]].concat()).await;
        let want = sample.outputs(device, web_safe(work)).await?;
        let agrees = async |variant| Ok(agree(&sample.outputs(device, variant).await?, &want));
        let seconds = async |variant, limit| subject.seconds(device, variant, limit, clock).await;
        let rounds = if *of_class { ROUNDS.0 } else { ROUNDS.1 };
        let measured = measure(&candidates, rounds, &expired, agrees, seconds).await;
        device.check()?;
        let rates: Vec<_> = measured.iter().map(|(variant, s)| (*variant, subject.work.flops() / s / 1e9)).collect();
        let Some((variant, gflops)) = rates.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1)) else { continue };
        need.choose(tuning, variant);
        on(&Choice {
            work: work.clone(),
            of_class: *of_class,
            variant,
            gflops,
            before,
            before_gflops: rates.iter().find(|(variant, _)| *variant == before).map(|(_, rate)| *rate),
            measured: rates.len(),
        });
        if *of_class {
            classes.push(Measured { class: work.clone(), work: subject.work, rates });
        }
    }
    Ok(())
}

/// What was measured for a class.
struct Measured {
    /// Its largest computation.
    class: Work,
    /// What of it was measured.
    work: Work,
    /// GFLOP/s of each variant.
    rates: Vec<(Variant, f64)>,
}

/// The variants that may be the fastest for a product, the likeliest first, with their rates as the measurements of its
/// class let expect: they differ in what they waste at the edges. Empty where its class was not measured.
fn expected(classes: &[Measured], work: &Work) -> Vec<(Variant, f64)> {
    let Some(measured) = classes.iter().find(|held| held.class.is_like(work)) else { return Vec::new() };
    let there = |(variant, rate): &(Variant, f64)| {
        Some((*variant, rate * work.fill(*variant)? / measured.work.fill(*variant)?))
    };
    let mut expected: Vec<_> = measured.rates.iter().filter_map(there).collect();
    expected.sort_by(|a, b| b.1.total_cmp(&a.1));
    let best = expected.first().map_or(0.0, |(_, rate)| *rate);
    expected.retain(|(_, rate)| *rate * UNLIKELY >= best);
    expected
}

/// Tests and times candidates until `expired`: those that passed, each with its best time in seconds; the nearest in
/// `rounds` again. `seconds` is told beyond which time a second run is in vain.
async fn measure(
    candidates: &[Variant],
    rounds: usize,
    expired: &dyn Fn() -> bool,
    agrees: impl AsyncFn(Variant) -> Result<bool>,
    seconds: impl AsyncFn(Variant, f64) -> Result<f64>,
) -> Vec<(Variant, f64)> {
    let mut measured: Vec<(Variant, f64)> = Vec::new();
    for variant in candidates {
        if !measured.is_empty() && expired() {
            break;
        }
        let best = fastest(&measured);
        match agrees(*variant).await {
            Ok(true) => {}
            Ok(false) => {
                tracing::warn!("the variant `{variant}` computes wrongly on this adapter and is left out");
                continue;
            }
            Err(error) => {
                tracing::warn!("the variant `{variant}` is left out: {error}");
                continue;
            }
        }
        match seconds(*variant, best * HOPELESS).await {
            Ok(seconds) => measured.push((*variant, seconds)),
            Err(error) => tracing::warn!("the variant `{variant}` is left out: {error}"),
        }
    }
    for _ in 0..rounds {
        let limit = fastest(&measured) * NEAR;
        let near: Vec<_> = measured.iter_mut().filter(|(_, seconds)| *seconds <= limit).collect();
        if near.len() < 2 {
            break;
        }
        for (variant, held) in near {
            if expired() {
                break;
            }
            *held = seconds(*variant, limit).await.unwrap_or(f64::INFINITY).min(*held);
        }
    }
    measured
}

fn fastest(measured: &[(Variant, f64)]) -> f64 {
    measured.iter().map(|(_, seconds)| *seconds).fold(f64::INFINITY, f64::min)
}

/// Every candidate's rate for one computation of a step, beside the chosen one's.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// The computation.
    pub work: Work,
    /// What the tuning chose for its class.
    pub chosen: Variant,
    /// Each candidate with its rate in GFLOP/s.
    pub rates: Vec<(Variant, f64)>,
}

impl Comparison {
    /// The chosen variant's rate over the best one's.
    pub fn share(&self) -> f64 {
        let best = self.rates.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        let chosen = self.rates.iter().find(|(variant, _)| *variant == self.chosen).map_or(0.0, |(_, rate)| *rate);
        chosen / best
    }
}

/// Measures all candidates for each different computation among `work`, in turn and more patiently than a tuning does.
pub async fn compare(
    device: &Device,
    work: Vec<Work>,
    tuning: &Tuning,
    clock: Clock<'_>,
    mut on: impl FnMut(&Comparison),
) -> Result<()> {
    const PATIENCE: usize = 7;
    let mut different: Vec<Work> = Vec::new();
    for one in work {
        if !different.contains(&one) {
            different.push(one);
        }
    }
    for work in different {
        let chosen = tuning.variant(&work);
        let subject = Subject::sized(device, &work, chosen, true, clock).await?;
        let mut best: Vec<_> = work.candidates(device).into_iter().map(|variant| (variant, f64::INFINITY)).collect();
        if !best.iter().any(|(variant, _)| *variant == chosen) {
            best.push((chosen, f64::INFINITY));
        }
        for _ in 0..PATIENCE {
            let limit = fastest(&best) * HOPELESS;
            for (variant, seconds) in best.iter_mut().filter(|(_, seconds)| *seconds <= limit || limit.is_infinite()) {
                *seconds = subject.seconds(device, *variant, limit, clock).await?.min(*seconds);
            }
        }
        let rate = |seconds: f64| subject.work.flops() / seconds / 1e9;
        let rates = best.into_iter().map(|(variant, seconds)| (variant, rate(seconds))).collect();
        on(&Comparison { work, chosen, rates });
    }
    Ok(())
}

/// Whether every output is within [`TOLERANCE`] of the wanted one.
fn agree(got: &[Vec<f32>], want: &[Vec<f32>]) -> bool {
    got.iter().zip(want).all(|(got, want)| {
        let want: Vec<f64> = want.iter().map(|v| f64::from(*v)).collect();
        normalised_square_error(got, &want) <= TOLERANCE
    })
}

/// The variant that every adapter has.
fn web_safe(work: &Work) -> Variant {
    Tuning::default().variant(work)
}

/// A small computation of the same kind, at a shape that straddles tiles unless a variant of `work` cannot have one.
fn sample(work: &Work) -> Work {
    match work {
        Work::Product { form, shape, operands } => {
            let odd = |extent: usize, small: usize| {
                // Matrix units take whole blocks.
                let units: &[usize] = if *operands == DType::F16 { &[16, 8, 4] } else { &[4] };
                let unit = units.iter().copied().find(|unit| extent.is_multiple_of(*unit)).unwrap_or(1);
                small.next_multiple_of(unit)
            };
            let [m, n, k] = *shape;
            Work::Product { form: *form, shape: [odd(m, 129), odd(n, 77), odd(k, 45)], operands: *operands }
        }
        Work::Attention { op, inputs } => {
            let width = |ty: &TensorType| ty.cols() / op.heads;
            let tokens = [19, 37];
            let small = |(ty, tokens): (&TensorType, usize)| TensorType::f32(&[2, tokens, width(ty)]);
            let first_query = op.first_query.min(3);
            Work::Attention {
                op: Attention { heads: 1, first_query },
                inputs: inputs.iter().zip(tokens).map(small).collect(),
            }
        }
        Work::LayerNorm { op, input } => Work::LayerNorm { op: *op, input: TensorType::f32(&[67, input.cols()]) },
    }
}

/// `work` cut along its rows, or images, to about `flops` operations.
fn cut(work: &Work, flops: f64) -> Work {
    let share = (flops / work.flops()).min(1.0);
    match work {
        Work::Product { form, shape: [m, n, k], operands } => {
            let rows = (*m as f64 * share) as usize / ROWS * ROWS;
            let m = if share == 1.0 { *m } else { rows.max(ROWS).min(*m) };
            Work::Product { form: *form, shape: [m, *n, *k], operands: *operands }
        }
        Work::Attention { op, inputs } => {
            let fewer = |ty: &TensorType| {
                let batch = (ty.shape[0] as f64 * share) as usize;
                TensorType::f32(&[&[batch.max(1)], &ty.shape[1..]].concat())
            };
            Work::Attention { op: *op, inputs: inputs.iter().map(fewer).collect() }
        }
        Work::LayerNorm { op, input } => {
            let rows = (input.rows() as f64 * share) as usize;
            Work::LayerNorm { op: *op, input: TensorType::f32(&[rows.max(1), input.cols()]) }
        }
    }
}

/// A computation to measure, with its inputs on the device.
struct Subject {
    work: Work,
    arenas: Arenas,
    /// How often a timed run repeats it.
    repeats: usize,
}

impl Subject {
    /// `work` cut to what the adapter does within [`RUN_S`], or its
    /// lower end unless `long`, judged by `variant`.
    async fn sized(device: &Device, work: &Work, variant: Variant, long: bool, clock: Clock<'_>) -> Result<Subject> {
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

    fn new(device: &Device, work: Work, repeats: usize) -> Result<Subject> {
        let mut arenas = Arenas::default();
        for (shard, ty) in inputs(&work).iter().enumerate() {
            arenas.add(device, ARENA, shard, ty.bytes())?;
            let values = (0..ty.len()).map(|i| f64::from(((i + 97 * shard) % 251) as f32 / 251.0 - 0.5)).collect();
            let mut bytes = self_test::bytes(ty, &Array::new(&ty.shape, values));
            bytes.resize(bytes.len().next_multiple_of(4), 0);
            arenas.write(device, ARENA, shard, 0, &bytes);
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

    /// Compiles the kernels of several variants at once. On a software adapter alone, which takes seconds for one; those of
    /// others may refuse a variant, whose error is to be its own.
    async fn compile(&self, device: &Device, variants: &[Variant]) {
        if device.is_software() {
            let plans: Vec<_> = variants.iter().map(|variant| self.plan(*variant, true)).collect();
            let dispatches = plans.iter().flat_map(|plan| &plan.dispatches);
            device.compile(dispatches.map(|d| (d.kernel, &d.constants[..]))).await;
        }
    }

    /// Every output in full.
    async fn outputs(&self, device: &Device, variant: Variant) -> Result<Vec<Vec<f32>>> {
        let executor = self.executor(device, variant, true).await?;
        executor.run(device);
        let mut outputs = Vec::new();
        for name in executor.plan().outputs.keys() {
            outputs.push(executor.read(device, name).await?);
        }
        Ok(outputs)
    }

    async fn seconds(&self, device: &Device, variant: Variant, limit: f64, clock: Clock<'_>) -> Result<f64> {
        let executor = self.executor(device, variant, false).await?;
        best_run(device, &executor, "0", self.repeats, limit, clock).await
    }
}

/// Seconds of one of `repeats` repetitions in the better of two runs after one that warms up; in the first alone if that
/// takes longer than `limit`. A run ends when its output can be read.
pub(super) async fn best_run(
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
        Work::Product { form, shape: [m, n, k], operands } => {
            let shapes = match form {
                Form::Nt => [[*m, *k], [*n, *k]],
                Form::Nn => [[*m, *k], [*k, *n]],
                Form::Tn => [[*k, *m], [*k, *n]],
            };
            shapes.map(|shape| TensorType { shape: shape.to_vec(), dtype: *operands }).to_vec()
        }
        Work::Attention { op, inputs } => {
            let inner = if inputs.len() == 1 { inputs[0].cols() / 3 } else { inputs[0].cols() };
            let dy = TensorType::f32(&[inputs[0].shape[0], inputs[0].shape[1] - op.first_query, inner]);
            inputs.iter().cloned().chain([dy]).collect()
        }
        Work::LayerNorm { input, .. } => {
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
        Work::Product { form, .. } => vec![x[0].then(Product { form: *form }, &x[1..])],
        Work::Attention { op, inputs } => {
            let (dy, x) = (x[inputs.len()], &x[..inputs.len()]);
            let y = x[0].then(*op, &x[1..]);
            gradients(y, dy, x).into_iter().chain([y]).collect()
        }
        Work::LayerNorm { op, .. } => {
            let y = x[0].then(*op, &x[1..3]);
            gradients(y, x[3], &x[..3]).into_iter().chain([y]).collect()
        }
    }
}

/// GFLOP/s of the product that computes one output an invocation, at 256³.
pub async fn plain_product(device: &Device, clock: Clock<'_>) -> Result<f64> {
    let work = Work::Product { form: Form::Nt, shape: [256; 3], operands: DType::F32 };
    let subject = Subject::new(device, work, 1)?;
    let seconds = subject.seconds(device, Variant::Product(Tile::Plain), f64::INFINITY, clock).await?;
    Ok(subject.work.flops() / seconds / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::Rows;

    const GOOD: Variant = Variant::Product(Tile::Plain);
    const FAST: Variant = Variant::Product(Tile::Subgroup { lanes: 8, rows: 8, cols: 4 });
    const SLOW: Variant = Variant::Attention(Rows::Workgroup(8));

    fn product(form: Form, m: usize, n: usize, k: usize) -> Work {
        Work::Product { form, shape: [m, n, k], operands: DType::F32 }
    }

    #[test]
    fn a_wrong_candidate_is_dropped_and_never_timed() {
        let want = vec![vec![1.0, -2.0, 3.0]];
        let outputs = |variant| match variant {
            FAST => vec![vec![1.0, -2.0, 3.001]],
            SLOW => vec![vec![1.0, f32::NAN, 3.0]],
            _ => vec![vec![1.0, -2.0, 3.000001]],
        };
        let agrees = async |variant| Ok(agree(&outputs(variant), &want));
        let seconds = async |variant, _| {
            assert_eq!(variant, GOOD, "a wrong candidate was timed");
            Ok(1.0)
        };
        let measured = pollster::block_on(measure(&[FAST, SLOW, GOOD], 3, &|| false, agrees, seconds));
        assert_eq!(measured, [(GOOD, 1.0)]);
    }

    #[test]
    fn a_candidate_that_the_adapter_refuses_is_dropped() {
        let refuse = |variant| if variant == FAST { Err(crate::error::Error::Gpu("no".into())) } else { Ok(()) };
        let measured = pollster::block_on(measure(
            &[SLOW, FAST, GOOD],
            3,
            &|| false,
            async |_| Ok(true),
            async |variant, _| refuse(variant).map(|()| 1.0),
        ));
        assert_eq!(measured, [(SLOW, 1.0), (GOOD, 1.0)]);
    }

    #[test]
    fn a_second_run_is_in_vain_beyond_twice_the_best() {
        let limits = std::cell::RefCell::new(Vec::new());
        let seconds = async |variant, limit| {
            limits.borrow_mut().push(limit);
            Ok(if variant == FAST { 1.0 } else { 3.0 })
        };
        pollster::block_on(measure(&[GOOD, FAST, SLOW], 3, &|| false, async |_| Ok(true), seconds));
        assert_eq!(*limits.borrow(), [f64::INFINITY, 6.0, 2.0]);
    }

    #[test]
    fn those_near_the_best_are_timed_again_in_turn() {
        let asked = std::cell::RefCell::new(Vec::new());
        let seconds = async |variant, _| {
            let mut asked = asked.borrow_mut();
            asked.push(variant);
            let again = asked.len() > 3;
            Ok(match variant {
                FAST => 1.0,
                SLOW => 1.9,
                _ => {
                    if again {
                        0.9
                    } else {
                        1.1
                    }
                }
            })
        };
        let measured = pollster::block_on(measure(&[FAST, GOOD, SLOW], 3, &|| false, async |_| Ok(true), seconds));
        assert_eq!(measured, [(FAST, 1.0), (GOOD, 0.9), (SLOW, 1.9)]);
        assert_eq!(asked.borrow()[3..], [FAST, GOOD].repeat(3));
    }

    #[test]
    fn a_comparison_knows_how_near_the_chosen_variant_is() {
        let rates = vec![(GOOD, 8.0), (FAST, 10.0)];
        let mut compared = Comparison { work: product(Form::Nt, 8, 8, 8), chosen: GOOD, rates };
        assert_eq!(compared.share(), 0.8);
        compared.chosen = FAST;
        assert_eq!(compared.share(), 1.0);
    }

    #[test]
    fn an_expired_budget_ends_the_measuring() {
        let measured =
            pollster::block_on(measure(&[GOOD, FAST], 3, &|| true, async |_| Ok(true), async |_, _| Ok(1.0)));
        assert_eq!(measured, [(GOOD, 1.0)]);
    }

    #[test]
    fn a_step_needs_the_largest_of_each_class_first_and_then_the_other_shapes() {
        let (small, large) = (product(Form::Nt, 64, 64, 64), product(Form::Nt, 64, 128, 64));
        let other = product(Form::Tn, 64, 90, 64);
        let list = vec![small.clone(), other.clone(), large.clone(), small.clone()];
        let need = |work: &Work, of_class| Need { work: work.clone(), of_class };
        assert_eq!(classes(list.clone()), [need(&large, true), need(&other, true)]);
        assert_eq!(needs(list), [need(&large, true), need(&other, true), need(&small, false)]);
    }

    #[test]
    fn what_a_shape_may_take_follows_from_its_class_and_its_edges() {
        let fours = |rows| Variant::Product(Tile::Fours { lanes: 8, rows, cols: 8, terms: 4 });
        let class = product(Form::Nt, 640, 128, 64);
        // At 640 rows both tiles are full; at 130 the taller one computes 160 rows for them, the other 192.
        let rates = vec![(fours(10), 44.0), (fours(8), 43.0), (fours(1), 20.0)];
        let measured = [Measured { class: class.clone(), work: class, rates }];
        let of = |work| expected(&measured, &work);
        assert_eq!(of(product(Form::Nt, 320, 128, 64)), [(fours(10), 44.0), (fours(8), 43.0)]);
        let [(first, rate)] = of(product(Form::Nt, 130, 128, 64))[..] else { panic!("one is enough") };
        assert!(first == fours(10) && (rate - 44.0 * 130.0 / 160.0).abs() < 1e-9, "{first} {rate}");
        assert_eq!(of(product(Form::Nn, 100, 128, 64)), [], "another class");
    }

    #[test]
    fn what_is_measured_keeps_all_but_its_rows() {
        let work = product(Form::Nn, 2080, 768, 192);
        assert_eq!(cut(&work, f64::INFINITY), work);
        assert_eq!(cut(&work, work.flops() / 2.0), product(Form::Nn, 1024, 768, 192));
        assert_eq!(cut(&work, 1.0), product(Form::Nn, 64, 768, 192));
        assert_eq!(cut(&product(Form::Nn, 9, 768, 192), 1.0), product(Form::Nn, 9, 768, 192));
        let op = Attention { heads: 2, first_query: 0 };
        let batch = |n| Work::Attention { op, inputs: vec![TensorType::f32(&[n, 65, 96])] };
        assert_eq!(cut(&batch(8), batch(8).flops() / 4.0), batch(2));
        assert_eq!(cut(&batch(8), 1.0), batch(1));
    }
}
