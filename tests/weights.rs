//! Files of weights that others wrote: each tensor as the library that wrote it reads it, and refusals that name what is
//! wrong. `tests/fixtures/interop/sums.py` computes what is expected.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bootmae::formats::weights::{ReadAt, WeightFile};
use flate2::Crc;

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/interop").join(name)
}

fn open(bytes: &[u8]) -> Result<WeightFile, String> {
    WeightFile::open(Box::new(bytes.to_vec()))
}

/// How many tensors a set has, and the CRC-32 over their descriptions and values.
fn sum(file: &WeightFile, key: &str) -> Result<(usize, u32), String> {
    let mut crc = Crc::new();
    let entries = file.entries(key).unwrap();
    for entry in entries {
        crc.update(format!("{} {} {:?}\n", entry.name, entry.dtype, entry.shape).as_bytes());
        let values = file.read(key, &entry.name)?;
        assert_eq!(values.len(), entry.shape.iter().product::<usize>());
        crc.update(bytemuck::cast_slice(&values));
    }
    Ok((entries.len(), crc.sum()))
}

/// File, kind, key, tensors, sum.
const SAMPLES: &[(&str, &str, &str, usize, u32)] = &[
    ("bootmae_finetune_deepspeed.pt", "torch zip", "module", 34, 0x5ad8_4bb9),
    ("bootmae_finetune_deepspeed.pt", "torch zip", "model_ema", 34, 0x9da7_153d),
    ("mae_extras.pth", "torch zip", "model", 30, 0xbb43_a8d2),
    ("mae_extras.pth", "torch zip", "extras", 1, 0x4462_724b),
    ("mae_f16.pth", "torch zip", "model", 30, 0xc58d_12a6),
    ("mae_legacy.pth", "torch before 1.6", "model", 30, 0xbb43_a8d2),
    ("mae_legacy_dataparallel.pth.tar", "torch before 1.6", "", 1, 0xf277_23a3),
    ("mae_legacy_dataparallel.pth.tar", "torch before 1.6", "state_dict", 50, 0x9477_6941),
    ("mae_parameters.pth", "torch zip", "model", 30, 0xbb43_a8d2),
    ("mae_views.pth", "torch zip", "model", 30, 0x976f_6ec5),
    ("mae_zip64.pth", "torch zip", "model", 30, 0xbb43_a8d2),
    ("timm_supervised_bf16.safetensors", "safetensors", "", 32, 0x7207_59d3),
];

#[test]
fn every_tensor_is_read_as_by_the_library_that_wrote_it() {
    for &(name, kind, key, tensors, expected) in SAMPLES {
        let file = WeightFile::open(Box::new(fs::File::open(path(name)).unwrap())).unwrap();
        assert_eq!(
            (file.kind().to_string().as_str(), sum(&file, key)),
            (kind, Ok((tensors, expected))),
            "{name} {key}"
        );
    }
}

/// A safetensors file.
fn safetensors(header: &str, values: &[u8]) -> Vec<u8> {
    [&(header.len() as u64).to_le_bytes(), header.as_bytes(), values].concat()
}

#[test]
fn every_type_widens_to_f32() {
    let bytes = [
        &2.5f64.to_le_bytes()[..],
        &(-3i64).to_le_bytes(),
        &7i32.to_le_bytes(),
        &(-300i16).to_le_bytes(),
        &0x3e00u16.to_le_bytes(),
        &0xc040u16.to_le_bytes(),
        &[0xfe, 0xfe, 2],
    ]
    .concat();
    let (mut at, mut header) = (0, String::from("{\"__metadata__\":{\"format\":\"pt\"}"));
    for (dtype, width) in
        [("F64", 8), ("I64", 8), ("I32", 4), ("I16", 2), ("F16", 2), ("BF16", 2), ("I8", 1), ("U8", 1), ("BOOL", 1)]
    {
        header += &format!(r#","{dtype}":{{"dtype":"{dtype}","shape":[1,1],"data_offsets":[{at},{}]}}"#, at + width);
        at += width;
    }
    let file = open(&safetensors(&(header + "}"), &bytes)).unwrap();
    assert_eq!(file.metadata()["format"], "pt");
    let read = file.entries("").unwrap().iter().map(|entry| {
        assert_eq!(entry.dtype.to_string(), entry.name);
        file.read("", &entry.name).unwrap()[0]
    });
    assert_eq!(read.collect::<Vec<_>>(), [2.5, -3.0, 7.0, -300.0, 1.5, -3.0, -2.0, 254.0, 1.0]);
    assert!(file.read("", "x").is_err_and(|reason| reason == "no tensor `x`"));
}

#[test]
fn several_files_are_one_when_they_hold_what_the_index_says() {
    let part = |name: &str, value: f32| {
        let header = format!(r#"{{"{name}":{{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}}}"#);
        (format!("{name}.safetensors"), Box::new(safetensors(&header, &value.to_le_bytes())) as Box<dyn ReadAt>)
    };
    let joined = |parts: &[(&str, f32)], map: &[(&str, usize)]| {
        let map: BTreeMap<String, usize> = map.iter().map(|(name, part)| (name.to_string(), *part)).collect();
        WeightFile::joined(parts.iter().map(|(name, value)| part(name, *value)).collect(), &map)
    };
    let file = joined(&[("b", 2.0), ("a", 1.0)], &[("a", 1), ("b", 0)]).unwrap();
    assert_eq!((file.read("", "a").unwrap(), file.read("", "b").unwrap()), (vec![1.0], vec![2.0]));
    for (parts, map, told) in [
        (&[("a", 1.0), ("b", 2.0)][..], &[("a", 0)][..], "b.safetensors: the index does not name tensor `b` here"),
        (&[("a", 1.0), ("a", 2.0)], &[("a", 0)], "a.safetensors: tensor `a` is in an earlier file too"),
        (&[("a", 1.0)], &[("a", 0), ("b", 0)], "not the 2 tensors"),
        (&[("a", 1.0)], &[("a", 0), ("b", 1)], "in files that are not there"),
    ] {
        let reason = joined(parts, map).err().unwrap();
        assert!(reason.contains(told), "{reason}");
    }
}
