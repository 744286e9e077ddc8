//! `bootmae pretrain --dry-run`: what would run, worked out without a GPU and without writing anything.

use std::{fs, path::Path, time::Duration};

use super::progress::span;
use crate::{
    error::Result,
    train::{
        config::RunConfig,
        memory::{estimate, mib},
        metrics::{self, Metrics},
    },
};

/// The run of `config` over `images` images into `out`, in words, with the settings below.
pub fn describe(config: &RunConfig, images: usize, out: &Path) -> Result<String> {
    let (model, training) = (&config.model, &config.training);
    let parameters: usize = config.planned_task().parameters().iter().map(|param| param.len()).sum();
    let (steps, batch) = (training.steps, training.batch_size);
    let seen = steps as f64 * batch as f64;
    let groups = if config.planned_task().average().is_some() { 4 } else { 3 };
    let time = match last_rate(out) {
        Some(rate) => {
            let whole = Duration::from_secs_f64(seen / rate);
            format!(
                "about {} for all steps, at the {rate:.1} images/s that {} last measured",
                span(whole),
                out.display()
            )
        }
        None => "not known before steps were measured; `bootmae bench` with the same sizes times some".into(),
    };
    let (height, width) = (model.image_height, model.image_width);
    let rows = [
        ("images", format!("{images} from {}", config.data.source)),
        ("network", format!("{parameters} parameters, {} blocks of width {}", model.depth, model.width)),
        (
            "input",
            match &config.classifier {
                Some(classifier) => format!("{height} × {width} pixels, {} classes", classifier.classes.len()),
                None => format!("{height} × {width} pixels, {} of {} patches hidden", model.masked, model.patches()),
            },
        ),
        ("steps", format!("{steps}, {:.1} epochs", seen / images as f64)),
        (
            "effective batch",
            format!("{batch} images in {} parts of {}", training.micro_batches, training.micro_batch_size()),
        ),
        (
            "learning rate",
            format!(
                "to {:.2e} in {} steps, then down to {:.2e}",
                training.peak_rate(),
                training.warmup(),
                training.floor_rate()
            ),
        ),
        (
            "GPU memory",
            mib(estimate(&*config.planned_task(), training.passes()).total())
                + ", more or less with an adapter's kernels",
        ),
        (
            "checkpoints",
            format!(
                "every {} steps, the last {} kept, {} each",
                training.save_every_steps,
                training.keep_checkpoints,
                mib((parameters * 4 * groups) as u64)
            ),
        ),
        ("time", time),
    ];
    let rows: String = rows.iter().map(|(name, text)| format!("{name:<16} {text}\n")).collect();
    Ok(format!("{rows}\n{}", config.to_toml()?))
}

/// Images a second in the last line of the run's metrics, if there is one.
fn last_rate(out: &Path) -> Option<f64> {
    let text = fs::read_to_string(out.join(metrics::FILE_NAME)).ok()?;
    let last: Metrics = serde_json::from_str(text.lines().last()?).ok()?;
    (last.images_per_s > 0.0).then_some(last.images_per_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_what_decides_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = RunConfig::preset("nano").unwrap();
        (config.training.batch_size, config.training.micro_batches, config.training.steps) = (32, 4, 1000);
        config.data.source = "photos".into();
        let text = describe(&config, 500, folder.path()).unwrap();
        for part in [
            "500 from photos",
            "48 of 64 patches hidden",
            "1000, 64.0 epochs",
            "32 images in 4 parts of 8",
            "to 1.00e-3 in 50 steps, then down to 4.17e-5",
            "every 500 steps, the last 3 kept, 35 MiB each",
            "not known",
            "[training]",
        ] {
            assert!(text.contains(part), "no `{part}` in:\n{text}");
        }
        let line = serde_json::to_string(&Metrics { step: 1, images_per_s: 16.0, ..Metrics::default() }).unwrap();
        fs::write(folder.path().join(metrics::FILE_NAME), line).unwrap();
        assert!(
            describe(&config, 500, folder.path()).unwrap().contains("about 33 min 20 s for all steps, at the 16.0")
        );
    }
}
