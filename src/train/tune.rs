//! Chooses kernel variants by measuring them on the adapter: for each class of matmuls that a training step has, for each
//! shape of matmul, and for attention and layer norm. Knows neither files nor the system's clock, so that it works in a browser too.

#[cfg(not(target_arch = "wasm32"))]
pub mod cache;
mod compare;
mod expected;
mod needs;
mod subject;
mod thresholds;

use std::fmt;

pub use compare::{Comparison, compare};
use expected::{Measured, most_like};
pub use needs::{Need, classes, needs};
pub(super) use subject::best_run;
use subject::{Subject, agree, sample, web_safe};
pub use thresholds::BUDGET_S;
use thresholds::{DOUBTFUL, HOPELESS, NEAR, RULED_OUT};

use super::Clock;
use crate::{
    device::Device,
    error::Result,
    kernels::{Form, Tile, Tuning, Variant, Work},
    shape::DType,
};

/// What was chosen for one class of matmuls or one shape, for attention or layer norm.
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

/// Measures the candidates for each of `needs` and writes the fastest into `tuning`; for a shape those alone that may be
/// the fastest by what its class's took. Time that is left goes into further looks, since what disturbs one may last for
/// seconds. What `budget_s` seconds do not suffice for takes what the class most like it lets expect, or stays as it is
/// without one. `on` hears of each choice but those that lack of time made.
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
    let mut looks: Vec<Look<'_>> = Vec::new();
    // With the place of what they are for.
    let mut choices: Vec<(usize, Choice)> = Vec::new();
    for (index, need @ Need { work, of_class }) in needs.iter().enumerate() {
        let mut before = tuning.variant(work);
        if expired() {
            if let Some((variant, _)) = most_like(&classes, work).and_then(|held| held.expect(work).first().copied()) {
                need.choose(tuning, variant);
            }
            continue;
        }
        let own = classes.iter().find(|held| !of_class && held.class.is_like(work));
        let expected = own.map(|held| held.expect(work)).unwrap_or_default();
        if let [(variant, gflops)] = expected[..] {
            need.choose(tuning, variant);
            let work = work.clone();
            let choice = Choice { work, of_class: false, variant, gflops, before, before_gflops: None, measured: 0 };
            choices.push((index, choice));
            continue;
        }
        let mut subject = Subject::sized(device, work, before, *of_class, clock).await;
        if subject.is_err() && before.takes_matrix_units() {
            tracing::warn!("the variant `{before}` is left out: the adapter refuses it");
            before = Tuning::for_gpus().variant(work);
            need.choose(tuning, before);
            subject = Subject::sized(device, work, before, *of_class, clock).await;
        }
        let mut candidates: Vec<_> = expected.iter().map(|(variant, _)| *variant).collect();
        if candidates.is_empty() {
            candidates = work.candidates(device);
            let factor = RULED_OUT[usize::from(!device.is_software())];
            let hopeless = |candidate| classes.iter().any(|held| held.rules_out(work, candidate, factor));
            candidates.retain(|candidate| *candidate != before && !hopeless(*candidate));
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
        subject.compile(device, &candidates).await;
        let want = sample.outputs(device, web_safe(work)).await?;
        let agrees = async |variant| Ok(agree(&sample.outputs(device, variant).await?, &want, (work, variant)));
        let seconds = async |variant, limit| subject.seconds(device, variant, limit, clock).await;
        // Shapes follow one another without a pause.
        if *of_class {
            subject.warm(device, before, clock).await?;
        }
        let rounds = if *of_class { &NEAR[..] } else { &[] };
        let mut measured = measure(&candidates, rounds, &expired, agrees, &seconds).await;
        if falls_behind(&measured, &expected, subject.work.flops()) {
            measure_again(&mut measured, NEAR[0], &expired, &seconds).await;
        }
        device.check()?;
        let look = Look { index, need, before, work: subject.work, repeats: subject.repeats, measured };
        let Some(choice) = look.choice() else { continue };
        need.choose(tuning, choice.variant);
        if *of_class {
            classes.push(Measured { class: work.clone(), work: look.work.clone(), rates: look.rates() });
        }
        looks.push(look);
    }
    if let Some(Look { work, repeats, measured, .. }) = looks.first().filter(|_| !device.is_software() && !expired()) {
        Subject::new(device, work.clone(), *repeats)?.warm(device, measured[0].0, clock).await?;
    }
    for near in NEAR {
        for Look { work, repeats, measured, .. } in &mut looks {
            if !expired() && close(measured, near).len() > 1 {
                let subject = Subject::new(device, work.clone(), *repeats)?;
                let seconds = async |variant, limit| subject.seconds(device, variant, limit, clock).await;
                measure_again(measured, near, &expired, seconds).await;
                device.check()?;
            }
        }
    }
    choices.extend(looks.iter().filter_map(|look| Some((look.index, look.choice()?))));
    choices.sort_by_key(|(index, _)| *index);
    for (index, choice) in &choices {
        needs[*index].choose(tuning, choice.variant);
        on(choice);
    }
    Ok(())
}

/// What was measured for a need.
struct Look<'a> {
    /// Its place.
    index: usize,
    need: &'a Need,
    /// What the tuning had before.
    before: Variant,
    /// What of the work was measured, and how often a run repeats it.
    work: Work,
    repeats: usize,
    /// Seconds of each variant.
    measured: Vec<(Variant, f64)>,
}

impl Look<'_> {
    /// GFLOP/s of each variant.
    fn rates(&self) -> Vec<(Variant, f64)> {
        self.measured.iter().map(|(variant, seconds)| (*variant, self.work.flops() / seconds / 1e9)).collect()
    }

    fn choice(&self) -> Option<Choice> {
        let rates = self.rates();
        let (variant, gflops) = rates.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
        Some(Choice {
            work: self.need.work.clone(),
            of_class: self.need.of_class,
            variant,
            gflops,
            before: self.before,
            before_gflops: rates.iter().find(|(variant, _)| *variant == self.before).map(|(_, rate)| *rate),
            measured: rates.len(),
        })
    }
}

/// Tests and times candidates until `expired`: those that passed, each with its best time in seconds; the near ones again,
/// by `rounds`. `seconds` is told beyond which time a second run is in vain.
async fn measure(
    candidates: &[Variant],
    rounds: &[f64],
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
    for near in rounds {
        measure_again(&mut measured, *near, expired, &seconds).await;
    }
    measured
}

/// Times those again that took at most `near` times the best's time, unless it is one alone.
async fn measure_again(
    measured: &mut [(Variant, f64)],
    near: f64,
    expired: &dyn Fn() -> bool,
    seconds: impl AsyncFn(Variant, f64) -> Result<f64>,
) {
    let limit = fastest(measured) * near;
    let close = close(measured, near);
    if close.len() > 1 {
        for index in close {
            if expired() {
                break;
            }
            let (variant, held) = &mut measured[index];
            *held = seconds(*variant, limit).await.unwrap_or(f64::INFINITY).min(*held);
        }
    }
}

/// Whether one of those measured is [`DOUBTFUL`] beside its expected rate in GFLOP/s.
fn falls_behind(measured: &[(Variant, f64)], expected: &[(Variant, f64)], flops: f64) -> bool {
    measured.iter().any(|(variant, seconds)| {
        expected.iter().any(|(held, gflops)| held == variant && flops / seconds / 1e9 < gflops * DOUBTFUL)
    })
}

/// Which took at most `near` times the best's time.
fn close(measured: &[(Variant, f64)], near: f64) -> Vec<usize> {
    let limit = fastest(measured) * near;
    (0..measured.len()).filter(|index| measured[*index].1 <= limit).collect()
}

fn fastest(measured: &[(Variant, f64)]) -> f64 {
    measured.iter().map(|(_, seconds)| *seconds).fold(f64::INFINITY, f64::min)
}

/// GFLOP/s of the matmul that computes one output an invocation, at 256³.
pub async fn naive_matmul(device: &Device, clock: Clock<'_>) -> Result<f64> {
    let work = Work::Matmul { form: Form::Nt, shape: [256; 3], operands: DType::F32 };
    let subject = Subject::new(device, work, 1)?;
    let seconds = subject.seconds(device, Variant::Matmul(Tile::Naive), f64::INFINITY, clock).await?;
    Ok(subject.work.flops() / seconds / 1e9)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::AttentionVariant;

    const GOOD: Variant = Variant::Matmul(Tile::Naive);
    const FAST: Variant = Variant::Matmul(Tile::Subgroup { lanes: 8, lane_m: 8, lane_n: 4 });
    const SLOW: Variant = Variant::Attention(AttentionVariant::Scalar { group: 8 });

    fn matmul(form: Form, m: usize, n: usize, k: usize) -> Work {
        Work::Matmul { form, shape: [m, n, k], operands: DType::F32 }
    }

    #[test]
    fn a_wrong_candidate_is_dropped_and_never_timed() {
        let want = vec![vec![1.0, -2.0, 3.0]];
        let outputs = |variant| match variant {
            FAST => vec![vec![1.0, -2.0, 3.001]],
            SLOW => vec![vec![1.0, f32::NAN, 3.0]],
            _ => vec![vec![1.0, -2.0, 3.000001]],
        };
        let agrees = async |variant| Ok(agree(&outputs(variant), &want, (&matmul(Form::Nt, 64, 64, 64), variant)));
        let seconds = async |variant, _| {
            assert_eq!(variant, GOOD, "a wrong candidate was timed");
            Ok(1.0)
        };
        let measured = pollster::block_on(measure(&[FAST, SLOW, GOOD], &NEAR, &|| false, agrees, seconds));
        assert_eq!(measured, [(GOOD, 1.0)]);
    }

    #[test]
    fn a_candidate_that_the_adapter_refuses_is_dropped() {
        let refuse = |variant| if variant == FAST { Err(crate::error::Error::Gpu("no".into())) } else { Ok(()) };
        let measured = pollster::block_on(measure(
            &[SLOW, FAST, GOOD],
            &NEAR,
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
            Ok(if variant == FAST { 1.0 } else { 4.0 })
        };
        pollster::block_on(measure(&[GOOD, FAST, SLOW], &NEAR, &|| false, async |_| Ok(true), seconds));
        assert_eq!(*limits.borrow(), [f64::INFINITY, 8.0, 2.0]);
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
                        2.9
                    }
                }
            })
        };
        let measured = pollster::block_on(measure(&[FAST, GOOD, SLOW], &NEAR, &|| false, async |_| Ok(true), seconds));
        assert_eq!(measured, [(FAST, 1.0), (GOOD, 0.9), (SLOW, 1.9)]);
        assert_eq!(asked.borrow()[3..], [FAST, GOOD, SLOW, FAST, GOOD, FAST, GOOD], "a bad moment counts against none");
    }

    #[test]
    fn a_comparison_knows_how_near_the_chosen_variant_is() {
        let rates = vec![(GOOD, 8.0), (FAST, 10.0)];
        let mut compared = Comparison { work: matmul(Form::Nt, 8, 8, 8), chosen: GOOD, rates };
        assert_eq!(compared.share(), 0.8);
        compared.chosen = FAST;
        assert_eq!(compared.share(), 1.0);
    }

    #[test]
    fn what_falls_behind_its_class_is_doubted() {
        let measured = [(GOOD, 1.0), (FAST, 2.0)];
        let behind = |good, fast| falls_behind(&measured, &[(GOOD, good), (FAST, fast)], 40e9);
        assert!(!behind(42.0, 21.0), "40 and 20 GFLOP/s are near enough");
        assert!(behind(43.0, 21.0) && behind(42.0, 22.0));
        assert!(!falls_behind(&measured, &[(SLOW, 100.0)], 40e9), "nothing was expected of these");
    }

    #[test]
    fn an_expired_budget_ends_the_measuring() {
        let measured =
            pollster::block_on(measure(&[GOOD, FAST], &NEAR, &|| true, async |_| Ok(true), async |_, _| Ok(1.0)));
        assert_eq!(measured, [(GOOD, 1.0)]);
    }
}
