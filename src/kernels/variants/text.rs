//! The texts that name kernel variants in files and messages.

use std::{fmt, str::FromStr};

use super::{AttentionVariant, LayerNormVariant, Tile, variant::Variant};

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tile::Naive => write!(f, "plain"),
            Tile::Register { tile_m: rows, tile_n: cols, group_m: group_rows, group_n: group_cols } => {
                write!(f, "register {rows}x{cols} group {group_rows}x{group_cols}")
            }
            Tile::RegisterVec4 { tile_m: rows, tile_n: cols, group_m: group_rows, group_n: group_cols } => {
                write!(f, "register {rows}x{cols} group {group_rows}x{group_cols} in fours")
            }
            Tile::SharedMemory {
                tile_m: rows,
                tile_n: cols,
                group_m: group_rows,
                group_n: group_cols,
                tile_k: depth,
            } => {
                write!(f, "shared {rows}x{cols} group {group_rows}x{group_cols} depth {depth}")
            }
            Tile::CooperativeMatrix {
                side,
                blocks_m: rows,
                blocks_n: cols,
                subgroups_m: group_rows,
                subgroups_n: group_cols,
                lanes,
            } => {
                write!(f, "matrix {side}x{side} by {rows}x{cols} group {group_rows}x{group_cols} of {lanes} lanes")
            }
            Tile::CooperativeMatrixShared {
                side,
                blocks_m: rows,
                blocks_n: cols,
                subgroups_m: group_rows,
                subgroups_n: group_cols,
                lanes,
                tile_k: depth,
            } => write!(
                f,
                "shared matrix {side}x{side} by {rows}x{cols} group {group_rows}x{group_cols} of {lanes} lanes depth {depth}"
            ),
            Tile::Subgroup { lanes, lane_m: rows, lane_n: cols } => write!(f, "subgroup {lanes} lanes {rows}x{cols}"),
            Tile::SubgroupVec4 { lanes, tile_m: rows, tile_n: cols } => {
                write!(f, "subgroup {lanes} lanes {rows}x{cols} in fours")
            }
        }
    }
}

impl fmt::Display for AttentionVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AttentionVariant::Scalar { group: rows } => write!(f, "workgroup of {rows} rows"),
            AttentionVariant::Vec4 { group, rows } => write!(f, "workgroup of {group} by {rows} rows in fours"),
            AttentionVariant::SharedMemory { group } => write!(f, "workgroup of {group} that shares rows"),
            AttentionVariant::SubgroupVec4 { lanes } => write!(f, "subgroup of {lanes}, rows in fours"),
            AttentionVariant::CooperativeMatrix { side, subgroups, lanes } => {
                write!(f, "matrix {side}x{side} by {subgroups} subgroups of {lanes} lanes")
            }
        }
    }
}

impl fmt::Display for LayerNormVariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LayerNormVariant::Scalar => write!(f, "invocation a row"),
            LayerNormVariant::Vec4 { group: rows } => write!(f, "invocation a row in fours, {rows} a workgroup"),
            LayerNormVariant::SharedMemory { group: size } => write!(f, "workgroup of {size} a row"),
            LayerNormVariant::SubgroupVec4 { lanes } => write!(f, "subgroup of {lanes} in fours"),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variant::Matmul(tile) => tile.fmt(f),
            Variant::Attention(rows) => rows.fmt(f),
            Variant::LayerNorm(rows) => rows.fmt(f),
        }
    }
}

impl FromStr for Variant {
    type Err = String;

    /// Reads what `Display` writes. The numbers are not judged: see [`Tuning::runs_on`](crate::kernels::Tuning::runs_on).
    fn from_str(text: &str) -> Result<Variant, String> {
        let unknown = || format!("no kernel variant `{text}`");
        let mut numbers: Vec<u32> = Vec::new();
        let mut pattern = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
            let digits = rest[at..].find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len() - at);
            numbers.push(rest[at..at + digits].parse().map_err(|_| unknown())?);
            pattern.push_str(&rest[..at]);
            pattern.push('#');
            rest = &rest[at + digits..];
        }
        pattern.push_str(rest);
        Ok(match (pattern.as_str(), &numbers[..]) {
            ("plain", []) => Variant::Matmul(Tile::Naive),
            ("register #x# group #x#", &[rows, cols, group_rows, group_cols]) => {
                Variant::Matmul(Tile::Register { tile_m: rows, tile_n: cols, group_m: group_rows, group_n: group_cols })
            }
            ("register #x# group #x# in fours", &[rows, cols, group_rows, group_cols]) => {
                Variant::Matmul(Tile::RegisterVec4 {
                    tile_m: rows,
                    tile_n: cols,
                    group_m: group_rows,
                    group_n: group_cols,
                })
            }
            ("shared #x# group #x# depth #", &[rows, cols, group_rows, group_cols, depth]) => {
                Variant::Matmul(Tile::SharedMemory {
                    tile_m: rows,
                    tile_n: cols,
                    group_m: group_rows,
                    group_n: group_cols,
                    tile_k: depth,
                })
            }
            ("matrix #x# by #x# group #x# of # lanes", &[side, again, rows, cols, group_rows, group_cols, lanes])
                if side == again =>
            {
                Variant::Matmul(Tile::CooperativeMatrix {
                    side,
                    blocks_m: rows,
                    blocks_n: cols,
                    subgroups_m: group_rows,
                    subgroups_n: group_cols,
                    lanes,
                })
            }
            (
                "shared matrix #x# by #x# group #x# of # lanes depth #",
                &[side, again, rows, cols, group_rows, group_cols, lanes, depth],
            ) if side == again => Variant::Matmul(Tile::CooperativeMatrixShared {
                side,
                blocks_m: rows,
                blocks_n: cols,
                subgroups_m: group_rows,
                subgroups_n: group_cols,
                lanes,
                tile_k: depth,
            }),
            ("subgroup # lanes #x#", &[lanes, rows, cols]) => {
                Variant::Matmul(Tile::Subgroup { lanes, lane_m: rows, lane_n: cols })
            }
            ("subgroup # lanes #x# in fours", &[lanes, rows, cols]) => {
                Variant::Matmul(Tile::SubgroupVec4 { lanes, tile_m: rows, tile_n: cols })
            }
            ("workgroup of # rows", &[rows]) => Variant::Attention(AttentionVariant::Scalar { group: rows }),
            ("workgroup of # by # rows in fours", &[group, rows]) => {
                Variant::Attention(AttentionVariant::Vec4 { group, rows })
            }
            ("workgroup of # that shares rows", &[group]) => {
                Variant::Attention(AttentionVariant::SharedMemory { group })
            }
            ("subgroup of #, rows in fours", &[lanes]) => Variant::Attention(AttentionVariant::SubgroupVec4 { lanes }),
            ("matrix #x# by # subgroups of # lanes", &[side, again, subgroups, lanes]) if side == again => {
                Variant::Attention(AttentionVariant::CooperativeMatrix { side, subgroups, lanes })
            }
            ("invocation a row", []) => Variant::LayerNorm(LayerNormVariant::Scalar),
            ("invocation a row in fours, # a workgroup", &[rows]) => {
                Variant::LayerNorm(LayerNormVariant::Vec4 { group: rows })
            }
            ("workgroup of # a row", &[size]) => Variant::LayerNorm(LayerNormVariant::SharedMemory { group: size }),
            ("subgroup of # in fours", &[lanes]) => Variant::LayerNorm(LayerNormVariant::SubgroupVec4 { lanes }),
            _ => return Err(unknown()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variants_text_reads_back_as_the_variant() {
        let tiles = [
            Tile::Naive,
            Tile::default(),
            Tile::Register { tile_m: 4, tile_n: 8, group_m: 16, group_n: 2 },
            Tile::SharedMemory { tile_m: 8, tile_n: 8, group_m: 8, group_n: 8, tile_k: 16 },
            Tile::Subgroup { lanes: 8, lane_m: 8, lane_n: 4 },
            Tile::SubgroupVec4 { lanes: 8, tile_m: 50, tile_n: 64 },
            Tile::CooperativeMatrix { side: 16, blocks_m: 4, blocks_n: 2, subgroups_m: 2, subgroups_n: 1, lanes: 32 },
            Tile::CooperativeMatrixShared {
                side: 16,
                blocks_m: 4,
                blocks_n: 2,
                subgroups_m: 2,
                subgroups_n: 1,
                lanes: 32,
                tile_k: 32,
            },
        ];
        let rows = [
            AttentionVariant::Scalar { group: 64 },
            AttentionVariant::Vec4 { group: 64, rows: 2 },
            AttentionVariant::SharedMemory { group: 128 },
            AttentionVariant::SubgroupVec4 { lanes: 8 },
        ];
        let units = AttentionVariant::CooperativeMatrix { side: 16, subgroups: 4, lanes: 32 };
        let norms = [
            LayerNormVariant::Scalar,
            LayerNormVariant::Vec4 { group: 4 },
            LayerNormVariant::SharedMemory { group: 256 },
            LayerNormVariant::SubgroupVec4 { lanes: 8 },
        ];
        let others = rows.into_iter().chain([units]).map(Variant::Attention).chain(norms.map(Variant::LayerNorm));
        for variant in tiles.map(Variant::Matmul).into_iter().chain(others) {
            assert_eq!(variant.to_string().parse(), Ok(variant));
        }
        assert_eq!(Tile::default().to_string(), "register 8x8 group 1x8");
        for wrong in ["", "register 8x8", "register 8x8 group 1x", "plain 1", "subgroup 99999999999 lanes 8x4", "Ω 1"]
        {
            assert!(wrong.parse::<Variant>().is_err(), "{wrong}");
        }
    }
}
