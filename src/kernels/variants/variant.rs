//! A variant of one of the kernels that have some.

use super::{AttentionVariant, LayerNormVariant, Tile};

/// A variant of one of the kernels that have some.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Variant {
    /// Of the matmul.
    Matmul(Tile),
    /// Of attention.
    Attention(AttentionVariant),
    /// Of layer normalisation.
    LayerNorm(LayerNormVariant),
}

impl Variant {
    /// Whether it computes by matrix units.
    pub fn takes_matrix_units(self) -> bool {
        matches!(
            self,
            Variant::Matmul(Tile::CooperativeMatrix { .. } | Tile::CooperativeMatrixShared { .. })
                | Variant::Attention(AttentionVariant::CooperativeMatrix { .. })
        )
    }
}
