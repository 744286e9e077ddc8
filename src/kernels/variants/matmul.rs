//! The kernel variants of matmuls: how an output is tiled, what a tile asks of the extents, and which kernel that is.

use std::ops::RangeInclusive;

use crate::{
    kernels::{self, Constant, Kernel},
    shape::DType,
};

/// Which sides of the matmul are read along their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    /// `y[.., n] = sum_k a[.., k] b[n, k]`: a linear layer with weights `[out, in]`.
    Nt,
    /// `y[.., n] = sum_k a[.., k] b[k, n]`: the gradient of its input.
    Nn,
    /// `y[m, n] = sum_r a[r, m] b[r, n]` over all rows r: the gradient of its weights.
    Tn,
}

impl Form {
    /// The name of a matmul of this form in profiles and files.
    pub fn name(self) -> &'static str {
        match self {
            Form::Nt => "matmul_nt",
            Form::Nn => "matmul_nn",
            Form::Tn => "matmul_tn",
        }
    }
}

/// What a matmul does to each of its sums (bias included) before it stores them, or beside, so that no operation has to read
/// them, or an operand, again. Recorded by the fusion passes, not by models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Adds the last input.
    Add,
    /// Stores the GELU.
    Gelu,
    /// Stores the GELU, and its slope as a second output.
    GeluAndSlope,
    /// Multiplies by the last input, a slope of GELU.
    TimesSlope,
    /// Sums each column of a weight gradient's first operand, a second output `[1, m]`: the gradient of the bias.
    ColumnSums,
}

impl Epilogue {
    pub(crate) fn has_extra(self) -> bool {
        matches!(self, Epilogue::Add | Epilogue::TimesSlope)
    }

    /// The shaders' `EPILOGUE`.
    pub(crate) fn code(self) -> u32 {
        match self {
            Epilogue::Add => 1,
            Epilogue::Gelu => 2,
            Epilogue::TimesSlope => 3,
            Epilogue::GeluAndSlope | Epilogue::ColumnSums => 0,
        }
    }
}

/// The kernel variant of a matmul: how its outputs are tiled, and how values reach the sums. `tile_m` and `tile_n` are
/// rows and columns of outputs, `tile_k` terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Tile {
    /// One output an invocation: the yardstick.
    Naive,
    /// A register tile of `tile_m × tile_n` an invocation, `group_m × group_n` invocations a workgroup, one value a load.
    Register {
        /// Rows of an invocation.
        tile_m: u32,
        /// Columns of an invocation.
        tile_n: u32,
        /// Invocations of a workgroup along the rows.
        group_m: u32,
        /// Invocations of a workgroup along the columns.
        group_n: u32,
    },
    /// As `Register`, but a vec4 a load and four terms a time; needs `k` and what lies side by side to be multiples of 4.
    RegisterVec4 {
        /// Rows of an invocation, a multiple of 4.
        tile_m: u32,
        /// Columns of an invocation, a multiple of 4.
        tile_n: u32,
        /// Invocations of a workgroup along the rows.
        group_m: u32,
        /// Invocations of a workgroup along the columns.
        group_n: u32,
    },
    /// As `Register`, but from slabs of `tile_k` terms in the workgroup's shared memory, a vec4 a load; needs extents that are
    /// multiples of 4 where values lie side by side.
    SharedMemory {
        /// Rows of an invocation, a multiple of 4.
        tile_m: u32,
        /// Columns of an invocation, a multiple of 4.
        tile_n: u32,
        /// Invocations of a workgroup along the rows.
        group_m: u32,
        /// Invocations of a workgroup along the columns.
        group_n: u32,
        /// Terms of a slab, a multiple of 4.
        tile_k: u32,
    },
    /// One subgroup of `lanes` invocations a workgroup, which shuffles what it loads, one value a load: `lanes * lane_m` rows
    /// and `lanes * lane_n` columns.
    Subgroup {
        /// Invocations of a subgroup.
        lanes: u32,
        /// Rows that a lane loads.
        lane_m: u32,
        /// Columns that a lane computes.
        lane_n: u32,
    },
    /// As `Subgroup`, but a vec4 a load and a store, or two where the extents are multiples of eight, as 64-bit integers;
    /// needs these, and extents that are multiples of four.
    SubgroupVec4 {
        /// Invocations of a subgroup.
        lanes: u32,
        /// Rows of the subgroup; a multiple of four for each lane in [`Form::Tn`].
        tile_m: u32,
        /// Columns of the subgroup; a multiple of four for each lane.
        tile_n: u32,
    },
    /// Cooperative matrices of `side × side` (matrix units, tensor cores), for operands in half precision, straight from
    /// storage: `blocks_m × blocks_n` of them a subgroup, `subgroups_m × subgroups_n` subgroups of `lanes` a workgroup.
    /// `side` divides `k`.
    CooperativeMatrix {
        /// Rows and columns of a block, and terms taken at a time: 8 or 16.
        side: u32,
        /// Blocks of a subgroup along the rows.
        blocks_m: u32,
        /// Blocks of a subgroup along the columns.
        blocks_n: u32,
        /// Subgroups along the rows.
        subgroups_m: u32,
        /// Subgroups along the columns.
        subgroups_n: u32,
        /// The fewest invocations of a subgroup.
        lanes: u32,
    },
    /// As `CooperativeMatrix`, but from slabs of `tile_k` terms in the workgroup's shared memory; needs subgroups of `lanes`,
    /// never more or fewer. Any `k` that allows loads of eight values does.
    CooperativeMatrixShared {
        /// Rows and columns of a block, and terms taken at a time: 8 or 16.
        side: u32,
        /// Blocks of a subgroup along the rows.
        blocks_m: u32,
        /// Blocks of a subgroup along the columns.
        blocks_n: u32,
        /// Subgroups along the rows.
        subgroups_m: u32,
        /// Subgroups along the columns.
        subgroups_n: u32,
        /// Invocations of a subgroup.
        lanes: u32,
        /// Terms of a slab, a multiple of `side`.
        tile_k: u32,
    },
}

/// Workgroups that keep a large GPU busy.
const BUSY_GROUPS: usize = 2048;
/// Those of matrix units, which are larger.
const BUSY_MATRIX_GROUPS: usize = 512;
/// Terms below which a sum is not divided: a partial sum is stored and read once more.
const LEAST_TERMS: usize = 256;
/// Terms that the sums of a weight gradient in vec4s take before they go back to memory. With a fifth, Mesa 25's
/// instructions for llvmpipe no longer fit a processor's cache, which takes 10 to 20 % longer; Mesa 22 gains 2 % by it.
const GRADIENT_TERMS: u32 = 4;
/// Rows that a tile of `SubgroupVec4` stores at a time: what is done to the sums before is compiled once for each, and after each time
/// the sums of the others move up.
const STORED: RangeInclusive<u32> = 6..=10;
/// Values that the parts of one matmul take at most, 64 MiB.
const MOST_PARTIAL: usize = 1 << 24;

impl Default for Tile {
    fn default() -> Tile {
        Tile::Register { tile_m: 8, tile_n: 8, group_m: 1, group_n: 8 }
    }
}

impl Tile {
    /// The built-in tiles of a GPU: 64 × 64 outputs a workgroup, and 32 × 32 where there are few.
    pub(crate) const WIDE: Tile = Tile::SharedMemory { tile_m: 8, tile_n: 8, group_m: 8, group_n: 8, tile_k: 16 };
    /// See [`Tile::WIDE`].
    pub(crate) const NARROW: Tile = Tile::SharedMemory { tile_m: 4, tile_n: 4, group_m: 8, group_n: 8, tile_k: 16 };

    /// The `Subgroup` tile for extents that are not even. SwiftShader compiles it in a quarter of a second, one of 64 rows
    /// by 16 columns in six.
    pub(crate) fn subgroup(lanes: u32) -> Tile {
        Tile::Subgroup { lanes, lane_m: 2, lane_n: 6 }
    }

    /// This tile where an `m × n` matmul's extents allow it, otherwise the nearest that takes any.
    pub(crate) fn fitting(self, form: Form, [m, n, k]: [usize; 3]) -> Tile {
        // What lies side by side in memory.
        let side = if form == Form::Tn { m } else { k };
        let by = |unit: usize| n.is_multiple_of(unit) && side.is_multiple_of(unit);
        match self {
            Tile::SubgroupVec4 { lanes, .. } if !by(4) => Tile::subgroup(lanes),
            // Rows come in vec4s there, elsewhere terms do.
            Tile::SubgroupVec4 { lanes, tile_m, tile_n } if form == Form::Tn => {
                Tile::SubgroupVec4 { lanes, tile_m: (tile_m - tile_m % (4 * lanes)).max(4 * lanes), tile_n }
            }
            Tile::SharedMemory { tile_m, tile_n, group_m, group_n, .. } if !by(4) => {
                Tile::Register { tile_m, tile_n, group_m, group_n }
            }
            Tile::RegisterVec4 { .. } if !by(4) || !k.is_multiple_of(4) => Tile::default(),
            Tile::CooperativeMatrix { side, .. }
                if !by(8) || !k.is_multiple_of(side as usize) || m.min(n) < side as usize =>
            {
                Tile::NARROW.fitting(form, [m, n, k])
            }
            Tile::CooperativeMatrixShared { .. } if !by(8) || m < 8 => Tile::NARROW.fitting(form, [m, n, k]),
            tile => tile,
        }
    }

    /// Into how many parts, `most` at the most, a sum is to be divided so that an `m × n` matmul occupies a GPU; none where
    /// it does without.
    pub(crate) fn parts(self, [m, n, k]: [usize; 3], most: usize) -> Option<usize> {
        let busy = match self {
            Tile::CooperativeMatrix { .. } | Tile::CooperativeMatrixShared { .. } => BUSY_MATRIX_GROUPS,
            Tile::SharedMemory { .. } => BUSY_GROUPS,
            _ => return None,
        };
        let (rows, cols) = self.size();
        let groups = m.div_ceil(rows) * n.div_ceil(cols);
        let most = (k / LEAST_TERMS).min(MOST_PARTIAL / (m * n)).min(most);
        Some((busy / groups).min(most)).filter(|parts| *parts > 1)
    }

    /// The rows and columns that one workgroup computes.
    fn size(self) -> (usize, usize) {
        let (rows, cols) = match self {
            Tile::Naive => (8, 8),
            Tile::Register { tile_m, tile_n, group_m, group_n }
            | Tile::RegisterVec4 { tile_m, tile_n, group_m, group_n }
            | Tile::SharedMemory { tile_m, tile_n, group_m, group_n, .. } => (tile_m * group_m, tile_n * group_n),
            Tile::CooperativeMatrix { side, blocks_m, blocks_n, subgroups_m, subgroups_n, .. }
            | Tile::CooperativeMatrixShared { side, blocks_m, blocks_n, subgroups_m, subgroups_n, .. } => {
                (side * blocks_m * subgroups_m, side * blocks_n * subgroups_n)
            }
            Tile::Subgroup { lanes, lane_m, lane_n } => (lanes * lane_m, lanes * lane_n),
            Tile::SubgroupVec4 { tile_m, tile_n, .. } => (tile_m, tile_n),
        };
        (rows as usize, cols as usize)
    }

    /// The share of an `m × n` matmul in what the workgroups compute for it: the last ones reach over its edges.
    pub(crate) fn fill(self, [m, n, _]: [usize; 3]) -> f64 {
        let (rows, cols) = self.size();
        (m * n) as f64 / (m.next_multiple_of(rows) * n.next_multiple_of(cols)) as f64
    }

    /// Bytes of a workgroup's shared memory, where a tile of cooperative matrices takes more than WebGPU promises.
    pub(crate) fn shared_bytes(self) -> u32 {
        let Tile::CooperativeMatrixShared { side, blocks_m, blocks_n, subgroups_m, subgroups_n, tile_k, .. } = self
        else {
            return 0;
        };
        // Slabs in halves, with their padding at worst, and a block in f32 of each subgroup.
        let slabs =
            [blocks_m * subgroups_m, blocks_n * subgroups_n].map(|lines| side * lines * (tile_k + 8) + tile_k * 8);
        2 * slabs.iter().sum::<u32>() + 4 * subgroups_m * subgroups_n * side * side
    }

    /// Whether results can be in half precision. Where an invocation stores single values, two would share 32 bits.
    pub(crate) fn stores_f16(self) -> bool {
        !matches!(self, Tile::Naive | Tile::Register { .. } | Tile::Subgroup { .. })
    }

    /// Whether a weight gradient sums its first operand's columns on the way.
    pub(crate) fn sums_columns(self) -> bool {
        matches!(self, Tile::SubgroupVec4 { .. })
    }

    /// This tile, or the nearest that reads operands of this type.
    pub(crate) fn of(self, operands: DType) -> Tile {
        match self {
            Tile::Naive | Tile::Subgroup { .. } if operands == DType::F16 => Tile::default(),
            Tile::CooperativeMatrix { .. } | Tile::CooperativeMatrixShared { .. } if operands == DType::F32 => {
                Tile::default()
            }
            tile => tile,
        }
    }

    /// The kernel of an `m × n` matmul that sums over `k`, and the rows and columns that one workgroup computes; adds the
    /// constants that are chosen.
    pub(crate) fn kernel(
        self,
        form: Form,
        [m, n, k]: [usize; 3],
        epilogue: Option<Epilogue>,
        types: [DType; 2],
        constants: &mut Vec<Constant>,
    ) -> (&'static Kernel, (usize, usize)) {
        let mut set = |list: &[(&'static str, u32)]| {
            constants.extend(list.iter().map(|(name, value)| Constant { name, value: *value }));
        };
        /// The kernel of a line of the table; of the lines for operands and results in f32 and f32, f16 and f32, f16 and f16.
        macro_rules! pick {
            ($line:ident) => {
                match epilogue {
                    Some(Epilogue::GeluAndSlope) => &kernels::$line::FORWARD_GELU_AND_SLOPE,
                    _ => &kernels::$line::FORWARD,
                }
            };
            ($line:ident, $f16_to_f32:ident, $f16:ident) => {
                match types {
                    [_, DType::F16] => pick!($f16),
                    [DType::F16, _] => pick!($f16_to_f32),
                    _ => pick!($line),
                }
            };
        }
        let along_k = [("A_ALONG_K", (form != Form::Tn).into()), ("B_ALONG_K", (form == Form::Nt).into())];
        let kernel = match self {
            Tile::Naive => pick!(matmul_naive),
            Tile::Register { tile_m, tile_n, group_m, group_n } => {
                set(&[("TILE_M", tile_m), ("TILE_N", tile_n), ("GROUP_M", group_m), ("GROUP_N", group_n)]);
                pick!(matmul_register, matmul_register_f16_to_f32, matmul_register_f16_to_f32)
            }
            Tile::RegisterVec4 { tile_m, tile_n, group_m, group_n } => {
                set(&[("TILE_M", tile_m), ("TILE_N", tile_n), ("GROUP_M", group_m), ("GROUP_N", group_n)]);
                set(&along_k);
                pick!(matmul_register_vec4, matmul_register_vec4_f16_to_f32, matmul_register_vec4_f16)
            }
            Tile::SharedMemory { tile_m, tile_n, group_m, group_n, tile_k } => {
                set(&[("TILE_M", tile_m), ("TILE_N", tile_n), ("GROUP_M", group_m), ("GROUP_N", group_n)]);
                set(&[("TILE_K", tile_k), ("WHOLE_SLABS", k.is_multiple_of(tile_k as usize).into())]);
                set(&along_k);
                pick!(matmul_shared, matmul_shared_f16_to_f32, matmul_shared_f16)
            }
            Tile::CooperativeMatrix { side, blocks_m, blocks_n, subgroups_m, subgroups_n, lanes } => {
                set(&[("ROWS", blocks_m), ("COLUMNS", blocks_n), ("LANES", lanes)]);
                set(&[("GROUP_M", subgroups_m), ("GROUP_N", subgroups_n)]);
                set(&along_k);
                match side {
                    8 => pick!(matmul_coop_8_f16_to_f32, matmul_coop_8_f16_to_f32, matmul_coop_8_f16),
                    _ => pick!(matmul_coop_16_f16_to_f32, matmul_coop_16_f16_to_f32, matmul_coop_16_f16),
                }
            }
            Tile::CooperativeMatrixShared { side, blocks_m, blocks_n, subgroups_m, subgroups_n, lanes, tile_k } => {
                set(&[("ROWS", blocks_m), ("COLUMNS", blocks_n), ("LANES", lanes)]);
                set(&[("GROUP_M", subgroups_m), ("GROUP_N", subgroups_n)]);
                set(&[("TILE_K", tile_k), ("WHOLE_SLABS", k.is_multiple_of(tile_k as usize).into())]);
                set(&along_k);
                match (side, types[1]) {
                    (8, DType::F16) => pick!(matmul_coop_shared_8_f16),
                    (8, _) => pick!(matmul_coop_shared_8_f16_to_f32),
                    (_, DType::F16) => pick!(matmul_coop_shared_16_f16),
                    _ => pick!(matmul_coop_shared_16_f16_to_f32),
                }
            }
            Tile::Subgroup { lanes, lane_m, lane_n } => {
                set(&[("LANES", lanes), ("LANE_M", lane_m), ("LANE_N", lane_n)]);
                pick!(matmul_subgroup)
            }
            Tile::SubgroupVec4 { lanes, tile_m, tile_n } => {
                let a_along = form != Form::Tn;
                // Of a lane.
                let [row_vectors, cols] = [tile_m.div_ceil(lanes), tile_n / lanes];
                // What lies side by side in memory: of a, then of b and of the results.
                let beside_a = if a_along { [k; 2] } else { [m, row_vectors as usize] };
                let pairs = [n, cols as usize].iter().chain(&beside_a).all(|extent| extent.is_multiple_of(8));
                let terms = if !a_along {
                    GRADIENT_TERMS
                } else if pairs {
                    8
                } else {
                    4
                };
                // With the fewest rows stored twice, then in the fewest turns.
                let twice = |stored: &u32| tile_m.next_multiple_of(*stored) - tile_m;
                let stored = STORED.rev().min_by_key(twice).expect("there are some").min(tile_m);
                set(&[("LANES", lanes), ("ROWS", tile_m), ("COLS", cols), ("TERMS", terms), ("STORED", stored)]);
                set(&along_k);
                match (epilogue, pairs, types[0]) {
                    (Some(Epilogue::ColumnSums), true, DType::F16) => {
                        &kernels::matmul_subgroup_vec8_f16_to_f32::FORWARD_COLUMN_SUMS
                    }
                    (Some(Epilogue::ColumnSums), true, _) => &kernels::matmul_subgroup_vec8::FORWARD_COLUMN_SUMS,
                    (Some(Epilogue::ColumnSums), false, DType::F16) => {
                        &kernels::matmul_subgroup_vec4_f16_to_f32::FORWARD_COLUMN_SUMS
                    }
                    (Some(Epilogue::ColumnSums), false, _) => &kernels::matmul_subgroup_vec4::FORWARD_COLUMN_SUMS,
                    (_, true, _) => {
                        pick!(matmul_subgroup_vec8, matmul_subgroup_vec8_f16_to_f32, matmul_subgroup_vec8_f16)
                    }
                    (_, false, _) => {
                        pick!(matmul_subgroup_vec4, matmul_subgroup_vec4_f16_to_f32, matmul_subgroup_vec4_f16)
                    }
                }
            }
        };
        (kernel, self.size())
    }
}
