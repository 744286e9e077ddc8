//! The kernel variants of layer normalisation: how its rows are shared among invocations.

/// The kernel variant of layer normalisation: how its rows are shared among invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum LayerNormVariant {
    /// A row an invocation, one value a load: no barriers.
    Scalar,
    /// As `Scalar`, but a vec4 a load. Rows whose length is no multiple of 4 are left to `Scalar`.
    Vec4 {
        /// Invocations of a workgroup, a row each.
        group: u32,
    },
    /// A row a workgroup, which adds up in its shared memory, a vec4 a load. Rows whose length is no multiple of 4 are left
    /// to `Scalar`.
    SharedMemory {
        /// Invocations of a workgroup, a power of two.
        group: u32,
    },
    /// A subgroup takes chunks of rows, a vec4 a load as 64-bit integers; needs these. Rows whose length is no multiple of 4
    /// or beyond `HELD_COLS` are left to `Scalar`.
    SubgroupVec4 {
        /// Invocations of a subgroup.
        lanes: u32,
    },
}

/// The longest row of [`LayerNormVariant::SubgroupVec4`]: its values are held in registers.
const HELD_COLS: usize = 2048;

impl LayerNormVariant {
    /// This, or the nearest that takes rows of so many values.
    pub(crate) fn fitting(self, cols: usize) -> LayerNormVariant {
        use LayerNormVariant::{Scalar, SharedMemory, SubgroupVec4, Vec4};
        match self {
            SubgroupVec4 { .. } if !cols.is_multiple_of(4) || cols > HELD_COLS => Scalar,
            Vec4 { .. } | SharedMemory { .. } if !cols.is_multiple_of(4) => Scalar,
            variant => variant,
        }
    }
}
