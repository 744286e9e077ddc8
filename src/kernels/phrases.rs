//! The tuning of checkpoints from before it was plain data: a JSON map from computations to phrases, as
//! `"product_nt large short": "register 8x8 group 1x8"`. Nothing writes these any more.

use std::collections::BTreeMap;

use super::{
    class::Class,
    tuning::{SingleShape, Tuning},
    variants::{AttentionVariant, Form, LayerNormVariant, LossVariant, OptimiserVariant, Tile, Variant},
};
use crate::shape::DType;

impl Tuning {
    /// The tuning that a checkpoint holds, as plain data or in phrases.
    pub fn read(json: &str) -> Result<Tuning, String> {
        serde_json::from_str(json).or_else(|error| in_phrases(json).map_err(|reason| format!("{error}; {reason}")))
    }
}

fn in_phrases(json: &str) -> Result<Tuning, String> {
    let map: BTreeMap<String, String> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    let phrase = |key: &str| map.get(key).map(|text| variant(text).ok_or_else(|| format!("{key} cannot be `{text}`")));
    let matmul = |key: &str| match phrase(key) {
        Some(Ok(Variant::Matmul(tile))) => Ok(Some(tile)),
        Some(Ok(other)) => Err(format!("{key} cannot run with {other}")),
        Some(Err(reason)) => Err(reason),
        None => Ok(None),
    };
    let attention = |key: &str| match phrase(key) {
        Some(Ok(Variant::Attention(variant))) => Some(variant),
        _ => None,
    };
    let mut tuning = Tuning::default();
    for class in Class::all() {
        let key = |class: Class| class.to_string().replace("matmul", "product");
        // Those from before there was half precision have the others alone.
        let found = match matmul(&key(class))? {
            None if class.half => matmul(&key(Class { half: false, ..class }))?,
            found => found,
        };
        *tuning.matmul.tile_mut(class) = found.ok_or_else(|| format!("no variant of {class}"))?;
    }
    for key in map.keys() {
        let Some(mut single) = single_shape(key) else { continue };
        single.tile = matmul(key)?.expect("a key of the map");
        tuning.single_shapes.push(single);
    }
    tuning.attention.f32 = attention("attention").ok_or("no variant of attention")?;
    tuning.attention.f16 = if map.contains_key("attention f16") {
        attention("attention f16").ok_or("no variant of attention f16")?
    } else {
        tuning.attention.f32
    };
    let Some(Ok(Variant::LayerNorm(norm))) = phrase("layer_norm") else {
        return Err("no variant of layer_norm".into());
    };
    tuning.layer_norm = norm;
    // These hung on it.
    if matches!(norm, LayerNormVariant::SharedMemory { .. }) {
        tuning.masked_mse = LossVariant::SharedMemory;
    }
    if matches!(norm, LayerNormVariant::SubgroupVec4 { .. }) {
        tuning.optimiser = OptimiserVariant::Wide;
    }
    tuning.fuse_gelu = match map.get("gelu").map(String::as_str) {
        Some("in the product") => true,
        Some("apart") => false,
        _ => return Err("no word on gelu".into()),
    };
    Ok(tuning)
}

/// The shape that a key as `product_nt 65x7x1 f16` names; its tile is still to be set.
fn single_shape(key: &str) -> Option<SingleShape> {
    let (name, rest) = key.split_once(' ')?;
    let form =
        [Form::Nt, Form::Nn, Form::Tn].into_iter().find(|form| form.name().replace("matmul", "product") == name)?;
    let (extents, operands) = match rest.strip_suffix(" f16") {
        Some(extents) => (extents, DType::F16),
        None => (rest, DType::F32),
    };
    let shape: Vec<usize> = extents.split('x').map(str::parse).collect::<Result<_, _>>().ok()?;
    Some(SingleShape { form, shape: shape.try_into().ok()?, operands, tile: Tile::default() })
}

/// The variant that a phrase names: its words with the numbers taken out tell which, the numbers its sizes.
fn variant(text: &str) -> Option<Variant> {
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
    let numbers: Vec<u32> = numbers.map(str::parse).collect::<Result<_, _>>().ok()?;
    let mut words = String::new();
    for c in text.chars() {
        match c.is_ascii_digit() {
            true if words.ends_with('#') => {}
            true => words.push('#'),
            false => words.push(c),
        }
    }
    Some(match (words.as_str(), &numbers[..]) {
        ("plain", []) => Variant::Matmul(Tile::Naive),
        ("register #x# group #x#", &[tile_m, tile_n, group_m, group_n]) => {
            Variant::Matmul(Tile::Register { tile_m, tile_n, group_m, group_n })
        }
        ("register #x# group #x# in fours", &[tile_m, tile_n, group_m, group_n]) => {
            Variant::Matmul(Tile::RegisterVec4 { tile_m, tile_n, group_m, group_n })
        }
        ("shared #x# group #x# depth #", &[tile_m, tile_n, group_m, group_n, tile_k]) => {
            Variant::Matmul(Tile::SharedMemory { tile_m, tile_n, group_m, group_n, tile_k })
        }
        (
            "matrix #x# by #x# group #x# of # lanes",
            &[side, again, blocks_m, blocks_n, subgroups_m, subgroups_n, lanes],
        ) if side == again => {
            Variant::Matmul(Tile::CooperativeMatrix { side, blocks_m, blocks_n, subgroups_m, subgroups_n, lanes })
        }
        (
            "shared matrix #x# by #x# group #x# of # lanes depth #",
            &[side, again, blocks_m, blocks_n, subgroups_m, subgroups_n, lanes, tile_k],
        ) if side == again => Variant::Matmul(Tile::CooperativeMatrixShared {
            side,
            blocks_m,
            blocks_n,
            subgroups_m,
            subgroups_n,
            lanes,
            tile_k,
        }),
        ("subgroup # lanes #x#", &[lanes, lane_m, lane_n]) => Variant::Matmul(Tile::Subgroup { lanes, lane_m, lane_n }),
        ("subgroup # lanes #x# in fours", &[lanes, tile_m, tile_n]) => {
            Variant::Matmul(Tile::SubgroupVec4 { lanes, tile_m, tile_n })
        }
        ("workgroup of # rows", &[group]) => Variant::Attention(AttentionVariant::Scalar { group }),
        ("workgroup of # by # rows in fours", &[group, rows]) => {
            Variant::Attention(AttentionVariant::Vec4 { group, rows })
        }
        ("workgroup of # that shares rows", &[group]) => Variant::Attention(AttentionVariant::SharedMemory { group }),
        ("subgroup of #, rows in fours", &[lanes]) => Variant::Attention(AttentionVariant::SubgroupVec4 { lanes }),
        ("matrix #x# by # subgroups of # lanes", &[side, again, subgroups, lanes]) if side == again => {
            Variant::Attention(AttentionVariant::CooperativeMatrix { side, subgroups, lanes })
        }
        ("invocation a row", []) => Variant::LayerNorm(LayerNormVariant::Scalar),
        ("invocation a row in fours, # a workgroup", &[group]) => Variant::LayerNorm(LayerNormVariant::Vec4 { group }),
        ("workgroup of # a row", &[group]) => Variant::LayerNorm(LayerNormVariant::SharedMemory { group }),
        ("subgroup of # in fours", &[lanes]) => Variant::LayerNorm(LayerNormVariant::SubgroupVec4 { lanes }),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The built-in choice for llvmpipe as a checkpoint held it, and two more entries.
    fn phrases() -> BTreeMap<String, String> {
        let mut map = BTreeMap::new();
        for class in Class::all() {
            let rows = if class.form == Form::Tn { 64 } else { 32 };
            let key = class.to_string().replace("matmul", "product");
            map.insert(key, format!("subgroup 8 lanes {rows}x64 in fours"));
        }
        let others = [
            ("product_tn 192x768x2081", "plain"),
            ("product_nt 65x7x1 f16", "shared 8x8 group 8x8 depth 16"),
            ("attention", "subgroup of 8, rows in fours"),
            ("attention f16", "matrix 16x16 by 4 subgroups of 32 lanes"),
            ("layer_norm", "subgroup of 8 in fours"),
            ("gelu", "in the product"),
        ];
        map.extend(others.map(|(key, text)| (key.to_string(), text.to_string())));
        map
    }

    fn read(map: &BTreeMap<String, String>) -> Result<Tuning, String> {
        Tuning::read(&serde_json::to_string(map).unwrap())
    }

    #[test]
    fn phrases_of_older_checkpoints_still_tell_their_tuning() {
        let tuning = read(&phrases()).unwrap();
        let tile = |tile_m| Tile::SubgroupVec4 { lanes: 8, tile_m, tile_n: 64 };
        let [nt, tn] = [Form::Nt, Form::Tn].map(|form| tuning.matmul(form, [640, 640, 640], DType::F32));
        assert_eq!([nt, tn], [tile(32), tile(64)]);
        assert_eq!(tuning.matmul(Form::Tn, [192, 768, 2081], DType::F32), Tile::Naive);
        let shapes: Vec<_> = tuning.single_shapes.iter().map(|single| (single.shape, single.operands)).collect();
        assert_eq!(shapes, [([65, 7, 1], DType::F16), ([192, 768, 2081], DType::F32)]);
        assert_eq!(tuning.attention.f32, AttentionVariant::SubgroupVec4 { lanes: 8 });
        assert_eq!(tuning.attention.f16, AttentionVariant::CooperativeMatrix { side: 16, subgroups: 4, lanes: 32 });
        assert_eq!((tuning.optimiser, tuning.masked_mse), (OptimiserVariant::Wide, LossVariant::Scalar));
        assert!(tuning.fuse_gelu);
    }

    #[test]
    fn phrases_from_before_half_precision_count_for_it() {
        let mut map = phrases();
        map.retain(|key, _| !key.contains("f16"));
        map.insert("layer_norm".into(), "workgroup of 64 a row".into());
        let tuning = read(&map).unwrap();
        assert_eq!(tuning.matmul.f16, tuning.matmul.f32);
        assert_eq!(tuning.attention.f16, tuning.attention.f32);
        assert_eq!((tuning.optimiser, tuning.masked_mse), (OptimiserVariant::Vec4, LossVariant::SharedMemory));
    }

    #[test]
    fn what_is_missing_or_wrong_in_phrases_is_refused() {
        for key in phrases().keys().filter(|key| !key.contains("f16") && !key.contains("2081")) {
            let mut map = phrases();
            map.remove(key);
            assert!(read(&map).is_err(), "without {key}");
        }
        for (key, text) in [
            ("gelu", "in two"),
            ("attention", "plain"),
            ("layer_norm", "subgroup of 99999999999 in fours"),
            ("product_nt large long", "register 8x8"),
            ("product_nt large long", "workgroup of 8 rows"),
            ("product_nt 65x7x1 f16", "matrix 8x16 by 2x2 group 2x2 of 8 lanes"),
        ] {
            let mut map = phrases();
            map.insert(key.into(), text.into());
            assert!(read(&map).is_err(), "{key}: {text}");
        }
    }
}
