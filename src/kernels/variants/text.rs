//! The texts that name kernel variants in files and messages.

use std::{fmt, str::FromStr};

use super::{NormRows, Rows, Tile, variant::Variant};

impl fmt::Display for Tile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tile::Plain => write!(f, "plain"),
            Tile::Register { rows, cols, group_rows, group_cols } => {
                write!(f, "register {rows}x{cols} group {group_rows}x{group_cols}")
            }
            Tile::Quads { rows, cols, group_rows, group_cols } => {
                write!(f, "register {rows}x{cols} group {group_rows}x{group_cols} in fours")
            }
            Tile::Workgroup { rows, cols, group_rows, group_cols, depth } => {
                write!(f, "shared {rows}x{cols} group {group_rows}x{group_cols} depth {depth}")
            }
            Tile::Matrix { side, rows, cols, group_rows, group_cols, lanes } => {
                write!(f, "matrix {side}x{side} by {rows}x{cols} group {group_rows}x{group_cols} of {lanes} lanes")
            }
            Tile::MatrixWorkgroup { side, rows, cols, group_rows, group_cols, lanes, depth } => write!(
                f,
                "shared matrix {side}x{side} by {rows}x{cols} group {group_rows}x{group_cols} of {lanes} lanes depth {depth}"
            ),
            Tile::Subgroup { lanes, rows, cols } => write!(f, "subgroup {lanes} lanes {rows}x{cols}"),
            Tile::Fours { lanes, rows, cols } => write!(f, "subgroup {lanes} lanes {rows}x{cols} in fours"),
        }
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rows::Workgroup(rows) => write!(f, "workgroup of {rows} rows"),
            Rows::Quads { group, rows } => write!(f, "workgroup of {group} by {rows} rows in fours"),
            Rows::Shared { group } => write!(f, "workgroup of {group} that shares rows"),
            Rows::Fours(lanes) => write!(f, "subgroup of {lanes}, rows in fours"),
            Rows::Matrix { side, subgroups, lanes } => {
                write!(f, "matrix {side}x{side} by {subgroups} subgroups of {lanes} lanes")
            }
        }
    }
}

impl fmt::Display for NormRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NormRows::Invocation => write!(f, "invocation a row"),
            NormRows::Quads(rows) => write!(f, "invocation a row in fours, {rows} a workgroup"),
            NormRows::Workgroup(size) => write!(f, "workgroup of {size} a row"),
            NormRows::Fours(lanes) => write!(f, "subgroup of {lanes} in fours"),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Variant::Product(tile) => tile.fmt(f),
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
            ("plain", []) => Variant::Product(Tile::Plain),
            ("register #x# group #x#", &[rows, cols, group_rows, group_cols]) => {
                Variant::Product(Tile::Register { rows, cols, group_rows, group_cols })
            }
            ("register #x# group #x# in fours", &[rows, cols, group_rows, group_cols]) => {
                Variant::Product(Tile::Quads { rows, cols, group_rows, group_cols })
            }
            ("shared #x# group #x# depth #", &[rows, cols, group_rows, group_cols, depth]) => {
                Variant::Product(Tile::Workgroup { rows, cols, group_rows, group_cols, depth })
            }
            ("matrix #x# by #x# group #x# of # lanes", &[side, again, rows, cols, group_rows, group_cols, lanes])
                if side == again =>
            {
                Variant::Product(Tile::Matrix { side, rows, cols, group_rows, group_cols, lanes })
            }
            (
                "shared matrix #x# by #x# group #x# of # lanes depth #",
                &[side, again, rows, cols, group_rows, group_cols, lanes, depth],
            ) if side == again => {
                Variant::Product(Tile::MatrixWorkgroup { side, rows, cols, group_rows, group_cols, lanes, depth })
            }
            ("subgroup # lanes #x#", &[lanes, rows, cols]) => Variant::Product(Tile::Subgroup { lanes, rows, cols }),
            ("subgroup # lanes #x# in fours", &[lanes, rows, cols]) => {
                Variant::Product(Tile::Fours { lanes, rows, cols })
            }
            ("workgroup of # rows", &[rows]) => Variant::Attention(Rows::Workgroup(rows)),
            ("workgroup of # by # rows in fours", &[group, rows]) => Variant::Attention(Rows::Quads { group, rows }),
            ("workgroup of # that shares rows", &[group]) => Variant::Attention(Rows::Shared { group }),
            ("subgroup of #, rows in fours", &[lanes]) => Variant::Attention(Rows::Fours(lanes)),
            ("matrix #x# by # subgroups of # lanes", &[side, again, subgroups, lanes]) if side == again => {
                Variant::Attention(Rows::Matrix { side, subgroups, lanes })
            }
            ("invocation a row", []) => Variant::LayerNorm(NormRows::Invocation),
            ("invocation a row in fours, # a workgroup", &[rows]) => Variant::LayerNorm(NormRows::Quads(rows)),
            ("workgroup of # a row", &[size]) => Variant::LayerNorm(NormRows::Workgroup(size)),
            ("subgroup of # in fours", &[lanes]) => Variant::LayerNorm(NormRows::Fours(lanes)),
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
            Tile::Plain,
            Tile::default(),
            Tile::Register { rows: 4, cols: 8, group_rows: 16, group_cols: 2 },
            Tile::Workgroup { rows: 8, cols: 8, group_rows: 8, group_cols: 8, depth: 16 },
            Tile::Subgroup { lanes: 8, rows: 8, cols: 4 },
            Tile::Fours { lanes: 8, rows: 50, cols: 64 },
            Tile::Matrix { side: 16, rows: 4, cols: 2, group_rows: 2, group_cols: 1, lanes: 32 },
            Tile::MatrixWorkgroup { side: 16, rows: 4, cols: 2, group_rows: 2, group_cols: 1, lanes: 32, depth: 32 },
        ];
        let rows =
            [Rows::Workgroup(64), Rows::Quads { group: 64, rows: 2 }, Rows::Shared { group: 128 }, Rows::Fours(8)];
        let units = Rows::Matrix { side: 16, subgroups: 4, lanes: 32 };
        let norms = [NormRows::Invocation, NormRows::Quads(4), NormRows::Workgroup(256), NormRows::Fours(8)];
        let others = rows.into_iter().chain([units]).map(Variant::Attention).chain(norms.map(Variant::LayerNorm));
        for variant in tiles.map(Variant::Product).into_iter().chain(others) {
            assert_eq!(variant.to_string().parse(), Ok(variant));
        }
        assert_eq!(Tile::default().to_string(), "register 8x8 group 1x8");
        for wrong in ["", "register 8x8", "register 8x8 group 1x", "plain 1", "subgroup 99999999999 lanes 8x4", "Ω 1"]
        {
            assert!(wrong.parse::<Variant>().is_err(), "{wrong}");
        }
    }
}
