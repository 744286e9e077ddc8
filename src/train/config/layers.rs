//! Preset, file and flags laid over each other.

use std::path::Path;

use serde::de::{Deserialize, Deserializer, Error as _, Visitor};
use toml::{Table, Value};

use super::{DEFAULT_PRESET, DataConfig, EvaluationConfig, FinetuneConfig, RunConfig, TrainingConfig, words};
use crate::{
    error::{Error, Result},
    model::{
        ClassifierConfig,
        config::{Kind, ModelConfig},
    },
    text::nearest,
};

const SECTIONS: [&str; 6] = ["model", "training", "data", "classifier", "finetune", "evaluation"];

/// Those that only fine-tuning has.
const OF_FINETUNING: [&str; 2] = ["classifier", "finetune"];

/// The settings of one origin: some keys of some sections.
struct Layer {
    /// For messages: the path of the file, or `the command line`.
    origin: String,
    table: Table,
}

/// Settings that are shipped, by name: the files of `presets/`.
const SHIPPED: [(&str, &str); 15] = [
    ("imagenet-base", include_str!("../../../presets/imagenet-base.toml")),
    ("imagenet-large", include_str!("../../../presets/imagenet-large.toml")),
    ("mae-base", include_str!("../../../presets/mae-base.toml")),
    ("mae-large", include_str!("../../../presets/mae-large.toml")),
    ("ablation-no-teacher", include_str!("../../../presets/ablation-no-teacher.toml")),
    ("ablation-no-cross-attention", include_str!("../../../presets/ablation-no-cross-attention.toml")),
    ("ablation-random-masks", include_str!("../../../presets/ablation-random-masks.toml")),
    ("ablation-no-centre-weight", include_str!("../../../presets/ablation-no-centre-weight.toml")),
    ("ablation-patch-target", include_str!("../../../presets/ablation-patch-target.toml")),
    ("finetune-base", include_str!("../../../presets/finetune-base.toml")),
    ("finetune-large", include_str!("../../../presets/finetune-large.toml")),
    ("finetune-small-pictures", include_str!("../../../presets/finetune-small-pictures.toml")),
    ("cifar10-tiny", include_str!("../../../presets/cifar10-tiny.toml")),
    ("small-data", include_str!("../../../presets/small-data.toml")),
    ("demo", include_str!("../../../presets/demo.toml")),
];

/// [`resolve`], with the shipped settings `shipped` below `file`.
pub fn resolve_over(
    shipped: Option<&str>,
    preset: Option<&str>,
    file: Option<&Path>,
    flags: Table,
) -> Result<RunConfig> {
    let mut layers = Vec::from_iter(shipped.map(Layer::shipped).transpose()?);
    layers.extend(file.map(Layer::read).transpose()?);
    layers.push(Layer { origin: "the command line".into(), table: flags });
    resolve_layers(&layers, preset)
}

/// [`resolve`] for settings of another origin, which messages then name.
pub fn resolve_settings(settings: Table, origin: &str) -> Result<RunConfig> {
    resolve_layers(&[Layer { origin: origin.into(), table: settings }], None)
}

/// The configuration of a run: the preset's defaults, over them `file` (TOML with the sections `[model]`,
/// `[training]` and `[data]`), over that `flags` (a table of the same form).
///
/// `[model]` also takes `preset`, used when the argument is none, and `image_size` for a square image. Its `kind` takes the
/// place of the preset's with everything that belongs to it, before any other setting. A layer that
/// changes image or patch size rescales the masking counts it does not set itself; one that changes the depth keeps
/// the feature tap on the last block. `feature_weight = 0` and `feature_branch = false` imply each other. Learning
/// rates that no layer sets follow from the batch size and are put down as numbers.
///
/// Refuses unknown keys, naming the origin and the nearest known key, and whatever [`RunConfig::check`] refuses.
pub fn resolve(preset: Option<&str>, file: Option<&Path>, flags: Table) -> Result<RunConfig> {
    resolve_over(None, preset, file, flags)
}

/// The configuration of a run that fine-tunes `base`: over its settings those shipped as `shipped`, `file` and `flags`. A
/// size of the network in them is not looked at, since the checkpoint decides it.
///
/// Refuses what [`resolve`] refuses.
pub fn resolve_finetuning(
    base: RunConfig,
    shipped: Option<&str>,
    file: Option<&Path>,
    flags: Table,
) -> Result<RunConfig> {
    let mut layers = Vec::from_iter(shipped.map(Layer::shipped).transpose()?);
    layers.extend(file.map(Layer::read).transpose()?);
    layers.push(Layer { origin: "the command line".into(), table: flags });
    let mut run = base;
    for layer in &layers {
        layer.check_keys()?;
        if layer.section("evaluation").is_some() {
            let origin = &layer.origin;
            let reason = "is for `bootmae pretrain`; here `evaluate_every_epochs` in [finetune] says when to evaluate";
            return Err(Error::Config(format!("[evaluation] in {origin} {reason}")));
        }
        run = layer.over(&run)?;
    }
    let training = &mut run.training;
    let peak = *training.peak_learning_rate.get_or_insert(1e-3 * training.batch_size as f64 / 256.0);
    training.min_learning_rate.get_or_insert(1e-6f64.min(peak));
    run.check()?;
    Ok(run)
}

/// Lays the layers over each other, the lowest first.
fn resolve_layers(layers: &[Layer], preset: Option<&str>) -> Result<RunConfig> {
    for layer in layers {
        layer.check_keys()?;
        if let Some(section) = OF_FINETUNING.into_iter().find(|section| layer.section(section).is_some()) {
            let origin = &layer.origin;
            return Err(Error::Config(format!("[{section}] in {origin} is for `bootmae finetune`")));
        }
    }
    let named = layers.iter().rev().find_map(|layer| layer.section("model")?.get("preset")?.as_str());
    let preset = preset.or(named).unwrap_or(DEFAULT_PRESET);
    let kind = layers.iter().rev().find_map(|layer| layer.section("model")?.get("kind").cloned());
    let size = preset.strip_prefix("mae-").unwrap_or(preset);
    // A kind that does not exist is named when its layer is laid over.
    let preset = match kind.and_then(|kind| kind.try_into().ok()) {
        Some(Kind::Mae) => &format!("mae-{size}"),
        Some(Kind::Bootmae) => size,
        None => preset,
    };
    let mut run = RunConfig::preset(preset)?;
    for layer in layers {
        run = layer.over(&run)?;
    }
    if !run.model.feature_branch || run.training.feature_weight == 0.0 {
        (run.model.feature_branch, run.training.feature_weight) = (false, 0.0);
    }
    settle_rates(preset, &mut run.training);
    run.check()?;
    Ok(run)
}

/// Puts both learning rates down as numbers, so that the written configuration depends on no preset any more. The
/// published ViT-L run ends ten times lower than ViT-B.
fn settle_rates(preset: &str, training: &mut TrainingConfig) {
    let peak = training.peak_rate();
    let floor = if preset == "large" { peak / 240.0 } else { training.floor_rate() };
    training.peak_learning_rate = Some(peak);
    training.min_learning_rate.get_or_insert(floor);
}

impl Layer {
    fn shipped(name: &str) -> Result<Layer> {
        let names = SHIPPED.map(|(name, _)| name);
        let Some((_, text)) = SHIPPED.iter().find(|(known, _)| *known == name) else {
            let near = nearest(name, &names).map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
            return Err(Error::Config(format!("no preset `{name}`{near} (presets: {})", names.join(", "))));
        };
        let table = text.parse().map_err(|e| Error::Config(format!("preset `{name}`: {e}")))?;
        Ok(Layer { origin: format!("the preset `{name}`"), table })
    }

    fn read(path: &Path) -> Result<Layer> {
        let origin = path.display().to_string();
        let fail = |reason: String| Error::Config(format!("{origin}: {reason}"));
        let bytes = std::fs::read(path).map_err(|e| fail(e.to_string()))?;
        let text = utf8(&bytes).map_err(fail)?;
        let table = text.parse::<Table>().map_err(|e| {
            let more = format!("value was too large: whole numbers go to {} (2^63 - 1)", i64::MAX);
            fail(e.to_string().replace("value was too large", &more))
        })?;
        Ok(Layer { origin, table })
    }

    fn section(&self, name: &str) -> Option<&Table> {
        self.table.get(name)?.as_table()
    }

    /// Refuses sections and keys that no setting has, and pairs that contradict each other.
    fn check_keys(&self) -> Result<()> {
        let fail = |reason: String| Err(Error::Config(reason));
        let hint = |near: Option<&str>| near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
        for (section, value) in &self.table {
            if !SECTIONS.contains(&section.as_str()) {
                let home = home_of(section).map(|s| format!("; `{section}` belongs into [{s}]"));
                let other = || match value.is_table() {
                    true => words::for_section(section).map(|s| format!("; here it is [{s}]")),
                    false => words::for_key(section).map(|what| format!("; {what}")),
                };
                let hint = home.or_else(other).unwrap_or_else(|| hint(nearest(section, &SECTIONS)));
                return fail(format!("unknown section [{section}] in {}{hint}", self.origin));
            }
            let Some(table) = value.as_table() else {
                return fail(format!("`{section}` in {} must be a section of settings", self.origin));
            };
            let known = keys(section);
            if let Some(key) = table.keys().find(|key| !known.contains(&key.as_str())) {
                let home = home_of(key).map(|s| format!("; it belongs into [{s}]"));
                let other = || words::for_key(key).map(|what| format!("; {what}"));
                let hint = home.or_else(other).unwrap_or_else(|| hint(nearest(key, &known)));
                return fail(format!("unknown key `{key}` in [{section}] of {}{hint}", self.origin));
            }
            let both = |a: &str, b: &str| table.contains_key(a) && table.contains_key(b);
            for (a, b) in [("image_size", "image_height"), ("image_size", "image_width")] {
                if both(a, b) {
                    return fail(format!("[{section}] of {} sets both {a} and {b}; keep one", self.origin));
                }
            }
            if table.get("preset").is_some_and(|preset| !preset.is_str()) {
                return fail(format!("preset in [{section}] of {} must be a string", self.origin));
            }
        }
        Ok(())
    }

    /// `run` with this layer's settings in place of its own.
    fn over(&self, run: &RunConfig) -> Result<RunConfig> {
        let fail = |e: &dyn std::fmt::Display| {
            let text = e.to_string().trim().replace('\n', " ");
            let whole = format!("expected a whole number from 0 to {}", i64::MAX);
            let text = text.replace("expected u64", &whole).replace("expected usize", &whole);
            Error::Config(format!("{}: {text}", self.origin))
        };
        let mut settings = Table::try_from(run).map_err(|e| fail(&e))?;
        for (section, values) in &self.table {
            if section == "evaluation" {
                // There is none until it is asked for.
                settings.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            }
            let (Some(Value::Table(into)), Value::Table(values)) = (settings.get_mut(section), values) else {
                continue;
            };
            for (key, value) in values {
                match key.as_str() {
                    "preset" => {}
                    "image_size" => {
                        into.insert("image_height".into(), value.clone());
                        into.insert("image_width".into(), value.clone());
                    }
                    // A length in steps replaces one in epochs of an earlier layer.
                    "steps" if !values.contains_key("epochs") => {
                        into.remove("epochs");
                        into.insert(key.clone(), value.clone());
                    }
                    // A table in a section of fine-tuning is laid over the one before, key by key.
                    _ => match (into.get_mut(key), value) {
                        (Some(Value::Table(below)), Value::Table(value)) if section == "finetune" => {
                            below.extend(value.clone());
                        }
                        _ => drop(into.insert(key.clone(), value.clone())),
                    },
                }
            }
        }
        let mut new: RunConfig = settings.try_into().map_err(|e: toml::de::Error| fail(&e))?;
        self.follow(&run.model, &mut new.model);
        Ok(new)
    }

    /// Lets masking counts and feature tap follow a changed grid and depth where this layer does not set them.
    fn follow(&self, old: &ModelConfig, new: &mut ModelConfig) {
        let sets = |key: &str| self.section("model").is_some_and(|model| model.contains_key(key));
        let size = |model: &ModelConfig| (model.image_height, model.image_width, model.patch_size);
        if size(old) != size(new) {
            let given = new.clone();
            new.scale_masking();
            let keep = |key, given, scaled: &mut usize| {
                if sets(key) {
                    *scaled = given;
                }
            };
            keep("masked", given.masked, &mut new.masked);
            keep("block_target", given.block_target, &mut new.block_target);
            keep("block_min", given.block_min, &mut new.block_min);
            keep("block_max", given.block_max, &mut new.block_max);
        }
        if old.feature_tap + 1 == old.depth && !sets("feature_tap") {
            new.feature_tap = new.depth.saturating_sub(1);
        }
    }
}

/// The text of a file, without the mark that editors put before it. The error says what it is instead.
fn utf8(bytes: &[u8]) -> Result<&str, String> {
    let zeros = bytes.iter().take(64).filter(|byte| **byte == 0).count();
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || zeros > 0 {
        return Err("not UTF-8 but UTF-16, as PowerShell's `>` writes it; save it as UTF-8 (in PowerShell \
            `... | Out-File -Encoding utf8 FILE`)"
            .into());
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let line = 1 + bytes[..e.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        format!("line {line} is not UTF-8; save the file as UTF-8")
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The keys that a section of a file may have.
pub(super) fn keys(section: &str) -> Vec<&'static str> {
    match section {
        "model" => [fields::<ModelConfig>(), &["preset", "image_size"]].concat(),
        "training" => fields::<TrainingConfig>().to_vec(),
        "classifier" => fields::<ClassifierConfig>().to_vec(),
        "finetune" => fields::<FinetuneConfig>().to_vec(),
        "evaluation" => fields::<EvaluationConfig>().to_vec(),
        _ => fields::<DataConfig>().to_vec(),
    }
}

/// The section that a key belongs to.
fn home_of(key: &str) -> Option<&'static str> {
    SECTIONS.into_iter().find(|section| keys(section).contains(&key))
}

/// The names of a struct's fields as its `Deserialize` asks for them, so that no second list can go stale.
fn fields<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
    struct Probe<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("only field names are wanted"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut names: &'static [&'static str] = &[];
    let _ = T::deserialize(Probe(&mut names));
    names
}
