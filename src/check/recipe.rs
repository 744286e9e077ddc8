//! Pieces of the published recipes against a float64 reference: steps of the linear probe, mixing of images and their targets,
//! tables of positions, schedules. On the processor.

use serde::Deserialize;

use super::compare::{Groups, integers};
use crate::{
    data::augment::{Mix, mix, soft_targets},
    formats::tensors::TensorFile,
    infer::linear_probe::LinearProbe,
    model::{ClassifierConfig, ModelConfig},
    nn::{PositionOrder, PositionResize, resize_positions, sincos},
    train::{
        config::{Schedule, TrainingConfig},
        schedule::{learning_rate, rate_at_epoch},
    },
};

/// Of a probe's weights, momenta and running values after steps, relatively.
const PROBE: f64 = 1e-5;
/// Of a probe's loss, relatively.
const LOSS: f64 = 2e-6;
/// Of mixed images and of their targets, absolutely.
const MIXED: (f64, f64) = (1e-6, 1e-7);
/// Of tables of positions, relatively.
const POSITIONS: f64 = 5e-6;
/// Of rates, relatively to the largest.
const RATES: f64 = 1e-9;
/// Factors of layers and drop rates are float32.
const LAYERS: f64 = 1e-6;
/// The largest extent in a fixture.
const MOST: usize = 4096;

/// Compares a fixture with what is computed here.
pub(super) type Check = fn(&TensorFile, &mut Groups) -> Result<(), String>;

/// The check of a fixture of this kind, if it is one of these.
pub(super) fn check_of(kind: &str) -> Option<Check> {
    Some(match kind {
        "probe_step" => probe_steps,
        "mixup" => mixing,
        "positions" => positions,
        "schedules" => schedules,
        _ => return None,
    })
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

/// ‖got − want‖ / ‖want‖; NaN where lengths differ.
fn apart(got: &[f64], want: &[f64]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|v| v * v).sum::<f64>();
    if got.len() != want.len() {
        return f64::NAN;
    }
    (square(&mut got.iter().zip(want).map(|(g, w)| g - w)) / square(&mut want.iter().copied())).sqrt()
}

fn within(what: &str, of: &[usize]) -> Result<(), String> {
    match of.iter().all(|size| (1..=MOST).contains(size)) {
        true => Ok(()),
        false => Err(format!("{what}: sizes are from 1 to {MOST}, not {of:?}")),
    }
}

/// Steps of LARS, and the logits of other features after them.
fn probe_steps(file: &TensorFile, groups: &mut Groups) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Config {
        dim: usize,
        classes: usize,
        wd: f64,
    }
    let Config { dim, classes, wd } = file.json("config")?;
    within("`config` in the metadata", &[dim, classes])?;
    let (rates, losses) = (file.f64("in/lr")?.1, file.f64("out/loss")?.1);
    let (shape, features) = file.f32("in/features")?;
    let labels = integers(file, "in/labels", classes)?;
    let &[steps, batch, _] = shape else { return Err(format!("in/features has shape {shape:?}")) };
    if shape != [rates.len(), batch, dim] || batch < 2 || labels.len() != steps * batch || losses.len() != steps {
        return Err(format!(
            "in/features has shape {shape:?} for {} labels, {} rates and a `dim` of {dim}",
            labels.len(),
            rates.len()
        ));
    }
    let (weights, bias) = (wide(file.f32("param/head.w")?.1), wide(file.f32("param/head.b")?.1));
    if weights.len() != classes * dim || bias.len() != classes {
        return Err(format!("param/head.w and param/head.b are not of {classes} classes and {dim} values"));
    }
    let mut probe = LinearProbe { weights, bias, weight_decay: wd, ..LinearProbe::new(classes, dim, 0) };
    for step in 0..steps {
        let of = &features[step * batch * dim..][..batch * dim];
        let loss = probe.step(of, &labels[step * batch..][..batch], batch, rates[step]);
        groups.note("loss", LOSS, "out/loss", (loss / losses[step] - 1.0).abs());
        for (name, got) in [
            ("head.w", &probe.weights),
            ("head.b", &probe.bias),
            ("mu.w", &probe.weights_momentum),
            ("mu.b", &probe.bias_momentum),
            ("bn.mean", &probe.mean),
            ("bn.var", &probe.variance),
        ] {
            let name = format!("after_{}/{name}", step + 1);
            groups.note("state", PROBE, &name, apart(got, &wide(file.f32(&name)?.1)));
        }
    }
    let tested = file.f32("in/test_features")?.1;
    if !tested.len().is_multiple_of(dim) {
        return Err(format!("in/test_features are not of {dim} values"));
    }
    let want = wide(file.f32("out/test_logits")?.1);
    groups.note("logits", PROBE, "out/test_logits", apart(&wide(&probe.logits(tested)), &want));
    Ok(())
}

/// Mixup and cutmix of a batch.
fn mixing(file: &TensorFile, groups: &mut Groups) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Config {
        height: usize,
        width: usize,
        classes: usize,
        smoothing: f64,
    }
    #[derive(Deserialize)]
    struct Cut {
        lambda: f64,
        centre: (usize, usize),
        box_top_bottom_left_right: [usize; 4],
        corrected: f64,
    }
    let Config { height, width, classes, smoothing } = file.json("config")?;
    within("`config` in the metadata", &[height, width, classes])?;
    let labels = integers(file, "in/labels", classes)?;
    let (shape, images) = file.f32("in/images")?;
    if shape.len() != 4 || shape[0] != labels.len() || shape[2..] != [height, width] {
        return Err(format!("in/images has shape {shape:?} for {} labels of {height}×{width} pixels", labels.len()));
    }
    let mut compare = |how: &Mix, made: &str, targets: &str| -> Result<(), String> {
        let mut mixed = images.to_vec();
        mix(&mut mixed, labels.len(), (height, width), how);
        groups.near(("images", MIXED.0), made, &wide(&mixed), &wide(file.f32(made)?.1), false);
        let soft = soft_targets(&labels, classes, smoothing, how.share(height, width));
        groups.near(("targets", MIXED.1), targets, &wide(&soft), file.f64(targets)?.1, false);
        Ok(())
    };
    compare(&Mix::Sum(file.json("mixup_lambda")?), "out/mixup_images", "out/mixup_targets")?;
    compare(&Mix::None, "in/images", "out/plain_targets")?;
    let cuts: Vec<Cut> = file.json("cutmix")?;
    let made: Vec<Mix> = cuts.iter().map(|cut| Mix::cut(cut.lambda, height, width, cut.centre)).collect();
    for (number, how) in made.iter().enumerate() {
        compare(how, &format!("out/cutmix_images_{number}"), &format!("out/cutmix_targets_{number}"))?;
    }
    for (how, cut) in made.iter().zip(&cuts) {
        let [top, bottom, left, right] = cut.box_top_bottom_left_right;
        let wrong = *how != Mix::Cut { rows: top..bottom, columns: left..right };
        let share = (how.share(height, width) - cut.corrected).abs() > 1e-12;
        groups.note("boxes", 0.0, "cutmix", f64::from(u8::from(wrong) + u8::from(share)));
    }
    Ok(())
}

/// Tables of positions, and the same for another grid.
fn positions(file: &TensorFile, groups: &mut Groups) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Case {
        from: (usize, usize),
        to: (usize, usize),
        width: usize,
    }
    let mut note = |name: &str, got: &[f32]| -> Result<(), String> {
        groups.note("positions", POSITIONS, name, apart(&wide(got), &wide(file.f32(name)?.1)));
        Ok(())
    };
    for (index, Case { from, to, width }) in file.json::<Vec<Case>>("cases")?.into_iter().enumerate() {
        let name = format!("in/table_{index}");
        let (shape, table) = file.f32(&name)?;
        within(&name, &[from.0, from.1, to.0, to.1, width])?;
        if shape != [1 + from.0 * from.1, width] {
            return Err(format!("{name} has shape {shape:?} for a grid of {from:?} and a width of {width}"));
        }
        for (how, made) in [(PositionResize::Bicubic, "resized"), (PositionResize::Antialiased, "timm_antialiased")] {
            note(&format!("out/{made}_{index}"), &resize_positions(table, width, from, to, how))?;
        }
    }
    // Tables say in their name how they are ordered, and for which grid.
    for name in file.tensors.keys() {
        let order = [("out/columns_first_", PositionOrder::Columns), ("out/rows_first_", PositionOrder::Rows)];
        let Some((grid, order)) = order.into_iter().find_map(|(start, order)| Some((name.strip_prefix(start)?, order)))
        else {
            continue;
        };
        let grid = grid.split_once('x').and_then(|(rows, columns)| Some((rows.parse().ok()?, columns.parse().ok()?)));
        let (shape, _) = file.f32(name)?;
        let (&[_, width], Some((rows, columns))) = (shape, grid) else {
            return Err(format!("{name} of shape {shape:?} is no table of a grid"));
        };
        within(name, &[rows, columns, width])?;
        if width % 4 != 0 {
            return Err(format!("{name} has a width of {width}, which is no multiple of 4"));
        }
        note(name, &sincos(rows, columns, width, order))?;
    }
    Ok(())
}

/// Learning rates by step, factors of layers, drop rates.
fn schedules(file: &TensorFile, groups: &mut Groups) -> Result<(), String> {
    #[derive(Deserialize)]
    struct Epochs {
        steps_per_epoch: u64,
        epochs: f64,
        warm_epochs: f64,
        peak: f64,
        floor: f64,
    }
    #[derive(Deserialize)]
    struct Steps {
        total: u64,
        warm: u64,
        peak: f64,
        floor: f64,
    }
    for key in file.metadata.keys().filter(|key| key.starts_with("mae")) {
        let (of, name): (Epochs, _) = (file.json(key)?, format!("out/{key}"));
        let want = file.f64(&name)?.1;
        let epoch = |step: usize| step as f64 / of.steps_per_epoch.max(1) as f64;
        let rates =
            (0..want.len()).map(|step| rate_at_epoch(epoch(step), of.warm_epochs, of.epochs, of.peak, of.floor));
        groups.near(("rates", RATES), &name, &rates.collect::<Vec<_>>(), want, true);
    }
    if file.metadata.contains_key("beit") {
        let (of, want): (Steps, _) = (file.json("beit")?, file.f64("out/beit")?.1);
        let training = TrainingConfig {
            steps: of.total,
            warmup_steps: Some(of.warm),
            peak_learning_rate: Some(of.peak),
            min_learning_rate: Some(of.floor),
            schedule: Schedule::Bootmae,
            ..TrainingConfig::default()
        };
        let rates: Vec<f64> = (0..want.len() as u64).map(|step| learning_rate(step, &training)).collect();
        groups.near(("rates", RATES), "out/beit", &rates, want, true);
    }
    for (name, (_, values)) in file.tensors.keys().filter_map(|name| Some((name, file.f64(name).ok()?))) {
        // The end of a name is a size and a number: base_060 is 0.60.
        let ends = |start: &str| name.strip_prefix(start)?.split_once('_');
        let number = |digits: &str| {
            let (whole, rest) = digits.split_at_checked(1).unwrap_or((digits, ""));
            format!("{whole}.{rest}").parse::<f64>().map_err(|e| format!("{name}: {e}"))
        };
        let classifier = ClassifierConfig { classes: vec!["a".into(), "b".into()], ..ClassifierConfig::default() };
        if let Some((size, digits)) = ends("out/layer_scale_") {
            let model = ModelConfig::preset(size).map_err(|e| e.to_string())?;
            let params = classifier.inventory(&model, number(digits)?, false);
            let rate = |at: &str| params.iter().find(|p| p.name.starts_with(at)).map_or(0.0, |p| f64::from(p.rate));
            let blocks = (0..model.depth).map(|block| rate(&format!("blocks.{block}.")));
            let rates: Vec<f64> = [rate("patch_embed.")].into_iter().chain(blocks).chain([rate("head.")]).collect();
            groups.near(("layers", LAYERS), name, &rates, values, true);
        } else if let Some((size, digits)) = ends("out/drop_rates_") {
            let model = ModelConfig::preset(size).map_err(|e| e.to_string())?;
            let rates = ClassifierConfig { drop_path: number(digits)?, ..classifier }.drop_rates(model.depth);
            groups.near(("layers", LAYERS), name, &rates, values, true);
        }
    }
    Ok(())
}
