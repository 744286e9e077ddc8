//! Which kernel variants a device runs: the built-in choice for it, and what is worth measuring on it.

use super::Device;
use crate::{
    kernels::{
        AttentionVariant, ByType, Class, Form, LayerNormVariant, OptimiserVariant, Size, Tile, Tuning, Variant, Work,
        inner,
    },
    shape::{DType, Precision},
};

/// The built-in tile of a software adapter that lacks 64-bit integers or narrow subgroups. A workgroup is as wide as
/// SwiftShader's SIMD: it runs a wider one in turns.
const REGISTER: Tile = Tile::RegisterVec4 { tile_m: 16, tile_n: 16, group_m: 1, group_n: 4 };

impl Tuning {
    /// The built-in choice for an adapter: software rasterizers, whose loads are dear, share each load of four values
    /// across a subgroup, or else bring it to many sums; GPUs share loads through the memory of their workgroups.
    pub fn for_device(device: &Device) -> Tuning {
        if !device.is_software() {
            return Tuning::for_gpus().with_matrix_units(device);
        }
        match wide_lanes(device) {
            Some(lanes) => {
                let [.., tile] = vec4_tiles(lanes);
                let mut tuning = Tuning::uniform(
                    tile,
                    AttentionVariant::SubgroupVec4 { lanes },
                    LayerNormVariant::SubgroupVec4 { lanes },
                );
                for class in Class::all().filter(|class| class.form == Form::Tn) {
                    *tuning.matmul.tile_mut(class) = gradient_tile(lanes);
                }
                Tuning { optimiser: OptimiserVariant::Wide, ..tuning }
            }
            None => {
                let tuning = Tuning::uniform(
                    REGISTER,
                    AttentionVariant::Vec4 { group: 4, rows: 4 },
                    LayerNormVariant::Vec4 { group: 4 },
                );
                let tiny = narrow_lanes(device).map(Tile::subgroup).unwrap_or_default();
                Tuning { fuse_gelu: false, ..tuning.with_matmuls(Size::Tiny, tiny) }
            }
        }
    }

    /// The built-in choice for forward passes that a person waits for: as [`Tuning::for_device`], but on a software adapter
    /// that would compile those variants for seconds, ones that it compiles in a fraction of one.
    pub fn for_a_look(device: &Device) -> Tuning {
        if device.is_software() && wide_lanes(device).is_none() {
            return Tuning {
                attention: ByType::both(AttentionVariant::Scalar { group: 8 }),
                fuse_gelu: false,
                ..Tuning::default()
            };
        }
        Tuning::for_device(device)
    }

    /// The same with matrix units for what is in half precision, where the device has them: larger tiles for more outputs.
    fn with_matrix_units(mut self, device: &Device) -> Tuning {
        let tiles = matrix_tiles(device);
        if let [narrow, wide, ..] = tiles[..] {
            let takes = |class: &Class| class.half && class.size != Size::Tiny;
            for class in Class::all().filter(takes) {
                *self.matmul.tile_mut(class) = if class.size == Size::Large { wide } else { narrow };
            }
        }
        if let Some(rows) = matrix_rows(device).first() {
            self.attention.f16 = *rows;
        }
        self
    }

    /// Whether `device` has every variant that a step in this precision may ask for: those of its candidates, its built-in
    /// table and the web-safe ones.
    pub fn runs_on(&self, device: &Device, precision: Precision) -> bool {
        let tiles: Vec<_> = candidates(device).into_iter().chain(matrix_tiles(device)).collect();
        let asked = |class: &Class| precision == Precision::F16 || !class.half;
        Class::all().filter(asked).all(|class| tiles.contains(&self.matmul.tile(class)))
            && self.single_shapes.iter().all(|single| tiles.contains(&single.tile))
            && row_candidates(device, DType::F32).contains(&self.attention.f32)
            && (precision == Precision::F32 || row_candidates(device, DType::F16).contains(&self.attention.f16))
            && norm_candidates(device).contains(&self.layer_norm)
            && (self.optimiser == OptimiserVariant::Vec4 || wide_lanes(device).is_some())
    }
}

impl Work {
    /// The variants worth measuring on a device, the most promising first: time may run out.
    pub fn candidates(&self, device: &Device) -> Vec<Variant> {
        let mut variants: Vec<_> = match self {
            Work::Matmul { form, shape, operands } => {
                let fits = |tile: &Tile| match tile {
                    Tile::SubgroupVec4 { lanes, .. } if (*tile == gradient_tile(*lanes)) != (*form == Form::Tn) => {
                        false
                    }
                    tile => tile.fitting(*form, *shape).of(*operands) == *tile,
                };
                candidates(device).into_iter().filter(fits).map(Variant::Matmul).collect()
            }
            Work::Attention { heads, inputs, .. } => {
                let dtype = inputs[0].dtype;
                let takes = |rows: &AttentionVariant| dtype == DType::F32 || rows.takes_f16(inner(inputs) / heads);
                row_candidates(device, dtype).into_iter().filter(takes).map(Variant::Attention).collect()
            }
            Work::LayerNorm { .. } => norm_candidates(device).into_iter().map(Variant::LayerNorm).collect(),
        };
        variants.reverse();
        variants
    }
}

/// The matmul tiles worth measuring on a device, its built-in one and the web-safe one among them, the most promising
/// last. Software adapters compile a large tile for seconds, so their list is short.
pub fn candidates(device: &Device) -> Vec<Tile> {
    let register = |rows, cols, group_rows, group_cols| Tile::Register {
        tile_m: rows,
        tile_n: cols,
        group_m: group_rows,
        group_n: group_cols,
    };
    let mut tiles = vec![Tile::default()];
    tiles.extend(narrow_lanes(device).map(Tile::subgroup));
    if let Some(lanes) = wide_lanes(device) {
        tiles.push(gradient_tile(lanes));
        tiles.extend(vec4_tiles(lanes));
    } else if device.is_software() {
        tiles.push(REGISTER);
    }
    if !device.is_software() {
        tiles.extend([register(4, 4, 8, 8), register(8, 8, 8, 8), Tile::NARROW, Tile::WIDE]);
        let groups = [(4, 4, 16, 16, 16), (8, 8, 16, 8, 16), (8, 8, 16, 16, 8)];
        tiles.extend(groups.map(|(rows, cols, group_rows, group_cols, depth)| Tile::SharedMemory {
            tile_m: rows,
            tile_n: cols,
            group_m: group_rows,
            group_n: group_cols,
            tile_k: depth,
        }));
        tiles.extend(matrix_tiles(device));
    }
    tiles
}

/// The tiles of matrix units, where the device has them: for few outputs, for many, and others worth measuring; through
/// shared memory, where a workgroup's subgroups can be counted on. A software adapter imitates such units at a sixth of what
/// its processor does without, so they are no candidates there.
pub fn matrix_tiles(device: &Device) -> Vec<Tile> {
    let Some((side, lanes)) = device.matrix_units() else { return Vec::new() };
    let straight = |(rows, cols)| Tile::CooperativeMatrix {
        side,
        blocks_m: rows,
        blocks_n: cols,
        subgroups_m: 2,
        subgroups_n: 2,
        lanes,
    };
    let shared = |(rows, cols, depth)| Tile::CooperativeMatrixShared {
        side,
        blocks_m: rows,
        blocks_n: cols,
        subgroups_m: 2,
        subgroups_n: 2,
        lanes,
        tile_k: depth,
    };
    let tiles = match device.fixed_subgroup() {
        // All keep within 24 KiB of shared memory: of workgroups with more, so few run at once on an H200 that the same work
        // took half as long again.
        Some(_) => [(2, 2, 64), (3, 4, 32), (4, 3, 32), (4, 4, 32)].map(shared).to_vec(),
        None => [(2, 2), (4, 4), (4, 2)].map(straight).to_vec(),
    };
    tiles.into_iter().filter(|tile| tile.shared_bytes() <= device.shared_bytes()).collect()
}

/// The tiles of vec4s worth measuring for a matmul that is no weight gradient, the built-in one last: Mesa 25 unrolls loops
/// over lanes, so that a taller one's instructions fill a processor's cache, and takes 10 to 20 % longer with it. Where
/// loops stay loops, as with Mesa 22, taller ones are faster by a tenth. A matmul of few rows wants the tile that fits
/// them: of 100, two of 50 waste none and three of 34 next to none, four of 32 a fifth.
fn vec4_tiles(lanes: u32) -> [Tile; 4] {
    [50, 44, 34, 32].map(|rows| Tile::SubgroupVec4 { lanes, tile_m: rows, tile_n: 8 * lanes })
}

/// The tile of vec4s of weight gradients.
fn gradient_tile(lanes: u32) -> Tile {
    Tile::SubgroupVec4 { lanes, tile_m: 64, tile_n: 8 * lanes }
}

/// Lanes of a subgroup of a software adapter, where all have the same few.
fn narrow_lanes(device: &Device) -> Option<u32> {
    device.fixed_subgroup().filter(|lanes| device.is_software() && (4..=16).contains(lanes))
}

/// Lanes of the variants that load 64-bit integers, where the device has them.
fn wide_lanes(device: &Device) -> Option<u32> {
    narrow_lanes(device).filter(|_| device.has_int64())
}

/// The ways of attention by matrix units, where the device has them and a workgroup's subgroups can be counted on, the
/// built-in one first.
pub fn matrix_rows(device: &Device) -> Vec<AttentionVariant> {
    // One, two or four invocations look after each row of a block.
    let shares = |(side, lanes): &(u32, u32)| [1, 2, 4].contains(&(lanes / side)) && lanes.is_multiple_of(*side);
    let units = device.matrix_units().filter(|units| device.fixed_subgroup().is_some() && shares(units));
    let Some((side, lanes)) = units else { return Vec::new() };
    let rows = [4, 2].map(|subgroups| AttentionVariant::CooperativeMatrix { side, subgroups, lanes });
    rows.into_iter().filter(|rows| rows.shared_bytes() <= device.shared_bytes()).collect()
}

/// The ways of attention worth measuring on a device for values of this type, its built-in one and the web-safe one among
/// them.
pub fn row_candidates(device: &Device, dtype: DType) -> Vec<AttentionVariant> {
    let shared_loads = wide_lanes(device).map(|lanes| AttentionVariant::SubgroupVec4 { lanes });
    // Software adapters compile each for seconds.
    let (vec4s, shared): (&[(u32, u32)], &[u32]) = match shared_loads {
        _ if !device.is_software() => (&[(64, 1)], &[128, 64]),
        Some(_) => (&[], &[]),
        None => (&[(4, 4), (4, 8)], &[]),
    };
    let vec4s = vec4s.iter().map(|&(group, rows)| AttentionVariant::Vec4 { group, rows });
    let shared = shared.iter().map(|&group| AttentionVariant::SharedMemory { group });
    let mut rows: Vec<_> =
        [AttentionVariant::Scalar { group: 64 }].into_iter().chain(vec4s).chain(shared).chain(shared_loads).collect();
    if dtype == DType::F16 && !device.is_software() {
        rows.extend(matrix_rows(device).into_iter().rev());
    }
    rows
}

/// The ways of layer normalisation worth measuring on a device, its built-in one and the web-safe one among them.
pub fn norm_candidates(device: &Device) -> Vec<LayerNormVariant> {
    let shared = wide_lanes(device).map(|lanes| LayerNormVariant::SubgroupVec4 { lanes });
    let others: &[LayerNormVariant] = match shared {
        _ if !device.is_software() => {
            &[LayerNormVariant::SharedMemory { group: 64 }, LayerNormVariant::SharedMemory { group: 256 }]
        }
        Some(_) => &[],
        None => &[LayerNormVariant::Vec4 { group: 4 }],
    };
    [LayerNormVariant::Scalar].into_iter().chain(others.iter().copied()).chain(shared).collect()
}
