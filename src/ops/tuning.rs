//! Which variant of a kernel runs: a product tile for each class of products and for single shapes, and how attention and
//! layer norm share their rows.

use std::{collections::BTreeMap, fmt};

use super::{Form, NormRows, Product, Rows, Tile, Variant, Work};
use crate::{
    device::Device,
    graph::{DType, Op, Precision},
};

/// Outputs below which a product is tiny: it is over before a large tile is compiled for it.
const TINY: usize = 1 << 14;
/// Outputs from which a product is large: enough workgroups for a wide adapter even with large tiles.
const LARGE: usize = 1 << 18;
/// Terms of a sum from which a product is long.
const LONG: usize = 512;

/// How many outputs a product has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// Fewer than 2^14.
    Tiny,
    /// Between the two.
    Small,
    /// 2^18 or more.
    Large,
}

/// Products that take one tile: equal form, operands of one type, equally large, equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Class {
    /// The form.
    pub form: Form,
    /// How many outputs it has.
    pub size: Size,
    /// Whether it sums over many terms.
    pub long: bool,
    /// Whether its operands are in half precision.
    pub half: bool,
}

impl Class {
    /// How many there are.
    pub const COUNT: usize = 36;

    /// The class of an `m × n` product that sums over `k`, of operands of this type.
    pub fn of(form: Form, [m, n, k]: [usize; 3], operands: DType) -> Class {
        let size = match m * n {
            ..TINY => Size::Tiny,
            TINY..LARGE => Size::Small,
            LARGE.. => Size::Large,
        };
        Class { form, size, long: k >= LONG, half: operands == DType::F16 }
    }

    /// Every class, by rising [`Class::index`].
    pub fn all() -> impl Iterator<Item = Class> {
        let forms = |half| [Form::Nt, Form::Nn, Form::Tn].map(|form| (half, form));
        let sizes = |(half, form)| [Size::Tiny, Size::Small, Size::Large].map(|size| (half, form, size));
        let sums = |(half, form, size)| [false, true].map(|long| Class { form, size, long, half });
        [false, true].into_iter().flat_map(forms).flat_map(sizes).flat_map(sums)
    }

    fn index(self) -> usize {
        18 * usize::from(self.half) + 6 * self.form as usize + 2 * self.size as usize + usize::from(self.long)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let size = match self.size {
            Size::Tiny => "tiny",
            Size::Small => "small",
            Size::Large => "large",
        };
        let sum = if self.long { "long" } else { "short" };
        let operands = if self.half { " f16" } else { "" };
        write!(f, "{} {size} {sum}{operands}", Product { form: self.form }.name())
    }
}

/// The kernel variants of a plan.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "BTreeMap<String, String>", try_from = "BTreeMap<String, String>")]
pub struct Tuning {
    /// A product's tile, by its class's index.
    products: [Tile; Class::COUNT],
    /// The tiles of products that do not take their class's, by the text of their [`Work`].
    shapes: BTreeMap<String, Tile>,
    /// How attention shares its rows, of values in f32 and in half precision.
    attention: [Rows; 2],
    /// How layer normalisation shares its rows.
    pub norm: NormRows,
    /// Whether products take in GELU and its gradient. SwiftShader takes seconds to compile it into a tile of its
    /// own, once for each value.
    pub fuse_gelu: bool,
}

impl Tuning {
    /// These variants, one tile for all products.
    pub fn uniform(product: Tile, attention: Rows, norm: NormRows) -> Tuning {
        let products = [product; Class::COUNT];
        Tuning { products, shapes: BTreeMap::new(), attention: [attention; 2], norm, fuse_gelu: true }
    }

    /// The built-in choice for an adapter: software rasterizers, whose loads are dear, share each load of four values
    /// across a subgroup, or else bring it to many sums; GPUs share loads through the memory of their workgroups.
    pub fn for_device(device: &Device) -> Tuning {
        match wide_lanes(device) {
            _ if !device.is_software() => Tuning::for_gpus().with_matrix_units(device),
            Some(lanes) => {
                let [.., tile] = four_tiles(lanes);
                let mut tuning = Tuning::uniform(tile, Rows::Fours(lanes), NormRows::Fours(lanes));
                for class in Class::all().filter(|class| class.form == Form::Tn) {
                    tuning.products[class.index()] = gradient_tile(lanes);
                }
                tuning
            }
            None => {
                let tuning = Tuning::uniform(QUADS, Rows::Quads { group: 4, rows: 4 }, NormRows::Quads(4));
                let tiny = narrow_lanes(device).map(Tile::subgroup).unwrap_or_default();
                Tuning { fuse_gelu: false, ..tuning.with_products(Size::Tiny, tiny) }
            }
        }
    }

    /// The built-in choice for forward passes that a person waits for: as [`Tuning::for_device`], but on a software adapter
    /// that would compile those variants for seconds, ones that it compiles in a fraction of one.
    pub fn for_a_look(device: &Device) -> Tuning {
        if device.is_software() && wide_lanes(device).is_none() {
            return Tuning { attention: [Rows::Workgroup(8); 2], fuse_gelu: false, ..Tuning::default() };
        }
        Tuning::for_device(device)
    }

    /// The built-in choice for everything that is no software rasterizer.
    pub fn for_gpus() -> Tuning {
        Tuning::uniform(NARROW, Rows::Shared { group: 64 }, NormRows::Workgroup(64)).with_products(Size::Large, WIDE)
    }

    /// The same with matrix units for what is in half precision, where the device has them: larger tiles for more outputs.
    fn with_matrix_units(mut self, device: &Device) -> Tuning {
        let tiles = matrix_tiles(device);
        if let [narrow, wide, ..] = tiles[..] {
            let takes = |class: &Class| class.half && class.size != Size::Tiny;
            for class in Class::all().filter(takes) {
                self.products[class.index()] = if class.size == Size::Large { wide } else { narrow };
            }
        }
        if let Some(rows) = matrix_rows(device).first() {
            self.attention[place(DType::F16)] = *rows;
        }
        self
    }

    /// The same with another tile for all products of a size.
    fn with_products(mut self, size: Size, tile: Tile) -> Tuning {
        Class::all().filter(|class| class.size == size).for_each(|class| self.products[class.index()] = tile);
        self
    }

    /// The tile of an `m × n` product that sums over `k`: its own or its class's, or the nearest one that takes its extents.
    pub fn product(&self, form: Form, shape: [usize; 3], operands: DType) -> Tile {
        let own = self.shapes.get(&Work::Product { form, shape, operands }.to_string()).copied();
        let tile = own.unwrap_or_else(|| self.products[Class::of(form, shape, operands).index()]);
        tile.fitting(form, shape).of(operands)
    }

    /// How attention shares its rows, of values of this type.
    pub fn attention(&self, dtype: DType) -> Rows {
        self.attention[place(dtype)]
    }

    /// The same with another way of attention for values of every type.
    pub fn with_attention(self, rows: Rows) -> Tuning {
        Tuning { attention: [rows; 2], ..self }
    }

    /// Whether values are moved as 64-bit integers where nothing else is to be done with them: on adapters where layer
    /// norm's are, since the same decides.
    pub(super) fn moves_wide(&self) -> bool {
        matches!(self.norm, NormRows::Fours(_))
    }

    /// The variant that `work` runs with.
    pub fn variant(&self, work: &Work) -> Variant {
        match work {
            Work::Product { form, shape, operands } => Variant::Product(self.product(*form, *shape, *operands)),
            Work::Attention { inputs, .. } => Variant::Attention(self.attention(inputs[0].dtype)),
            Work::LayerNorm { .. } => Variant::LayerNorm(self.norm),
        }
    }

    /// Gives `variant` to the class of `work`; a variant of another kernel changes nothing.
    pub fn choose(&mut self, work: &Work, variant: Variant) {
        match (work, variant) {
            (Work::Product { form, shape, operands }, Variant::Product(tile)) => {
                self.products[Class::of(*form, *shape, *operands).index()] = tile;
            }
            (Work::Attention { inputs, .. }, Variant::Attention(rows)) => {
                self.attention[place(inputs[0].dtype)] = rows;
            }
            (Work::LayerNorm { .. }, Variant::LayerNorm(rows)) => self.norm = rows,
            _ => {}
        }
    }

    /// Gives `variant` to products of the shape of `work` alone.
    pub fn choose_for_shape(&mut self, work: &Work, variant: Variant) {
        let Variant::Product(tile) = variant else { return };
        self.shapes.remove(&work.to_string());
        if self.variant(work) != variant {
            self.shapes.insert(work.to_string(), tile);
        }
    }

    /// The same, but for variants that cannot store halves those of `other`: what they store in f32 takes the memory that
    /// half precision was to save, and an operation to round it.
    pub fn storing_halves(mut self, other: &Tuning) -> Tuning {
        for class in Class::all().filter(|class| class.half) {
            let tile = &mut self.products[class.index()];
            if !tile.stores_halves() {
                *tile = other.products[class.index()];
            }
        }
        self.shapes.retain(|_, tile| tile.stores_halves());
        let half = place(DType::F16);
        if matches!(self.attention[half], Rows::Workgroup(_)) {
            self.attention[half] = other.attention[half];
        }
        if self.norm == NormRows::Invocation {
            self.norm = other.norm;
        }
        self
    }

    /// Whether `device` has every variant that a step in this precision may ask for: those of its candidates, its built-in
    /// table and the web-safe ones.
    pub fn runs_on(&self, device: &Device, precision: Precision) -> bool {
        let tiles: Vec<_> = candidates(device).into_iter().chain(matrix_tiles(device)).collect();
        let asked = |class: &Class| precision == Precision::F16 || !class.half;
        Class::all().filter(asked).all(|class| tiles.contains(&self.products[class.index()]))
            && self.shapes.values().all(|tile| tiles.contains(tile))
            && row_candidates(device, DType::F32).contains(&self.attention(DType::F32))
            && (precision == Precision::F32 || row_candidates(device, DType::F16).contains(&self.attention(DType::F16)))
            && norm_candidates(device).contains(&self.norm)
    }
}

impl Default for Tuning {
    /// The web-safe reference.
    fn default() -> Tuning {
        Tuning::uniform(Tile::default(), Rows::Workgroup(super::GROUP as u32), NormRows::Invocation)
    }
}

/// The built-in tiles of a GPU: 64 × 64 outputs a workgroup, and 32 × 32 where there are few.
const WIDE: Tile = Tile::Workgroup { rows: 8, cols: 8, group_rows: 8, group_cols: 8, depth: 16 };
pub(super) const NARROW: Tile = Tile::Workgroup { rows: 4, cols: 4, group_rows: 8, group_cols: 8, depth: 16 };

/// The built-in tile of a software adapter that lacks 64-bit integers or narrow subgroups. A workgroup is as wide as
/// SwiftShader's SIMD: it runs a wider one in turns.
const QUADS: Tile = Tile::Quads { rows: 16, cols: 16, group_rows: 1, group_cols: 4 };

/// Attention by [`place`].
pub(super) const ATTENTION: [&str; 2] = ["attention", "attention f16"];
pub(super) const LAYER_NORM: &str = "layer_norm";
const GELU: &str = "gelu";
/// What products do with a GELU that follows.
const GELU_IS: [&str; 2] = ["apart", "in the product"];

impl From<Tuning> for BTreeMap<String, String> {
    fn from(tuning: Tuning) -> BTreeMap<String, String> {
        let products = Class::all().map(|class| (class.to_string(), tuning.products[class.index()].to_string()));
        let others = [
            (LAYER_NORM.into(), tuning.norm.to_string()),
            (GELU.into(), GELU_IS[usize::from(tuning.fuse_gelu)].into()),
        ];
        let shapes = tuning.shapes.into_iter().map(|(shape, tile)| (shape, tile.to_string()));
        let attention = ATTENTION.iter().zip(tuning.attention).map(|(name, rows)| ((*name).into(), rows.to_string()));
        products.chain(attention).chain(others).chain(shapes).collect()
    }
}

impl TryFrom<BTreeMap<String, String>> for Tuning {
    type Error = String;

    fn try_from(map: BTreeMap<String, String>) -> Result<Tuning, String> {
        let text = |key: &str| map.get(key).ok_or_else(|| format!("no variant of {key}"));
        let held = |key: &str| text(key)?.parse();
        let mut tuning = Tuning::default();
        let gelu = text(GELU)?;
        tuning.fuse_gelu =
            GELU_IS.iter().position(|is| is == gelu).ok_or_else(|| format!("gelu cannot be `{gelu}`"))? == 1;
        for class in Class::all() {
            // Texts from before there was half precision have the others alone.
            let one = Class { half: class.half && map.contains_key(&class.to_string()), ..class };
            match held(&one.to_string())? {
                Variant::Product(tile) => tuning.products[class.index()] = tile,
                other => return Err(format!("{class} cannot run with {other}")),
            }
        }
        for key in map.keys().filter(|key| names_a_product(key)) {
            match held(key)? {
                Variant::Product(tile) => tuning.shapes.insert(key.clone(), tile),
                other => return Err(format!("{key} cannot run with {other}")),
            };
        }
        for (name, rows) in ATTENTION.iter().zip(&mut tuning.attention) {
            match held(if map.contains_key(*name) { name } else { ATTENTION[0] })? {
                Variant::Attention(held) => *rows = held,
                other => return Err(format!("{name} cannot run with {other}")),
            }
        }
        match held(LAYER_NORM)? {
            Variant::LayerNorm(rows) => tuning.norm = rows,
            other => return Err(format!("{LAYER_NORM} cannot run with {other}")),
        }
        Ok(tuning)
    }
}

/// Where what holds for values of a type stands among two.
fn place(dtype: DType) -> usize {
    usize::from(dtype == DType::F16)
}

/// Whether a text is that of a product's [`Work`].
fn names_a_product(text: &str) -> bool {
    let forms = [Form::Nt, Form::Nn, Form::Tn].map(|form| Product { form }.name());
    forms.iter().any(|form| {
        let shape = text.strip_prefix(form).and_then(|rest| rest.strip_prefix(' '));
        shape.is_some_and(|shape| shape.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// The product tiles worth measuring on a device, its built-in one and the web-safe one among them, the most promising
/// last. Software adapters compile a large tile for seconds, so their list is short.
pub fn candidates(device: &Device) -> Vec<Tile> {
    let register = |rows, cols, group_rows, group_cols| Tile::Register { rows, cols, group_rows, group_cols };
    let mut tiles = vec![Tile::default()];
    tiles.extend(narrow_lanes(device).map(Tile::subgroup));
    if let Some(lanes) = wide_lanes(device) {
        tiles.push(gradient_tile(lanes));
        tiles.extend(four_tiles(lanes));
    } else if device.is_software() {
        tiles.push(QUADS);
    }
    if !device.is_software() {
        tiles.extend([register(4, 4, 8, 8), register(8, 8, 8, 8), NARROW, WIDE]);
        let groups = [(4, 4, 16, 16, 16), (8, 8, 16, 8, 16), (8, 8, 16, 16, 8)];
        tiles.extend(groups.map(|(rows, cols, group_rows, group_cols, depth)| Tile::Workgroup {
            rows,
            cols,
            group_rows,
            group_cols,
            depth,
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
    let straight = |(rows, cols)| Tile::Matrix { side, rows, cols, group_rows: 2, group_cols: 2, lanes };
    let shared =
        |(rows, cols, depth)| Tile::MatrixWorkgroup { side, rows, cols, group_rows: 2, group_cols: 2, lanes, depth };
    let tiles = match device.fixed_subgroup() {
        // All keep within 24 KiB of shared memory: of workgroups with more, so few run at once on an H200 that the same work
        // took half as long again.
        Some(_) => [(2, 2, 64), (3, 4, 32), (4, 3, 32), (4, 4, 32)].map(shared).to_vec(),
        None => [(2, 2), (4, 4), (4, 2)].map(straight).to_vec(),
    };
    tiles.into_iter().filter(|tile| tile.shared_bytes() <= device.shared_bytes()).collect()
}

/// The tiles in fours worth measuring for a product that is no weight gradient, the built-in one last: Mesa 25 unrolls loops
/// over lanes, so that a taller one's instructions fill a processor's cache, and takes 10 to 20 % longer with it. Where
/// loops stay loops, as with Mesa 22, taller ones are faster by a tenth. A product of few rows wants the tile that fits
/// them: of 100, two of 50 waste none and three of 34 next to none, four of 32 a fifth.
fn four_tiles(lanes: u32) -> [Tile; 4] {
    [50, 44, 34, 32].map(|rows| Tile::Fours { lanes, rows, cols: 8 * lanes })
}

/// The tile in fours of weight gradients.
pub(super) fn gradient_tile(lanes: u32) -> Tile {
    Tile::Fours { lanes, rows: 64, cols: 8 * lanes }
}

/// Lanes of a subgroup, where all have the same few.
fn narrow_lanes(device: &Device) -> Option<u32> {
    device.fixed_subgroup().filter(|lanes| (4..=16).contains(lanes))
}

/// Lanes of the variants that load 64-bit integers, where the device has them.
fn wide_lanes(device: &Device) -> Option<u32> {
    narrow_lanes(device).filter(|_| device.has_int64())
}

/// The ways of attention by matrix units, where the device has them and a workgroup's subgroups can be counted on, the
/// built-in one first.
pub fn matrix_rows(device: &Device) -> Vec<Rows> {
    // One, two or four invocations look after each row of a block.
    let shares = |(side, lanes): &(u32, u32)| [1, 2, 4].contains(&(lanes / side)) && lanes.is_multiple_of(*side);
    let units = device.matrix_units().filter(|units| device.fixed_subgroup().is_some() && shares(units));
    let Some((side, lanes)) = units else { return Vec::new() };
    let rows = [4, 2].map(|subgroups| Rows::Matrix { side, subgroups, lanes });
    rows.into_iter().filter(|rows| rows.shared_bytes() <= device.shared_bytes()).collect()
}

/// The ways of attention worth measuring on a device for values of this type, its built-in one and the web-safe one among
/// them.
pub fn row_candidates(device: &Device, dtype: DType) -> Vec<Rows> {
    let fours = wide_lanes(device).map(Rows::Fours);
    // Software adapters compile each for seconds.
    let (quads, shared): (&[(u32, u32)], &[u32]) = match fours {
        _ if !device.is_software() => (&[(64, 1)], &[128, 64]),
        Some(_) => (&[], &[]),
        None => (&[(4, 4), (4, 8)], &[]),
    };
    let quads = quads.iter().map(|&(group, rows)| Rows::Quads { group, rows });
    let shared = shared.iter().map(|&group| Rows::Shared { group });
    let mut rows: Vec<_> = [Rows::Workgroup(64)].into_iter().chain(quads).chain(shared).chain(fours).collect();
    if dtype == DType::F16 && !device.is_software() {
        rows.extend(matrix_rows(device).into_iter().rev());
    }
    rows
}

/// The ways of layer normalisation worth measuring on a device, its built-in one and the web-safe one among them.
pub fn norm_candidates(device: &Device) -> Vec<NormRows> {
    let shared = wide_lanes(device).map(NormRows::Fours);
    let others: &[NormRows] = match shared {
        _ if !device.is_software() => &[NormRows::Workgroup(64), NormRows::Workgroup(256)],
        Some(_) => &[],
        None => &[NormRows::Quads(4)],
    };
    [NormRows::Invocation].into_iter().chain(others.iter().copied()).chain(shared).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunings_text_reads_back_as_the_tuning() {
        let mut tuning = Tuning::default();
        let work = Work::Product { form: Form::Tn, shape: [192, 768, 2080], operands: DType::F32 };
        let tile = Tile::Subgroup { lanes: 8, rows: 8, cols: 4 };
        tuning.choose(&work, Variant::Product(tile));
        tuning.choose(&work, Variant::Attention(Rows::Workgroup(1)));
        let text = serde_json::to_string(&tuning).unwrap();
        assert_eq!(serde_json::from_str::<Tuning>(&text).unwrap(), tuning, "{text}");
        assert_eq!(tuning.variant(&work), Variant::Product(tile));
        assert_eq!(tuning.attention, Tuning::default().attention, "a product's work does not take rows");
        assert!(serde_json::from_str::<Tuning>("{}").is_err());
        assert!(serde_json::from_str::<Tuning>(&text.replace("in the product", "in two")).is_err());
        let apart = Tuning { fuse_gelu: false, ..tuning.clone() };
        let read: Tuning = serde_json::from_str(&serde_json::to_string(&apart).unwrap()).unwrap();
        assert_eq!(read, apart);
        assert!(serde_json::from_str::<Tuning>(&text.replace("workgroup of 64 rows", "plain")).is_err());
        // Without entries for half precision, those of f32 count.
        let mut map = BTreeMap::from(tuning);
        map.retain(|key, _| !key.contains("f16"));
        let half = Work::Product { form: Form::Tn, shape: [192, 768, 2080], operands: DType::F16 };
        assert_eq!(Tuning::try_from(map).unwrap().variant(&half), Variant::Product(Tile::default()));
    }

    #[test]
    fn every_class_has_a_place_of_its_own() {
        let places: Vec<_> = Class::all().map(Class::index).collect();
        assert_eq!(places, (0..Class::COUNT).collect::<Vec<_>>());
        let of = |shape| Class::of(Form::Nt, shape, DType::F32).to_string();
        assert_eq!(of([2080, 768, 192]), "product_nt large short");
        assert_eq!(of([192, 768, 2080]), "product_nt small long");
        assert_eq!(of([64, 192, 192]), "product_nt tiny short");
        assert_eq!(Class::of(Form::Nn, [2080, 768, 192], DType::F16).to_string(), "product_nn large short f16");
    }
}
