//! Linear probes: a classifier on features that stay as they are, solved exactly. Features are standardised by those to
//! train on. The strength of the penalty is chosen on a tenth of the images to train on, never on those to test on.

mod cholesky;
mod lbfgs;
mod linear;
pub mod logistic;
pub mod ridge;

use serde::Serialize;

pub use linear::{Linear, Scale};

use super::{
    accuracy::Answer,
    sets::{Set, Sets},
};
use crate::error::{Error, Result};

/// The most values of a feature that probes take: matrices of its square are solved in f64.
pub const MOST_WIDTH: usize = 8192;

/// The most weights of a logistic regression, of which L-BFGS keeps some 45 copies in f64.
pub const MOST_WEIGHTS: usize = 1 << 25;

/// How a probe is solved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Multinomial logistic regression, by L-BFGS.
    Logistic,
    /// Least squares on one-hot targets, in closed form.
    Ridge,
}

impl Method {
    /// What the setting of its penalty is called.
    pub fn setting(self) -> &'static str {
        match self {
            Method::Logistic => "C",
            Method::Ridge => "lambda",
        }
    }

    /// The values among which the setting is chosen, the strongest penalty first.
    pub fn candidates(self) -> Vec<f64> {
        match self {
            Method::Logistic => vec![1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3],
            Method::Ridge => vec![1e5, 1e4, 1e3, 1e2, 1e1, 1.0, 1e-1],
        }
    }
}

/// What a value of the setting came to on the images held out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Candidate {
    /// The value.
    pub value: f64,
    /// The share of images held out that were told right.
    pub held_out_top1: f64,
    /// Steps of the solver; 0 of a closed form.
    pub iterations: usize,
}

/// A probe that is trained and tested.
#[derive(Clone, Debug)]
pub struct Probed {
    /// The value of the setting.
    pub value: f64,
    /// What it was chosen from; empty where it was given or nothing could be held out.
    pub candidates: Vec<Candidate>,
    /// Images held out for the choice.
    pub held_out: usize,
    /// Steps of the solver; 0 of a closed form.
    pub iterations: usize,
    /// Whether the solver came to the end.
    pub converged: bool,
    /// The answers for the images to test on.
    pub answers: Vec<Answer>,
    /// The classifier, of features as they are.
    pub classifier: Linear,
}

/// Trains a probe on the one set and tests it on the other. The setting is `given`, or else chosen: of those with which most
/// of the images held out are told right the one with the strongest penalty. `seed` decides which are held out, and `said` is
/// told what came of each.
///
/// # Errors
/// [`Error::Config`] where there are too many weights, or the penalty is too weak for the features.
pub fn probe(
    sets: &Sets,
    method: Method,
    given: Option<f64>,
    seed: u64,
    said: &mut dyn FnMut(&Candidate),
) -> Result<Probed> {
    let (width, count) = (sets.width, sets.classes.len());
    if width > MOST_WIDTH {
        return Err(Error::Config(format!("features of {width} values; probes take at most {MOST_WIDTH}")));
    }
    if method == Method::Logistic && width * count > MOST_WEIGHTS {
        return Err(Error::Config(format!(
            "a logistic regression of {count} classes on {width} values has more than the {MOST_WEIGHTS} weights that are \
             solved for; --method ridge and `knn` take them"
        )));
    }
    let (mut candidates, mut held_out, mut start) = (Vec::new(), 0, None);
    let mut value = given.unwrap_or(1.0);
    if let (None, Some(within)) = (given, sets.within(seed)) {
        held_out = within.test.len();
        let values = method.candidates();
        let tried = solve(&within, method, &values, None, &mut |value, fitted, answers| {
            let right = answers.iter().filter(|answer| answer.rank == 0).count();
            let held_out_top1 = right as f64 / held_out as f64;
            let candidate = Candidate { value, held_out_top1, iterations: fitted.iterations };
            said(&candidate);
            candidates.push(candidate);
        })?;
        let best = candidates.iter().map(|c| c.held_out_top1).fold(0.0, f64::max);
        let chosen = candidates.iter().position(|c| c.held_out_top1 == best).unwrap_or_default();
        (value, start) = (values[chosen], tried.into_iter().nth(chosen));
    }
    let mut answers = Vec::new();
    let start = start.map(|fitted| fitted.model);
    let mut solved = solve(sets, method, &[value], start.as_ref(), &mut |_, _, found| answers = found)?;
    let Fitted { model, iterations, converged } = solved.remove(0);
    let classifier = Scale::of(&sets.train.values, width).undone(&model);
    Ok(Probed { value, candidates, held_out, iterations, converged, answers, classifier })
}

/// A classifier that was solved for.
struct Fitted {
    model: Linear,
    iterations: usize,
    converged: bool,
}

/// Solves for each value of the setting, one from the solution before, and gives the answers for the images to test on.
fn solve(
    sets: &Sets,
    method: Method,
    values: &[f64],
    start: Option<&Linear>,
    each: &mut dyn FnMut(f64, &Fitted, Vec<Answer>),
) -> Result<Vec<Fitted>> {
    let (width, count) = (sets.width, sets.classes.len());
    let scale = Scale::of(&sets.train.values, width);
    let [train, test] = [&sets.train, &sets.test].map(|set: &Set| scale.standardised(&set.values));
    let classes = &sets.train.classes;
    let mut all: Vec<Fitted> = Vec::new();
    let mut take = |value, fitted: Fitted| {
        each(value, &fitted, fitted.model.answers(&test, &sets.test.classes));
        all.push(fitted);
    };
    match method {
        Method::Logistic => {
            let problem = logistic::Problem::new(&train, classes, width, count);
            let mut before = start.cloned();
            for value in values {
                let logistic::Solved { model, iterations, converged, .. } = problem.solve(*value, before.as_ref());
                before = Some(model.clone());
                take(*value, Fitted { model, iterations, converged });
            }
        }
        Method::Ridge => {
            let problem = ridge::Problem::new(&train, classes, width, count);
            for value in values {
                let model = problem.solve(*value).ok_or_else(|| {
                    Error::Config(format!(
                        "with lambda = {value} these features have no single answer; take a larger one"
                    ))
                })?;
                take(*value, Fitted { model, iterations: 0, converged: true });
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images whose first value tells their class, which the second repeats and the third does not vary with.
    fn sets() -> Sets {
        let set = |first: usize, count: usize| {
            let classes: Vec<u32> = (first..first + count).map(|n| (n % 3) as u32).collect();
            let row = |(n, class): (usize, &u32)| {
                let value = *class as f32 + ((first + n) * 7919 % 100) as f32 / 80.0;
                [value, value, 4.0]
            };
            Set { values: classes.iter().enumerate().flat_map(row).collect(), classes }
        };
        let classes = ["a", "b", "c"].map(String::from).to_vec();
        Sets { classes, width: 3, train: set(0, 600), test: set(600, 90), ..Sets::default() }
    }

    fn top1(probed: &Probed) -> f64 {
        probed.answers.iter().filter(|answer| answer.rank == 0).count() as f64 / probed.answers.len() as f64
    }

    #[test]
    fn the_strongest_of_equally_good_penalties_is_chosen_on_images_held_out() {
        for method in [Method::Logistic, Method::Ridge] {
            let mut told = 0;
            let probed = probe(&sets(), method, None, 3, &mut |_| told += 1).unwrap();
            assert_eq!((told, probed.held_out), (7, 60), "{method:?}");
            let best = probed.candidates.iter().map(|c| c.held_out_top1).fold(0.0, f64::max);
            let first = probed.candidates.iter().find(|c| c.held_out_top1 == best).unwrap();
            assert_eq!((probed.value, probed.converged), (first.value, true));
            assert!(top1(&probed) > 0.5, "{method:?}: {}", top1(&probed));
        }
    }

    #[test]
    fn features_that_repeat_each_other_have_an_optimum_or_are_refused() {
        // Without a penalty the shares of two equal features are anything.
        for c in [1e-9, 1e9] {
            let probed = probe(&sets(), Method::Logistic, Some(c), 0, &mut |_| ()).unwrap();
            assert!(probed.converged && probed.candidates.is_empty() && top1(&probed) > 0.5, "{c}");
        }
        assert!(probe(&sets(), Method::Ridge, Some(1e9), 0, &mut |_| ()).is_ok());
        let error = probe(&sets(), Method::Ridge, Some(1e-30), 0, &mut |_| ()).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("take a larger one"), "{error}");
        let wide = Sets { width: MOST_WIDTH + 1, ..sets() };
        assert!(probe(&wide, Method::Ridge, None, 0, &mut |_| ()).unwrap_err().to_string().contains("at most 8192"));
    }
}
