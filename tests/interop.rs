//! Checkpoints that the programs of others wrote: what is made of them, and of what cannot be read.

mod common;

use std::{fs, path::PathBuf};

use bootmae::{
    check::interop::{Sample, verify},
    error::Error,
    formats::tensors::{self, TensorFile},
    interop::{self, Asked},
    lower::Precision,
};

/// The samples, and what no file of theirs says: attention heads.
const SAMPLES: [(&str, Option<usize>); 7] = [
    ("timm_avg_fc_norm.safetensors", Some(2)),
    ("timm_layer_scale.safetensors", Some(2)),
    ("timm_no_qkv_bias.safetensors", Some(2)),
    ("timm_other_size.safetensors", Some(2)),
    ("timm_supervised_bf16.safetensors", Some(2)),
    ("hf_vitmae_v5", None),
    ("hf_vit_classifier", None),
];

fn place(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/interop").join(name)
}

fn expected(name: &str) -> TensorFile {
    tensors::parse(&fs::read(place(&format!("{name}.expected.safetensors"))).unwrap()).unwrap()
}

/// What the published code makes of an image, in float64.
#[test]
fn features_and_logits_are_those_of_the_published_code() {
    common::on_each_adapter(|device, _| {
        if device.is_checked() {
            return;
        }
        let mut device = Some(device);
        for (name, heads) in SAMPLES {
            let fixture = expected(name);
            let sample = Sample::of(&fixture).unwrap().unwrap();
            let imported = interop::open(&place(&sample.file), &Asked { heads, ..sample.asked }).unwrap();
            for precision in [Precision::F32, Precision::F16] {
                let report;
                (report, device) =
                    pollster::block_on(verify(device.take().unwrap(), precision, &fixture, &imported.model))
                        .map(|(report, device)| (report, Some(device)))
                        .unwrap();
                assert!(report.pass, "{name} {precision}: {report:#?}");
                assert!(report.groups.len() >= 2, "{name}: {report:#?}");
            }
        }
    });
}

#[test]
fn a_fixture_names_a_file_beside_it() {
    let mut fixture = expected("hf_vitmae_v5");
    for name in ["../x", "/etc/passwd", "a/b", "", ".", "..", "c:x", "a\\b"] {
        fixture.metadata.insert("file".into(), serde_json::to_string(name).unwrap());
        let error = Sample::of(&fixture).unwrap().unwrap_err().to_string();
        assert!(error.contains("a file beside it"), "{name}: {error}");
    }
}

#[test]
fn a_config_of_another_network_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(place("hf_vit_classifier").join(name), folder.path().join(name)).unwrap();
    }
    let config = fs::read_to_string(folder.path().join("config.json")).unwrap();
    let with = |from: &str, to: &str| {
        assert!(config.contains(from), "{from}");
        fs::write(folder.path().join("config.json"), config.replace(from, to)).unwrap();
        interop::open(folder.path(), &Asked::default())
    };
    let named = with("\"gelu\"", "\"gelu\"").unwrap().model.config.classifier.unwrap();
    assert_eq!(named.classes, ["cat", "dog", "eel", "fox"]);
    for (from, to, part) in [
        ("\"hidden_size\": 32", "\"hidden_size\": 1099511627776", "hidden_size 1099511627776"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "num_hidden_layers"),
        ("\"num_attention_heads\": 2", "\"num_attention_heads\": 5", "5 heads"),
        ("\"gelu\"", "\"relu\"", "hidden_act"),
        ("\"3\": \"fox\"", "\"4\": \"fox\"", "id2label"),
        ("1e-12", "0", "layer_norm_eps"),
    ] {
        let error = with(from, to).unwrap_err();
        assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
}

/// The tensors of a folder in two files and an index.
#[test]
fn shards_are_one_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let whole = place("hf_vitmae_v5");
    fs::copy(whole.join("config.json"), folder.path().join("config.json")).unwrap();
    let file = tensors::parse(&fs::read(whole.join("model.safetensors")).unwrap()).unwrap();
    let mut map = serde_json::Map::new();
    let names: Vec<&String> = file.tensors.keys().collect();
    for (number, names) in names.chunks(names.len().div_ceil(2)).enumerate() {
        let shard = format!("model-0000{number}.safetensors");
        let written: Vec<_> = names
            .iter()
            .map(|name| {
                let (shape, values) = file.f32(name).unwrap();
                map.insert((*name).clone(), shard.clone().into());
                tensors::Written { name: (*name).clone(), shape, values }
            })
            .collect();
        tensors::write(fs::File::create(folder.path().join(shard)).unwrap(), &Default::default(), &written).unwrap();
    }
    let index = serde_json::json!({ "weight_map": map }).to_string();
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    let [parts, one] = [folder.path(), &whole].map(|path| interop::open(path, &Asked::default()).unwrap().model);
    assert!(parts == one);
}
