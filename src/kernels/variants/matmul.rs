//! The kernel variants of matmuls: how an output is tiled, what a tile asks of the extents, and which kernel that is.

use std::ops::RangeInclusive;

use crate::{
    kernels::{self, Constant, Kernel},
    shape::DType,
};

/// Which sides of the matmul are read along their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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
/// Terms that the sums of a weight gradient in fours or eights take before they go back to memory. With a fifth, Mesa 25's
/// instructions for llvmpipe no longer fit a processor's cache, which takes 10 to 20 % longer; Mesa 22 gains 2 % by it.
const GRADIENT_TERMS: u32 = 4;
/// Rows that a tile in fours stores at a time: what is done to the sums before is compiled once for each, and after each time
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
            // Rows come in fours there, elsewhere terms do.
            Tile::SubgroupVec4 { lanes, tile_m: rows, tile_n: cols } if form == Form::Tn => {
                Tile::SubgroupVec4 { lanes, tile_m: (rows - rows % (4 * lanes)).max(4 * lanes), tile_n: cols }
            }
            Tile::SharedMemory { tile_m: rows, tile_n: cols, group_m: group_rows, group_n: group_cols, .. }
                if !by(4) =>
            {
                Tile::Register { tile_m: rows, tile_n: cols, group_m: group_rows, group_n: group_cols }
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
            Tile::Register { tile_m: rows, tile_n: cols, group_m: group_rows, group_n: group_cols }
            | Tile::RegisterVec4 { tile_m: rows, tile_n: cols, group_m: group_rows, group_n: group_cols }
            | Tile::SharedMemory { tile_m: rows, tile_n: cols, group_m: group_rows, group_n: group_cols, .. } => {
                (rows * group_rows, cols * group_cols)
            }
            Tile::CooperativeMatrix {
                side,
                blocks_m: rows,
                blocks_n: cols,
                subgroups_m: group_rows,
                subgroups_n: group_cols,
                ..
            }
            | Tile::CooperativeMatrixShared {
                side,
                blocks_m: rows,
                blocks_n: cols,
                subgroups_m: group_rows,
                subgroups_n: group_cols,
                ..
            } => (side * rows * group_rows, side * cols * group_cols),
            Tile::Subgroup { lanes, lane_m: rows, lane_n: cols } => (lanes * rows, lanes * cols),
            Tile::SubgroupVec4 { tile_m: rows, tile_n: cols, .. } => (rows, cols),
        };
        (rows as usize, cols as usize)
    }

    /// The share of an `m × n` matmul in what the workgroups compute for it: the last ones reach over its edges.
    pub(crate) fn fill(self, [m, n, _]: [usize; 3]) -> f64 {
        let (rows, cols) = self.size();
        (m * n) as f64 / (m.next_multiple_of(rows) * n.next_multiple_of(cols)) as f64
    }

    /// Bytes of a workgroup's shared memory, where a tile of matrix units takes more than WebGPU promises.
    pub(crate) fn shared_bytes(self) -> u32 {
        let Tile::CooperativeMatrixShared {
            side,
            blocks_m: rows,
            blocks_n: cols,
            subgroups_m: group_rows,
            subgroups_n: group_cols,
            tile_k: depth,
            ..
        } = self
        else {
            return 0;
        };
        // Slabs in halves, with their padding at worst, and a block in f32 of each subgroup.
        let slabs = [rows * group_rows, cols * group_cols].map(|lines| side * lines * (depth + 8) + depth * 8);
        2 * slabs.iter().sum::<u32>() + 4 * group_rows * group_cols * side * side
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
    /// shader's constants.
    pub(crate) fn kernel(
        self,
        form: Form,
        [m, n, k]: [usize; 3],
        epilogue: Option<Epilogue>,
        [operands, results]: [DType; 2],
        constants: &mut Vec<Constant>,
    ) -> (&'static Kernel, (usize, usize)) {
        let both = epilogue == Some(Epilogue::GeluAndSlope);
        let sums = epilogue == Some(Epilogue::ColumnSums);
        let mut set = |list: &[(&'static str, u32)]| {
            constants.extend(list.iter().map(|(name, value)| Constant { name, value: *value }));
        };
        /// The entry points of a shader.
        macro_rules! pick {
            ($file:ident) => {
                if both { &kernels::$file::FORWARD_GELU } else { &kernels::$file::FORWARD }
            };
            ($file:ident, $half:ident) => {
                if operands == DType::F16 { pick!($half) } else { pick!($file) }
            };
            ($file:ident, $half:ident, $halves:ident) => {
                if results == DType::F16 { pick!($halves) } else { pick!($file, $half) }
            };
        }
        let kernel = match self {
            Tile::Naive => pick!(matmul_plain),
            Tile::Register { tile_m: rows, tile_n: cols, group_m: group_rows, group_n: group_cols } => {
                set(&[("TILE_M", rows), ("TILE_N", cols), ("TILE", rows * cols)]);
                set(&[("GROUP_M", group_rows), ("GROUP_N", group_cols)]);
                pick!(matmul, matmul_half)
            }
            Tile::SharedMemory {
                tile_m: rows,
                tile_n: cols,
                group_m: group_rows,
                group_n: group_cols,
                tile_k: depth,
            } => {
                let (row_quads, col_quads, threads) = (rows / 4, cols / 4, group_rows * group_cols);
                // Blocks of 4x4 values an invocation.
                let loads = |quads: u32, group: u32| (quads * group * depth / 4).div_ceil(threads);
                set(&[
                    ("TILE_M", rows),
                    ("ROW_QUADS", row_quads),
                    ("COL_QUADS", col_quads),
                    ("TILE", rows * col_quads),
                ]);
                set(&[("GROUP_M", group_rows), ("GROUP_N", group_cols), ("DEPTH", depth)]);
                set(&[("A_ALONG_K", (form != Form::Tn).into()), ("B_ALONG_K", (form == Form::Nt).into())]);
                set(&[("A_LOADS", loads(row_quads, group_rows)), ("B_LOADS", loads(col_quads, group_cols))]);
                set(&[("WHOLE_SLABS", k.is_multiple_of(depth as usize).into())]);
                pick!(matmul_workgroup, matmul_workgroup_half, matmul_workgroup_halves)
            }
            Tile::RegisterVec4 { tile_m: rows, tile_n: cols, group_m: group_rows, group_n: group_cols } => {
                set(&[("TILE_M", rows), ("TILE_N", cols), ("TILE", rows * cols)]);
                set(&[("ROW_QUADS", rows / 4), ("COL_QUADS", cols / 4)]);
                set(&[("GROUP_M", group_rows), ("GROUP_N", group_cols)]);
                set(&[("A_ALONG_K", (form != Form::Tn).into()), ("B_ALONG_K", (form == Form::Nt).into())]);
                pick!(matmul_quads, matmul_quads_half, matmul_quads_halves)
            }
            Tile::CooperativeMatrix {
                side,
                blocks_m: rows,
                blocks_n: cols,
                subgroups_m: group_rows,
                subgroups_n: group_cols,
                lanes,
            } => {
                set(&[("ROWS", rows), ("COLUMNS", cols), ("BLOCKS", rows * cols)]);
                set(&[("GROUP_M", group_rows), ("GROUP_N", group_cols), ("THREADS", group_rows * group_cols * lanes)]);
                set(&[("A_ALONG_K", (form != Form::Tn).into()), ("B_ALONG_K", (form == Form::Nt).into())]);
                match side {
                    8 => pick!(matmul_matrix8, matmul_matrix8, matmul_matrix8_halves),
                    _ => pick!(matmul_matrix16, matmul_matrix16, matmul_matrix16_halves),
                }
            }
            Tile::CooperativeMatrixShared {
                side,
                blocks_m: rows,
                blocks_n: cols,
                subgroups_m: group_rows,
                subgroups_n: group_cols,
                lanes,
                tile_k: depth,
            } => {
                let threads = group_rows * group_cols * lanes;
                // Eights of a line, lines, and eights of an invocation.
                let slab = |along_k: bool, across: u32| {
                    let (length, lines) = if along_k { (depth, across) } else { (across, depth) };
                    [length / 8, lines, (length / 8 * lines).div_ceil(threads)]
                };
                let [a_along, b_along] = [form != Form::Tn, form == Form::Nt];
                let a = slab(a_along, rows * side * group_rows);
                let b = slab(b_along, cols * side * group_cols);
                set(&[("ROWS", rows), ("COLUMNS", cols), ("BLOCKS", rows * cols)]);
                set(&[("GROUP_M", group_rows), ("GROUP_N", group_cols), ("THREADS", threads)]);
                set(&[("A_ALONG_K", a_along.into()), ("B_ALONG_K", b_along.into())]);
                set(&[("DEPTH", depth), ("TURNS", depth / side)]);
                set(&[("FOURS", (side * side / 4).div_ceil(lanes))]);
                set(&[("WHOLE_SLABS", k.is_multiple_of(depth as usize).into())]);
                set(&[("A_EIGHTS", a[0]), ("A_LINES", a[1]), ("A_LOADS", a[2])]);
                set(&[("B_EIGHTS", b[0]), ("B_LINES", b[1]), ("B_LOADS", b[2])]);
                match side {
                    8 => pick!(matmul_matrix8_workgroup, matmul_matrix8_workgroup, matmul_matrix8_workgroup_halves),
                    _ => {
                        pick!(matmul_matrix16_workgroup, matmul_matrix16_workgroup, matmul_matrix16_workgroup_halves)
                    }
                }
            }
            Tile::Subgroup { lanes, lane_m: rows, lane_n: cols } => {
                set(&[("LANES", lanes), ("TILE_L", rows), ("TILE_N", cols), ("TILE", lanes * rows * cols)]);
                pick!(matmul_subgroup)
            }
            Tile::SubgroupVec4 { lanes, tile_m: rows, tile_n: cols } => {
                let [a_along, b_along] = [form != Form::Tn, form == Form::Nt];
                // Of a lane.
                let [row_vectors, cols] = [rows.div_ceil(lanes), cols / lanes];
                // What lies side by side in memory: of a, then of b and of the results.
                let beside_a = if a_along { [k; 2] } else { [m, row_vectors as usize] };
                let eights = [n, cols as usize].iter().chain(&beside_a).all(|extent| extent.is_multiple_of(8));
                let side = if eights { 8 } else { 4 };
                let terms = if a_along { side } else { GRADIENT_TERMS };
                // Lines of a lane, their loads, rows of a line, and how far on a side's next value is.
                let lines = |along, vectors| {
                    if along {
                        [vectors, vectors, 1, vectors]
                    } else {
                        [vectors / side, vectors / side * terms, side, 1]
                    }
                };
                let [a, b] = [lines(a_along, row_vectors), lines(b_along, cols)];
                // With the fewest rows stored twice, then in the fewest turns.
                let twice = |stored: &u32| rows.next_multiple_of(*stored) - rows;
                let stored = STORED.rev().min_by_key(twice).expect("there are some").min(rows);
                set(&[("LANES", lanes), ("ROWS", rows), ("COLS", cols), ("TILE", rows * cols)]);
                set(&[("ROW_VECTORS", row_vectors), ("COL_SIDES", cols / side), ("TERMS", terms)]);
                set(&[("STORED", stored), ("TURNS", rows.div_ceil(stored)), ("OTHERS", (rows - stored) * cols)]);
                set(&[("A_VALUES", terms * row_vectors), ("B_VALUES", terms * cols)]);
                set(&[("A_LINES", a[0]), ("A_LOADS", a[1]), ("A_LINE", a[2]), ("A_NEXT", a[3])]);
                set(&[("B_LINES", b[0]), ("B_LOADS", b[1]), ("B_LINE", b[2]), ("B_NEXT", b[3])]);
                set(&[("SUM_ROWS", if sums { row_vectors } else { 0 }), ("SUM_SIDES", row_vectors / side)]);
                match (eights, operands) {
                    (true, DType::F16) if sums => &kernels::matmul_eights_half_subgroup::FORWARD_SUMS,
                    (true, _) if sums => &kernels::matmul_eights_subgroup::FORWARD_SUMS,
                    (false, DType::F16) if sums => &kernels::matmul_fours_half_subgroup::FORWARD_SUMS,
                    (false, _) if sums => &kernels::matmul_fours_subgroup::FORWARD_SUMS,
                    (true, _) => {
                        pick!(matmul_eights_subgroup, matmul_eights_half_subgroup, matmul_eights_halves_subgroup)
                    }
                    (false, _) => {
                        pick!(matmul_fours_subgroup, matmul_fours_half_subgroup, matmul_fours_halves_subgroup)
                    }
                }
            }
        };
        (kernel, self.size())
    }
}
