//! A variant of one of the kernels that have some.

use super::{AttentionVariant, LayerNormVariant, Tile};

/// A variant of one of the kernels that have some. Its text form is what files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
