//! A variant of one of the kernels that have some.

use super::{NormRows, Rows, Tile};

/// A variant of one of the kernels that have some. Its text form is what files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// Of the matrix product.
    Product(Tile),
    /// Of attention.
    Attention(Rows),
    /// Of layer normalisation.
    LayerNorm(NormRows),
}

impl Variant {
    /// Whether it computes by matrix units.
    pub fn takes_matrix_units(self) -> bool {
        matches!(
            self,
            Variant::Product(Tile::Matrix { .. } | Tile::MatrixWorkgroup { .. })
                | Variant::Attention(Rows::Matrix { .. })
        )
    }
}
