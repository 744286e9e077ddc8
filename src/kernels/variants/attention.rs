//! The kernel variants of attention: how its rows are shared among invocations, and which kernel that is.

use crate::{
    kernels::{self, Constant, Kernel},
    shape::DType,
};

/// The kernel variant of attention: how its rows are shared among invocations. All are flash attention (Dao et al., 2022):
/// scores are never stored, the forward pass keeps an online softmax, the backward pass computes probabilities anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AttentionVariant {
    /// A row an invocation, one value a load.
    Scalar {
        /// Invocations of a workgroup.
        group: u32,
    },
    /// As `Scalar`, but a vec4 a load, for several rows an invocation. Heads whose columns are no multiple of 4 are left to
    /// `Scalar`.
    Vec4 {
        /// Invocations of a workgroup.
        group: u32,
        /// Rows of an invocation. More than one suit software adapters, which have no registers to run out of.
        rows: u32,
    },
    /// A workgroup that copies the rows of the other side into its shared memory, where teams of 4 or 8 of its invocations
    /// take them for several rows at once. Heads that are too wide for that memory are left to `Scalar`.
    SharedMemory {
        /// Invocations of a workgroup.
        group: u32,
    },
    /// A subgroup, `shared_rows` for each of its lanes, that shares each load, a vec4 as 64-bit integers; needs these. Heads
    /// whose columns are no multiple of 4 are left to `Scalar`.
    SubgroupVec4 {
        /// Invocations of a subgroup.
        lanes: u32,
    },
    /// A subgroup that computes `side` rows by cooperative matrices, for values in half precision; needs subgroups of `lanes`,
    /// never more or fewer. Values in f32, and heads that are too wide for a workgroup's memory or have an odd number of
    /// columns, are left to `SharedMemory`.
    CooperativeMatrix {
        /// Rows and columns of a block: 8 or 16.
        side: u32,
        /// Subgroups of a workgroup, up to 4.
        subgroups: u32,
        /// Invocations of a subgroup.
        lanes: u32,
    },
}

/// Rows of an invocation in [`AttentionVariant::SubgroupVec4`], and rows of the other side that its subgroup takes in a turn: more share
/// loads and visits of memory, until their instructions fill a processor's cache. Which it is was measured on llvmpipe.
fn shared_rows(part: Part, rows: usize, lanes: u32) -> (u32, u32) {
    let covered = |each: u32| rows.next_multiple_of((each * lanes) as usize);
    match part {
        Part::Forward if covered(5) < covered(3) => (5, 2),
        Part::Forward => (3, 3),
        Part::BackwardQ | Part::BackwardKv => (3, 2),
    }
}

/// Keys that a team takes at a time in [`AttentionVariant::SharedMemory`].
const KEYS: u32 = 4;
/// Bytes of a workgroup's memory on every adapter of WebGPU's.
const MEMORY: u32 = 16 << 10;

/// How [`AttentionVariant::SharedMemory`] divides its work.
struct Teams {
    /// Invocations of a team.
    lanes: u32,
    /// Vec4s of columns of an invocation.
    cols: u32,
    /// Pairs of rows of a team in the backward pass.
    pairs: u32,
    /// Rows of the other side that the workgroup copies at a time.
    block: u32,
}

impl Teams {
    /// Those of a workgroup of this many invocations, if its memory suffices. An invocation's values fit its registers,
    /// but in very wide heads, and its copies take up to 4 loads of each side.
    fn of(part: Part, group: u32, head: usize) -> Option<Teams> {
        let vec4s = head.div_ceil(4) as u32;
        let (lanes, pairs) = match part {
            // Each load then feeds twice as many sums, for more that is handed around.
            Part::BackwardQ | Part::BackwardKv if (13..=24).contains(&vec4s) && group <= 64 => (8, 2),
            _ if vec4s <= 20 => (4, 1),
            _ => (8, 1),
        };
        let cols = vec4s.div_ceil(lanes);
        let units = KEYS * pairs;
        let handed = units * (group + 1) + units * group / lanes;
        let left = (MEMORY / 16).saturating_sub(handed) / (2 * cols * lanes) / KEYS;
        let copied = (4 * group / (cols * lanes) / KEYS).max(1);
        Some(Teams { lanes, cols, pairs, block: KEYS * left.min(copied) }).filter(|teams| teams.block > 0)
    }

    /// Rows of a workgroup of this many invocations.
    fn rows(&self, part: Part, group: u32) -> u32 {
        let each = if matches!(part, Part::Forward) { 4 } else { 2 * self.pairs };
        group / self.lanes * each
    }
}

/// How [`AttentionVariant::CooperativeMatrix`] divides its work.
struct Blocks {
    side: u32,
    subgroups: u32,
    lanes: u32,
    /// Rows of the other side that the workgroup copies at a time.
    block: u32,
    /// Blocks of columns of a head.
    columns: u32,
    /// What a row takes in the memory that a subgroup computes in.
    width: u32,
}

impl Blocks {
    /// Those of a head, if it is even and not too wide.
    fn of(part: Part, rows: AttentionVariant, head: usize) -> Option<Blocks> {
        let AttentionVariant::CooperativeMatrix { side, subgroups, lanes } = rows else { return None };
        let block = if matches!(part, Part::Forward) { Blocks::KEYS } else { Blocks::KEYS / 2 };
        let columns = (head as u32).div_ceil(side);
        let fits = head.is_multiple_of(2) && columns * side <= Blocks::WIDEST;
        fits.then_some(Blocks { side, subgroups, lanes, block, columns, width: Blocks::KEYS })
    }

    /// Keys that the forward pass takes at a time. The backward pass takes half as many rows of the other side: with more,
    /// fewer workgroups run at once on an H200.
    const KEYS: u32 = 32;
    /// Columns of the widest heads that are taken.
    const WIDEST: u32 = 80;

    /// Bytes of a workgroup's memory.
    fn shared_bytes(&self) -> u32 {
        let Blocks { side, subgroups, block, columns, width, .. } = self;
        // Both sides in halves; sums in f32 and halves of the subgroups' rows; three numbers a query; four flags.
        let sums = subgroups * side * (4 * (width + 4) + 2 * (width + 8));
        2 * 2 * block * (columns * side + 8) + sums + 3 * 4 * block + 16
    }

    fn constants(&self) -> Vec<(&'static str, u32)> {
        let Blocks { side, subgroups, lanes, block, columns, width } = *self;
        let piece =
            (1..=width / side).rev().find(|piece| columns.is_multiple_of(*piece)).expect("one block divides all");
        vec![
            ("SUBGROUPS", subgroups),
            ("LANES", lanes),
            ("BLOCK", block),
            ("COLUMNS", columns),
            ("PIECE", piece),
            ("JOINS", (lanes / side).ilog2()),
            ("WIDTH", width),
        ]
    }
}

impl AttentionVariant {
    /// Bytes of a workgroup's shared memory, where this takes more than WebGPU promises.
    pub(crate) fn shared_bytes(self) -> u32 {
        let widest = Blocks::WIDEST as usize;
        let bytes = PARTS.map(|part| Blocks::of(part, self, widest).map_or(0, |blocks| blocks.shared_bytes()));
        bytes.into_iter().max().expect("three parts")
    }

    /// Whether values of so wide heads can be in half precision.
    pub(crate) fn takes_f16(self, head: usize) -> bool {
        match self.fitting(head, DType::F16) {
            AttentionVariant::Scalar { .. } => false,
            AttentionVariant::CooperativeMatrix { .. } => true,
            _ => head.is_multiple_of(4),
        }
    }

    /// This, or the nearest that takes so wide heads of this type.
    pub(crate) fn fitting(self, head: usize, dtype: DType) -> AttentionVariant {
        match self {
            AttentionVariant::CooperativeMatrix { .. }
                if dtype == DType::F32 || PARTS.iter().any(|part| Blocks::of(*part, self, head).is_none()) =>
            {
                AttentionVariant::SharedMemory { group: 64 }.fitting(head, dtype)
            }
            AttentionVariant::SharedMemory { group }
                if PARTS.iter().any(|part| Teams::of(*part, group, head).is_none()) =>
            {
                AttentionVariant::Scalar { group: 64 }
            }
            AttentionVariant::SubgroupVec4 { .. } if !head.is_multiple_of(4) => AttentionVariant::Scalar { group: 8 },
            AttentionVariant::Vec4 { group, .. } if !head.is_multiple_of(4) => AttentionVariant::Scalar { group },
            rows => rows,
        }
    }

    /// The kernel of this part for heads of so many columns, of values of this type, the rows of a workgroup, of `rows` in all,
    /// and the constants that are chosen, but that of the columns.
    pub(crate) fn kernel(
        self,
        part: Part,
        rows: usize,
        head: usize,
        dtype: DType,
    ) -> (&'static Kernel, u32, Vec<Constant>) {
        /// The kernel of a line of the table.
        macro_rules! pick {
            ($line:ident) => {
                match part {
                    Part::Forward => &kernels::$line::FORWARD,
                    Part::BackwardQ => &kernels::$line::BACKWARD_Q,
                    Part::BackwardKv => &kernels::$line::BACKWARD_KV,
                }
            };
        }
        let half = dtype == DType::F16;
        let (kernel, group, constants) = match self.fitting(head, dtype) {
            AttentionVariant::Scalar { group } => (pick!(attention_scalar), group, vec![("GROUP", group)]),
            AttentionVariant::Vec4 { group, rows } => {
                let kernel = match (part, half) {
                    (Part::BackwardKv, false) if rows > 1 => &kernels::attention_vec4::BACKWARD_KV_AT_ONCE,
                    (Part::BackwardKv, true) if rows > 1 => &kernels::attention_vec4_f16::BACKWARD_KV_AT_ONCE,
                    (_, false) => pick!(attention_vec4),
                    (_, true) => pick!(attention_vec4_f16),
                };
                (kernel, group * rows, vec![("GROUP", group), ("ROWS", rows)])
            }
            AttentionVariant::SharedMemory { group } => {
                let teams = Teams::of(part, group, head).expect("a fitting head");
                let kernel = match (head.is_multiple_of(4), half) {
                    (true, false) => pick!(attention_shared),
                    (true, true) => pick!(attention_shared_f16),
                    (false, _) => pick!(attention_shared_scalar),
                };
                let Teams { lanes, cols, pairs, block } = teams;
                let constants =
                    vec![("GROUP", group), ("LANES", lanes), ("COLS", cols), ("PAIRS", pairs), ("BLOCK", block)];
                (kernel, teams.rows(part, group), constants)
            }
            variant @ AttentionVariant::CooperativeMatrix { side, subgroups, .. } => {
                let blocks = Blocks::of(part, variant, head).expect("a fitting head");
                let kernel = match (side, head.is_multiple_of(8)) {
                    (8, true) => pick!(attention_coop_8),
                    (8, false) => pick!(attention_coop_8_pairs),
                    (_, true) => pick!(attention_coop_16),
                    (_, false) => pick!(attention_coop_16_pairs),
                };
                (kernel, subgroups * side, blocks.constants())
            }
            AttentionVariant::SubgroupVec4 { lanes } => {
                let (each, turn) = shared_rows(part, rows, lanes);
                let vec4s = head / 4;
                let step = [4, 3, 2].into_iter().find(|step| vec4s.is_multiple_of(*step)).unwrap_or(1);
                let kernel = if half { pick!(attention_subgroup_vec4_f16) } else { pick!(attention_subgroup_vec4) };
                let constants = vec![("LANES", lanes), ("ROWS", each), ("TURN", turn), ("STEP", step as u32)];
                (kernel, lanes * each, constants)
            }
        };
        (kernel, group, constants.into_iter().map(|(name, value)| Constant { name, value }).collect())
    }
}

/// A kernel of attention.
#[derive(Clone, Copy)]
pub(crate) enum Part {
    Forward,
    BackwardQ,
    BackwardKv,
}

const PARTS: [Part; 3] = [Part::Forward, Part::BackwardQ, Part::BackwardKv];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workgroup_that_shares_rows_stays_within_its_memory() {
        for (part, group) in PARTS.into_iter().flat_map(|part| [8, 64, 128].map(|group| (part, group))) {
            for head in 1..600 {
                let Some(Teams { lanes, cols, pairs, block }) = Teams::of(part, group, head) else { continue };
                let vec4s = 2 * block * cols * lanes + KEYS * pairs * (group + 1 + group / lanes);
                assert!(16 * vec4s <= MEMORY && block.is_multiple_of(KEYS), "{group} {head}");
                assert!((4 * cols * lanes) as usize >= head && group.is_multiple_of(lanes), "{group} {head}");
                assert!(lanes >= KEYS * pairs, "{group} {head}");
            }
            assert!((1..=128).all(|head| Teams::of(part, group, head).is_some()), "{group}");
        }
        assert_eq!(
            AttentionVariant::SharedMemory { group: 64 }.fitting(512, DType::F32),
            AttentionVariant::Scalar { group: 64 }
        );
    }
}
