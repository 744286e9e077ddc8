//! The kernel variants of layer normalisation: how its rows are shared among invocations.

/// How layer normalisation shares its rows among invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NormRows {
    /// An invocation takes a row: no barriers.
    Invocation,
    /// As `Invocation`, loading four values at once, this many rows a workgroup. Rows whose length is no multiple of 4 are
    /// left to `Invocation`.
    Quads(u32),
    /// A workgroup of this many invocations, a power of two, takes a row, four values a load. Rows whose length is no
    /// multiple of 4 are left to `Invocation`.
    Workgroup(u32),
    /// A subgroup of this many invocations takes chunks of rows and loads values in fours; needs 64-bit integers. Rows
    /// whose length is no multiple of 4 or beyond [`HELD_COLS`] are left to `Invocation`.
    Fours(u32),
}

/// The longest row of [`NormRows::Fours`]: its values are held in registers.
const HELD_COLS: usize = 2048;

impl NormRows {
    /// This, or the nearest that takes rows of so many values.
    pub(crate) fn fitting(self, cols: usize) -> NormRows {
        match self {
            NormRows::Fours(_) if !cols.is_multiple_of(4) || cols > HELD_COLS => NormRows::Invocation,
            NormRows::Quads(_) | NormRows::Workgroup(_) if !cols.is_multiple_of(4) => NormRows::Invocation,
            rows => rows,
        }
    }
}
