use super::*;
use crate::{model::config::Masking, nn::PositionOrder};

fn flags(text: &str) -> toml::Table {
    text.parse().unwrap()
}

fn with_flags(text: &str) -> Result<RunConfig> {
    resolve(Some("nano"), None, flags(text))
}

fn refusal(text: &str) -> String {
    with_flags(text).unwrap_err().to_string()
}

#[test]
fn flags_override_the_file_which_overrides_the_preset() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    std::fs::write(&path, "[model]\npreset = \"small\"\nheads = 12\n[training]\nbatch_size = 8\nepochs = 2\n").unwrap();
    let run = resolve(None, Some(&path), flags("training.batch_size = 16\ntraining.steps = 7")).unwrap();
    assert_eq!((run.model.width, run.model.heads), (384, 12));
    assert_eq!((run.training.batch_size, run.training.steps, run.training.epochs), (16, 7, None));
    let run = resolve(Some("base"), Some(&path), flags("")).unwrap();
    assert_eq!((run.model.width, run.model.heads, run.training.epochs), (768, 12, Some(2.0)));
}

#[test]
fn toml_of_a_resolved_configuration_resolves_to_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    for text in [
        "model.image_size = 48\nmodel.masking = \"random\"\ntraining.seed = 9223372036854775807",
        "training.ema = { published = { steps_per_epoch = 312, dynamic = false } }\ntraining.epochs = 0.3",
        "training.ema.fixed.decay = 0.99\ntraining.feature_weight = 0\ndata.source = \"a \\\"b\\\"\"",
    ] {
        let run = resolve(Some("large"), None, flags(text)).unwrap();
        std::fs::write(&path, run.to_toml().unwrap()).unwrap();
        assert_eq!(resolve(None, Some(&path), flags("")).unwrap(), run, "{}", run.to_toml().unwrap());
    }
}

#[test]
fn json_keeps_every_digit() {
    let mut run = RunConfig::preset("nano").unwrap();
    for i in 1..2000 {
        run.training.peak_learning_rate = Some(1e-3 / f64::from(i));
        let back: RunConfig = serde_json::from_str(&serde_json::to_string(&run).unwrap()).unwrap();
        assert_eq!(back, run);
    }
}

#[test]
fn masking_follows_a_changed_grid_unless_the_layer_sets_it() {
    let model = with_flags("model.image_size = 64").unwrap().model;
    assert_eq!((model.image_height, model.image_width, model.masked, model.block_target), (64, 64, 192, 157));
    let model = with_flags("model.patch_size = 8\nmodel.masked = 10").unwrap().model;
    assert_eq!((model.masked, model.block_target, model.block_max), (10, 10, 5));
    let model = with_flags("model.masked = 40").unwrap().model;
    assert_eq!((model.masked, model.block_target), (40, 39), "an unchanged grid leaves the other counts");
}

#[test]
fn the_feature_tap_stays_on_the_last_block() {
    assert_eq!(with_flags("model.depth = 4").unwrap().model.feature_tap, 3);
    assert_eq!(with_flags("model.depth = 4\nmodel.feature_tap = 1").unwrap().model.feature_tap, 1);
}

#[test]
fn no_feature_weight_means_no_feature_branch_and_the_reverse() {
    assert!(!with_flags("training.feature_weight = 0").unwrap().model.feature_branch);
    assert_eq!(with_flags("model.feature_branch = false").unwrap().training.feature_weight, 0.0);
}

#[test]
fn an_unknown_key_is_refused_with_the_near_one_and_the_origin() {
    let message = refusal("training.bach_size = 8");
    assert!(message.contains("unknown key `bach_size` in [training] of the command line"), "{message}");
    assert!(message.contains("did you mean `batch_size`"), "{message}");
    assert!(refusal("training.warmup = 3").contains("unknown key `warmup`"));
    for (text, part) in [
        ("training.learning_rate = 1e-3", "here it is `peak_learning_rate` in [training]"),
        ("model.mask_ratio = 0.6", "here it is `masked` in [model] (a count"),
        ("training.mask_ratio = 0.6", "here it is `masked` in [model] (a count"),
        ("lr = 1e-3", "here it is `peak_learning_rate` in [training]"),
        ("optimizer.lr = 1e-3", "unknown section [optimizer] in the command line; here it is [training]"),
        ("data.num_workers = 8", "here it is `loader_threads` in [data]"),
    ] {
        assert!(refusal(text).contains(part), "{text}: {}", refusal(text));
    }
    assert!(refusal("training.peak_learning_rat = 1").contains("did you mean `peak_learning_rate`"));
    assert!(refusal("model.loader_threads = 3").contains("belongs into [data]"));
    assert!(refusal("batch_size = 3").contains("belongs into [training]"));
    assert!(refusal("traning.seed = 3").contains("did you mean `training`"));
    assert!(
        refusal("training.ema = { fixed = { decya = 0.9 } }")
            .contains("unknown field `decya`, expected `decay` in `training.ema`")
    );
}

#[test]
fn a_bad_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    let refusal = || resolve(None, Some(&path), flags("")).unwrap_err();
    assert!(refusal().to_string().contains("run.toml"));
    for text in ["[model", "[training]\nsteps = \"many\"", "[training]\nsteps = -1", "[model]\npreset = 3", "data = 3"]
    {
        std::fs::write(&path, text).unwrap();
        let error = refusal();
        assert!(error.to_string().contains("run.toml"), "{error}");
        assert_eq!(error.exit_code(), 2);
    }
}

#[test]
fn a_file_in_another_encoding_is_named_and_a_mark_before_it_is_read_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    let read = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        resolve(None, Some(&path), flags(""))
    };
    let run = read(b"\xef\xbb\xbf[training]\r\nsteps = 5\r\n").unwrap();
    assert_eq!(run.training.steps, 5);
    let text = "[training]\nsteps = 5\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for bytes in [[&[0xff, 0xfe], &little[..]].concat(), [&[0xfe, 0xff], &big[..]].concat(), little, big] {
        let error = read(&bytes).unwrap_err();
        assert!(error.exit_code() == 2 && error.to_string().contains("save it as UTF-8"), "{error}");
    }
    let error = read(b"[training]\nsteps = 5 # f\xfcnf\n").unwrap_err().to_string();
    assert!(error.contains("line 2 is not UTF-8"), "{error}");
}

#[test]
fn values_out_of_range_are_refused_by_name() {
    for (text, name) in [
        ("training.steps = 0", "steps"),
        ("training.epochs = nan", "epochs"),
        ("training.batch_size = 0", "batch_size"),
        ("training.micro_batches = 3", "micro_batches 3 do not divide batch_size 64; 2 would"),
        ("training.micro_batches = 0", "micro_batches"),
        ("training.batch_size = 9223372036854775807\ntraining.micro_batches = 2", "batch_size must be 1 to 1048576"),
        ("training.peak_learning_rate = inf", "peak_learning_rate"),
        ("training.min_learning_rate = 0.1", "min_learning_rate"),
        ("training.steps = 10\ntraining.warmup_steps = 11", "warmup_steps"),
        ("training.weight_decay = -1", "weight_decay"),
        ("training.beta2 = 1", "beta2"),
        ("training.adam_eps = 0", "adam_eps"),
        ("training.gradient_norm_limit = 0", "gradient_norm_limit"),
        ("training.feature_weight = nan", "feature_weight"),
        ("training.save_every_steps = 0", "save_every_steps"),
        ("training.keep_checkpoints = 0", "keep_checkpoints"),
        ("training.ema.fixed.decay = 1.1", "decay"),
        ("training.ema.published = { steps_per_epoch = 1, first_mark_epochs = 400 }", "marks"),
        ("data.max_bad_fraction = 1.5", "max_bad_fraction"),
        ("model.image_size = 0", "patch_size"),
        ("model.patch_size = 0", "patch_size"),
        ("model.image_size = 32\nmodel.image_width = 32", "image_size and image_width"),
        ("model.depth = 0", "depth"),
    ] {
        let message = refusal(text);
        assert!(message.contains(name), "{text}: {message}");
    }
}

#[test]
fn published_rates_follow_from_the_published_batch() {
    let rates = |preset| {
        let run = resolve(Some(preset), None, flags("training.batch_size = 4096")).unwrap();
        (run.training.peak_rate(), run.training.floor_rate())
    };
    let close = |a: (f64, f64), b: (f64, f64)| (a.0 - b.0).abs() < 1e-15 && (a.1 - b.1).abs() < 1e-15;
    assert!(close(rates("base"), (2.4e-3, 1e-4)), "{:?}", rates("base"));
    assert!(close(rates("large"), (2.4e-3, 1e-5)), "{:?}", rates("large"));
}

#[test]
fn shipped_presets_resolve_and_can_be_changed() {
    let of = |name: &str, text: &str| resolve_over(Some(name), None, None, flags(text)).unwrap();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/presets")).unwrap();
    let names: Vec<_> = files.map(|file| file.unwrap().path().file_stem().unwrap().to_owned()).collect();
    assert_eq!(names.len(), 15);
    for name in names {
        let name = name.to_str().unwrap();
        if name.starts_with("finetune-") {
            let base = RunConfig::finetuning(ModelConfig::preset("nano").unwrap());
            let run = resolve_finetuning(base, Some(name), None, flags("training.seed = 3")).unwrap();
            assert_eq!((run.training.seed, run.training.beta2), (3, 0.999), "{name}");
            assert!(resolve_over(Some(name), None, None, flags("")).is_err(), "{name}");
            continue;
        }
        assert_eq!(of(name, "training.seed = 3").training.seed, 3, "{name}");
    }
    let (base, large) = (of("imagenet-base", ""), of("imagenet-large", ""));
    for (run, width, floor, dynamic) in [(&base, 768, 1e-4, true), (&large, 1024, 1e-5, false)] {
        let t = &run.training;
        assert_eq!((run.model.width, t.peak_rate(), t.floor_rate()), (width, 2.4e-3, floor));
        assert_eq!((t.steps, t.warmup(), t.batch_size), (801 * 312, 40 * 312, 4096));
        assert!(matches!(t.ema, Ema::Published { steps_per_epoch: 312, dynamic: d, .. } if d == dynamic));
    }
    let error = resolve_over(Some("imagenet-bsae"), None, None, flags("")).unwrap_err().to_string();
    assert!(error.contains("did you mean `imagenet-base`"), "{error}");
}

#[test]
fn epochs_become_whole_steps() {
    let mut training = TrainingConfig { epochs: Some(1.5), batch_size: 64, ..TrainingConfig::default() };
    training.settle_epochs(1000).unwrap();
    assert_eq!((training.steps, training.epochs), (24, None), "1500 images are 23.4 batches");
    let mut training = TrainingConfig { epochs: Some(1.0), ..TrainingConfig::default() };
    assert!(training.settle_epochs(0).is_err());
}

#[test]
fn differences_name_the_key_and_both_values() {
    let a = RunConfig::preset("nano").unwrap();
    let mut b = a.clone();
    assert_eq!(differences(&a, &b), Vec::<String>::new());
    b.model.block_aspect_min = 0.5;
    b.training.warmup_steps = Some(3);
    b.training.ema = Ema::Fixed { decay: 0.9 };
    let expected = [
        "model.block_aspect_min: 0.3 against 0.5",
        "training.ema: \"scaled\" against {\"fixed\":{\"decay\":0.9}}",
        "training.warmup_steps: unset against 3",
    ];
    assert_eq!(differences(&a, &b), expected);
}

#[test]
fn a_kind_brings_all_that_belongs_to_it_and_gives_way_to_single_settings() {
    let run = with_flags("model.kind = \"mae\"").unwrap();
    assert_eq!(run, resolve(Some("mae-nano"), None, flags("")).unwrap());
    assert_eq!(
        (run.model.masking, run.model.decoder_depth, run.model.normalise.name()),
        (Masking::Random, 4, Some("imagenet"))
    );
    assert_eq!((run.training.schedule, run.training.min_learning_rate), (Schedule::Mae, Some(0.0)));
    let equal = "model.kind = \"mae\"\nmodel.normalise = \"inception\"\nmodel.masking = \"block\"\ntraining.min_learning_rate = 1e-5";
    let run = with_flags(equal).unwrap();
    assert_eq!((run.model.masking, run.model.normalise.name()), (Masking::Block, Some("inception")));
    assert_eq!((run.training.min_learning_rate, run.model.positions), (Some(1e-5), PositionOrder::Columns));
    assert!(refusal("model.kind = \"mae\"\nmodel.cross_attention = true").contains("neither cross_attention"));
    assert!(refusal("model.kind = \"mea\"").contains("unknown variant `mea`, expected `bootmae` or `mae`"));
    for size in ["tiny", "small", "large"] {
        let back = resolve(Some(&format!("mae-{size}")), None, flags("model.kind = \"bootmae\"")).unwrap();
        assert_eq!(back, resolve(Some(size), None, flags("")).unwrap());
    }
}

#[test]
fn shipped_settings_are_whole() {
    for (name, width, kind) in
        [("mae-base", 768, Kind::Mae), ("mae-large", 1024, Kind::Mae), ("imagenet-base", 768, Kind::Bootmae)]
    {
        let run = resolve_over(Some(name), None, None, flags("")).unwrap();
        assert_eq!((run.model.width, run.model.kind), (width, kind), "{name}");
    }
    let ablation = |name| resolve_over(Some(name), Some("nano"), None, flags("")).unwrap();
    let nano = resolve(Some("nano"), None, flags("")).unwrap();
    for (name, setting) in [
        ("ablation-no-teacher", "model.feature_branch: true against false"),
        ("ablation-no-cross-attention", "model.cross_attention: true against false"),
        ("ablation-random-masks", "model.masking: \"block\" against \"random\""),
        ("ablation-no-centre-weight", "model.centre_weight: true against false"),
        ("ablation-patch-target", "model.pixel_target: \"patch_channel\" against \"patch\""),
    ] {
        let found = differences(&nano, &ablation(name));
        assert!(found.iter().any(|line| line == setting) && found.len() <= 2, "{name}: {found:?}");
    }
}
