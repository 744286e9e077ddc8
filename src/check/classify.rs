//! Classifiers on features against a float64 reference: nearest neighbours, logistic and ridge regression, and the pieces of
//! recipes. They run on the processor, so that no adapter is needed.

use serde::Deserialize;

use super::{
    compare::{Groups, Report, integers},
    recipe,
};
use crate::{
    error::{Error, Result},
    formats::tensors::TensorFile,
    infer::{
        accuracy::Answer,
        neighbours::{nearest, scores},
        probe::{Linear, Scale, logistic, ridge},
        sets::{Set, Sets},
    },
};

/// Of a cosine, absolutely.
const COSINE: f64 = 2e-6;
/// Of scores and standardised features, relatively.
const RELATIVE: f64 = 1e-5;
/// Of an objective above the optimum, relatively.
const OBJECTIVE: f64 = 1e-6;
/// Predictions are compared where the best two scores of the reference are further apart.
const TOLD_APART: f64 = 1e-2;
/// The largest number of classes in a fixture.
const MOST_CLASSES: usize = 4096;

/// The sizes and settings of a fixture.
#[derive(Deserialize)]
struct Config {
    dim: usize,
    classes: usize,
    #[serde(default, rename = "C")]
    c: Vec<f64>,
    #[serde(default)]
    ridge: Vec<f64>,
}

/// Runs a fixture of the kind `knn`, `logistic` or one of `recipe::check_of`; none where it is of another kind.
///
/// # Errors
/// [`Error::Checkpoint`] with what is wrong with the fixture.
pub fn verify(file: &TensorFile) -> Option<Result<Report>> {
    let kind: String = file.json("kind").ok()?;
    let on_features: fn(&TensorFile, &Config, &Sets, &mut Groups) -> Result<(), String> = match kind.as_str() {
        "knn" => neighbours,
        "logistic" => probes,
        _ => {
            let check = recipe::check_of(&kind)?;
            let mut groups = Groups::default();
            let checked = check(file, &mut groups).map(|()| groups.report("the processor", &kind));
            return Some(checked.map_err(|reason| Error::checkpoint("fixture", reason)));
        }
    };
    let run = || {
        let config: Config = file.json("config")?;
        let sets = sets(file, &config)?;
        let mut groups = Groups::default();
        on_features(file, &config, &sets, &mut groups)?;
        Ok(groups.report("the processor", &kind))
    };
    Some(run().map_err(|reason: String| Error::checkpoint("fixture", reason)))
}

/// The features and classes of a fixture.
fn sets(file: &TensorFile, config: &Config) -> Result<Sets, String> {
    if !(1..=MOST_CLASSES).contains(&config.classes) || !(1..=MOST_CLASSES).contains(&config.dim) {
        return Err(format!("`config` in the metadata: `classes` and `dim` are from 1 to {MOST_CLASSES}"));
    }
    let set = |side: &str| {
        let name = format!("in/{side}");
        let (shape, values) = file.f32(&name)?;
        let labels = integers(file, &format!("in/{side}_labels"), config.classes)?;
        if shape != [labels.len(), config.dim] || labels.is_empty() {
            return Err(format!(
                "{name} has shape {shape:?} for {} labels and a `dim` of {}",
                labels.len(),
                config.dim
            ));
        }
        Ok(Set { values: values.to_vec(), classes: labels })
    };
    let classes = (0..config.classes).map(|class| class.to_string()).collect();
    Ok(Sets { classes, width: config.dim, train: set("train")?, test: set("test")?, ..Sets::default() })
}

fn neighbours(file: &TensorFile, config: &Config, sets: &Sets, groups: &mut Groups) -> Result<(), String> {
    let k = file.json::<usize>("k")?.clamp(1, sets.train.len());
    let found = nearest(sets, k);
    let images: Vec<u32> = found.iter().flatten().map(|(_, image)| *image).collect();
    groups.equal("neighbours", "out/neighbours", &images, &integers(file, "out/neighbours", sets.train.len())?);
    let cosines: Vec<f64> = found.iter().flatten().map(|(cosine, _)| f64::from(*cosine)).collect();
    groups.near(("cosines", COSINE), "out/cosines", &cosines, file.f64("out/cosines")?.1, false);
    let (mut all, mut ranking, mut majority, mut right) = (Vec::new(), Vec::new(), Vec::new(), [0usize; 3]);
    for (found, class) in found.iter().zip(&sets.test.classes) {
        let [weighted, counts] = scores(sets, found, k);
        let mut order: Vec<u32> = (0..config.classes as u32).collect();
        order.sort_by(|a, b| weighted[*b as usize].total_cmp(&weighted[*a as usize]));
        ranking.extend(order);
        let answers = [&weighted, &counts].map(|scores| Answer::of(scores.iter().copied(), *class));
        majority.push(answers[1].told);
        let hits = [answers[0].rank == 0, answers[0].rank < 5, answers[1].rank == 0];
        right.iter_mut().zip(hits).for_each(|(sum, hit)| *sum += usize::from(hit));
        all.extend(weighted);
    }
    groups.near(("scores", RELATIVE), "out/scores", &all, file.f64("out/scores")?.1, true);
    let want = integers(file, "out/weighted_ranking", config.classes)?;
    groups.equal("predictions", "out/weighted_ranking", &ranking, &want);
    groups.equal("predictions", "out/majority", &majority, &integers(file, "out/majority", config.classes)?);
    for (name, right) in ["out/weighted_top1", "out/weighted_top5", "out/majority_top1"].into_iter().zip(right) {
        let share = right as f64 / sets.test.len() as f64;
        groups.near(("accuracy", 1e-12), name, &[share], file.f64(name)?.1, false);
    }
    Ok(())
}

fn probes(file: &TensorFile, config: &Config, sets: &Sets, groups: &mut Groups) -> Result<(), String> {
    if [&config.c, &config.ridge].into_iter().flatten().any(|value| !value.is_finite() || *value <= 0.0) {
        return Err("`config` in the metadata: `C` and `ridge` are above 0".into());
    }
    let (width, count, classes) = (sets.width, config.classes, &sets.train.classes);
    let scale = Scale::of(&sets.train.values, width);
    let [train, test] = [&sets.train, &sets.test].map(|set| scale.standardised(&set.values));
    for (name, values) in [("out/standardised", &train), ("out/test_standardised", &test)] {
        let as_f64 = |values: &[f32]| values.iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
        groups.near(("standardised", RELATIVE), name, &as_f64(values), &as_f64(file.f32(name)?.1), true);
    }
    let reference = |prefix: &str, n: usize| -> Result<Linear, String> {
        let part = |name: &str, len: usize| {
            let name = format!("out/{prefix}{name}_{n}");
            let (shape, values) = file.f32(&name)?;
            let values: Vec<f64> = values.iter().map(|v| f64::from(*v)).collect();
            if values.len() == len { Ok(values) } else { Err(format!("{name} has shape {shape:?} for {len} values")) }
        };
        Ok(Linear { weights: part("W", count * width)?, bias: part("b", count)? })
    };
    let told = |model: &Linear| -> Vec<u32> {
        model.answers(&test, &sets.test.classes).iter().map(|answer| answer.told).collect()
    };
    let problem = logistic::Problem::new(&train, classes, width, count);
    for (n, c) in config.c.iter().enumerate() {
        let model = problem.solve(*c, None).model;
        let name = format!("out/objective_{n}");
        let want = file.f64(&name)?.1.first().copied().ok_or_else(|| format!("{name} is empty"))?;
        let got = objective(&model, &train, classes, *c);
        groups.note("objective", OBJECTIVE, &name, (got - want) / want);
        let (name, reference) = (format!("out/prediction_{n}"), reference("", n)?);
        let clear: Vec<bool> = test.chunks(width).map(|row| gap(&reference, row) > TOLD_APART).collect();
        let among =
            |of: Vec<u32>| of.into_iter().zip(&clear).filter(|(_, clear)| **clear).map(|(told, _)| told).collect();
        let (got, want): (Vec<u32>, Vec<u32>) = (among(told(&model)), among(integers(file, &name, count)?));
        groups.equal("predictions", &name, &got, &want);
    }
    let problem = ridge::Problem::new(&train, classes, width, count);
    for (n, lambda) in config.ridge.iter().enumerate() {
        let reference = reference("ridge_", n)?;
        let model = problem.solve(*lambda).ok_or_else(|| format!("ridge with {lambda} has no single answer"))?;
        let (name, tensor) = (format!("out/ridge_prediction_{n}"), format!("out/ridge_W_{n}"));
        groups.near(("ridge", RELATIVE), &tensor, &model.weights, &reference.weights, true);
        groups.near(("ridge", RELATIVE), &format!("out/ridge_b_{n}"), &model.bias, &reference.bias, true);
        groups.equal("predictions", &name, &told(&model), &integers(file, &name, count)?);
    }
    Ok(())
}

/// The scores of all classes for one image, in f64.
fn exact_scores(model: &Linear, row: &[f32]) -> Vec<f64> {
    let of =
        |(weights, bias): (&[f64], &f64)| bias + weights.iter().zip(row).map(|(w, v)| w * f64::from(*v)).sum::<f64>();
    model.weights.chunks(row.len()).zip(&model.bias).map(of).collect()
}

/// How far the best two scores of an image are apart.
fn gap(model: &Linear, row: &[f32]) -> f64 {
    let mut scores = exact_scores(model, row);
    scores.sort_by(|a, b| b.total_cmp(a));
    scores.first().zip(scores.get(1)).map_or(f64::INFINITY, |(first, second)| first - second)
}

/// The sum of cross-entropies plus ‖W‖² / (2C), in f64.
fn objective(model: &Linear, values: &[f32], classes: &[u32], c: f64) -> f64 {
    let width = model.weights.len() / model.bias.len();
    let loss = values.chunks(width).zip(classes).map(|(row, class)| {
        let scores = exact_scores(model, row);
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        scores.iter().map(|score| (score - highest).exp()).sum::<f64>().ln() + highest - scores[*class as usize]
    });
    loss.sum::<f64>() + model.weights.iter().map(|w| w * w).sum::<f64>() / (2.0 * c)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::tensors::{self, Values};

    fn fixture(name: &str) -> TensorFile {
        let path = format!("{}/tests/fixtures/classify/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
        tensors::parse(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn classifiers_are_those_of_the_reference() {
        let groups = |name| {
            let report = verify(&fixture(name)).unwrap().unwrap();
            assert!(report.pass, "{report:#?}");
            report.groups.into_keys().collect::<Vec<_>>()
        };
        assert_eq!(groups("knn"), ["accuracy", "cosines", "neighbours", "predictions", "scores"]);
        assert_eq!(groups("logistic"), ["objective", "predictions", "ridge", "standardised"]);
        assert_eq!(groups("probe_step"), ["logits", "loss", "state"]);
        assert_eq!(groups("mixup"), ["boxes", "images", "targets"]);
        assert_eq!(groups("posembed_interp"), ["positions"]);
        assert_eq!(groups("schedules"), ["layers", "rates"]);
    }

    #[test]
    fn other_answers_fail_and_other_shapes_are_refused() {
        let changed = |name: &str, tensor: &str, change: &dyn Fn(&mut Values)| {
            let mut file = fixture(name);
            change(&mut file.tensors.get_mut(tensor).unwrap().values);
            verify(&file).unwrap()
        };
        let plus = |values: &mut Values| match values {
            Values::I64(values) => values[7] = (values[7] + 1) % 5,
            Values::F64(values) => *values.iter_mut().max_by(|a, b| a.total_cmp(b)).unwrap() *= 1.0 - 2e-6,
            Values::F32(values) => values[0] += 1e-3,
        };
        for (name, tensor, group) in [
            ("knn", "out/neighbours", "neighbours"),
            ("knn", "out/majority", "predictions"),
            ("logistic", "out/objective_2", "objective"),
            ("logistic", "out/ridge_prediction_1", "predictions"),
            ("logistic", "out/ridge_W_0", "ridge"),
            ("probe_step", "after_2/mu.b", "state"),
            ("mixup", "out/cutmix_images_3", "images"),
            ("mixup", "out/mixup_targets", "targets"),
            ("posembed_interp", "out/resized_1", "positions"),
            ("schedules", "out/mae_floor", "rates"),
        ] {
            let report = changed(name, tensor, &plus).unwrap();
            let failed: Vec<_> = report.groups.iter().filter(|(_, group)| !group.pass).map(|(name, _)| name).collect();
            assert_eq!(failed, [group], "{tensor}");
        }
        let alien = |values: &mut Values| {
            if let Values::I64(values) = values {
                values[3] = 6
            }
        };
        for (name, tensor) in [("knn", "in/train_labels"), ("logistic", "in/test_labels"), ("mixup", "in/labels")] {
            let error = changed(name, tensor, &alien).unwrap_err().to_string();
            assert!(error.contains("holds a number outside 0 to"), "{error}");
        }
        let mut short = fixture("knn");
        short.metadata.insert("config".into(), r#"{"dim": 15, "classes": 6}"#.into());
        assert!(verify(&short).unwrap().unwrap_err().to_string().contains("in/train has shape [300, 16]"));
        assert!(verify(&TensorFile::default()).is_none());
    }
}
