//! Kernel variants in words, for messages.

use std::fmt;

use super::{AttentionVariant, LayerNormVariant, Tile, variant::Variant};

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Tile::Naive => write!(f, "naive"),
            Tile::Register { tile_m, tile_n, group_m, group_n } => {
                write!(f, "register tile {tile_m}x{tile_n}, workgroup {group_m}x{group_n}")
            }
            Tile::RegisterVec4 { tile_m, tile_n, group_m, group_n } => {
                write!(f, "register tile {tile_m}x{tile_n}, workgroup {group_m}x{group_n}, vec4")
            }
            Tile::SharedMemory { tile_m, tile_n, group_m, group_n, tile_k } => {
                write!(f, "shared memory, tile {tile_m}x{tile_n}, workgroup {group_m}x{group_n}, tile_k {tile_k}")
            }
            Tile::Subgroup { lanes, lane_m, lane_n } => write!(f, "subgroup of {lanes}, {lane_m}x{lane_n} a lane"),
            Tile::SubgroupVec4 { lanes, tile_m, tile_n } => {
                write!(f, "subgroup of {lanes}, tile {tile_m}x{tile_n}, vec4")
            }
            Tile::CooperativeMatrix { side, blocks_m, blocks_n, subgroups_m, subgroups_n, lanes } => write!(
                f,
                "cooperative matrix {side}x{side}, {blocks_m}x{blocks_n} blocks, {subgroups_m}x{subgroups_n} subgroups of \
                 {lanes}"
            ),
            Tile::CooperativeMatrixShared { side, blocks_m, blocks_n, subgroups_m, subgroups_n, lanes, tile_k } => {
                write!(
                    f,
                    "cooperative matrix {side}x{side}, {blocks_m}x{blocks_n} blocks, {subgroups_m}x{subgroups_n} subgroups of \
                 {lanes}, shared memory, tile_k {tile_k}"
                )
            }
        }
    }
}

impl fmt::Display for AttentionVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttentionVariant::Scalar { group } => write!(f, "scalar, workgroup of {group}"),
            AttentionVariant::Vec4 { group, rows } => write!(f, "vec4, workgroup of {group} by {rows} rows"),
            AttentionVariant::SharedMemory { group } => write!(f, "shared memory, workgroup of {group}"),
            AttentionVariant::SubgroupVec4 { lanes } => write!(f, "subgroup of {lanes}, vec4"),
            AttentionVariant::CooperativeMatrix { side, subgroups, lanes } => {
                write!(f, "cooperative matrix {side}x{side}, {subgroups} subgroups of {lanes}")
            }
        }
    }
}

impl fmt::Display for LayerNormVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerNormVariant::Scalar => write!(f, "scalar, an invocation a row"),
            LayerNormVariant::Vec4 { group } => write!(f, "vec4, an invocation a row, workgroup of {group}"),
            LayerNormVariant::SharedMemory { group } => write!(f, "shared memory, workgroup of {group} a row"),
            LayerNormVariant::SubgroupVec4 { lanes } => write!(f, "subgroup of {lanes}, vec4"),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variant::Matmul(variant) => variant.fmt(f),
            Variant::Attention(variant) => variant.fmt(f),
            Variant::LayerNorm(variant) => variant.fmt(f),
        }
    }
}
