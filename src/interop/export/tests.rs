//! What is written for others is read back with equal bits.

use std::path::Path;

use super::*;
use crate::{
    checkpoint::Model,
    formats::tensors::Precision,
    interop::{Asked, open},
    model::{ClassifierConfig, Whose, inventory, of_encoder},
    nn::{Init, Param},
    train::{config::RunConfig, snapshot::NamedTensor},
};

/// A network whose every value is drawn, biases and norms too.
fn drawn(preset: &str, pool: Option<Pool>) -> Model {
    let mut config = RunConfig::preset(preset).unwrap();
    config.classifier = pool.map(|pool| ClassifierConfig {
        classes: ["Äpfel", "pears", "figs"].map(String::from).to_vec(),
        pool,
        train_positions: true,
        ..ClassifierConfig::default()
    });
    let params = match &config.classifier {
        Some(classifier) => classifier.inventory(&config.model, 1.0, false),
        None => inventory(&config.model),
    };
    let tensors = |seed| {
        let draw = |param: &Param| {
            let drawn = Param { init: Init::Normal(0.1), ..param.clone() };
            NamedTensor { name: param.name.clone(), shape: param.shape.clone(), data: drawn.initial(seed) }
        };
        params.iter().map(draw).collect::<Vec<_>>()
    };
    let teacher = config.model.feature_branch.then(|| tensors(4));
    Model { step: 9, tensors: tensors(3), teacher, config }
}

/// That every tensor read is one of those held, and that there are all that `wanted` names.
fn check(what: &str, held: &[NamedTensor], read: &[NamedTensor], wanted: impl Fn(&str) -> bool) {
    let mut names = Vec::new();
    for tensor in read {
        let own = held.iter().find(|own| own.name == tensor.name).unwrap_or_else(|| panic!("{what}: {}", tensor.name));
        assert_eq!(own.shape, tensor.shape, "{what}: {}", own.name);
        let same = own.data.iter().zip(&tensor.data).all(|(a, b)| a.to_bits() == b.to_bits());
        assert!(same, "{what}: other bits in {}", own.name);
        names.push(&tensor.name);
    }
    let missing = held.iter().find(|own| wanted(&own.name) && !names.contains(&&own.name));
    assert!(missing.is_none(), "{what}: no {:?}", missing.map(|own| &own.name));
}

fn written(package: Package<'_>, path: &Path) -> Model {
    if package.texts.is_empty() {
        package.write_torch(Precision::F32, std::fs::File::create(path).unwrap()).unwrap();
    } else {
        package.write_folder(Precision::F32, path).unwrap();
        let refused = package.write_folder(Precision::F32, path).unwrap_err().to_string();
        assert!(refused.contains("holds files"), "{refused}");
    }
    open(path, &Asked::default()).unwrap().model
}

fn student(model: &Model) -> Source<'_> {
    Source::new(model, Whose::Student).unwrap()
}

#[test]
fn every_format_is_read_back_with_equal_bits() {
    let folder = tempfile::tempdir().unwrap();
    let features = |final_norm| Task::Features(Features { blocks: 6, final_norm, ..ENCODER });
    for preset in ["nano", "mae-nano"] {
        let model = drawn(preset, None);
        let (source, mae) = (student(&model), preset == "mae-nano");
        let encoder = |name: &str| of_encoder(name);
        let with_norm = |name: &str| of_encoder(name) || name.starts_with("norm.");
        let read = written(timm(&source, features(false)).unwrap(), &folder.path().join(format!("{preset}-timm")));
        check("timm", &model.tensors, &read.tensors, encoder);
        assert_eq!(read.config.model.positions, model.config.model.positions);
        assert_eq!(read.config.model.normalise, model.config.model.normalise);
        let read = written(hugging_face(&source, features(true)).unwrap(), &folder.path().join(format!("{preset}-hf")));
        check("hf", &model.tensors, &read.tensors, with_norm);
        let package =
            if mae { super::published::mae(&source, Task::Pretraining) } else { bootmae(&source, Task::Pretraining) };
        let read = written(package.unwrap(), &folder.path().join(format!("{preset}.pth")));
        check("pth", &model.tensors, &read.tensors, |_| true);
        if let (Some(held), Some(read)) = (&model.teacher, &read.teacher) {
            check("model_ema", held, read, encoder);
        }
        assert_eq!(read.teacher.is_some(), !mae);
        if mae {
            let package = hugging_face(&source, Task::Pretraining).unwrap();
            let read = written(package, &folder.path().join("hf-mae"));
            check("hf with decoder", &model.tensors, &read.tensors, |_| true);
        }
    }
    for (pool, formats) in [(Pool::Mean, &["timm", "mae", "bootmae"][..]), (Pool::Cls, &["timm", "mae", "hf"][..])] {
        let model = drawn("mae-nano", Some(pool));
        let source = student(&model);
        for format in formats {
            let package = match *format {
                "timm" => timm(&source, Task::Classes),
                "hf" => hugging_face(&source, Task::Classes),
                "mae" => super::published::mae(&source, Task::Classes),
                _ => bootmae(&source, Task::Classes),
            };
            let read = written(package.unwrap(), &folder.path().join(format!("{pool:?}-{format}")));
            check(format, &model.tensors, &read.tensors, |_| true);
            let classifier = read.config.classifier.unwrap();
            assert_eq!(classifier.pool, pool, "{format}");
            if ["timm", "hf"].contains(format) {
                assert_eq!(classifier.classes, ["Äpfel", "pears", "figs"], "{format}");
            }
        }
    }
}

#[test]
fn what_a_format_cannot_say_is_refused() {
    let refusal = |package: crate::error::Result<Package<'_>>| package.unwrap_err().to_string();
    let (boot, mean) = (drawn("nano", None), drawn("nano", Some(Pool::Mean)));
    let [boot, mean] = [&boot, &mean].map(|model| Source::new(model, Whose::Student).unwrap());
    let features = Task::Features(Features { blocks: 6, ..ENCODER });
    assert!(refusal(timm(&boot, Task::Pretraining)).contains("timm has no decoders"));
    assert!(refusal(hugging_face(&boot, Task::Pretraining)).contains("no BootMAE"));
    assert!(refusal(super::published::mae(&boot, Task::Pretraining)).contains("no place for BootMAE's decoders"));
    assert!(refusal(hugging_face(&mean, Task::Classes)).contains("takes the class token"));
    assert!(refusal(hugging_face(&mean, features)).contains("has none there"));
    assert!(refusal(timm(&boot, Task::Classes)).contains("has no classifier"));
}
