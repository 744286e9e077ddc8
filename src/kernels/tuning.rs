//! Which variant of a kernel runs: a matmul tile for each class of matmuls and for single shapes, and how attention and
//! layer norm share their rows.

use std::collections::BTreeMap;

use super::{
    class::{Class, Size},
    variants::{AttentionVariant, Form, LayerNormVariant, Tile, Variant},
    work::{ATTENTION, LAYER_NORM, Work, place},
};
use crate::shape::DType;

/// The kernel variants of a plan.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(into = "BTreeMap<String, String>", try_from = "BTreeMap<String, String>")]
pub struct Tuning {
    /// A matmul's tile, by its class's index.
    pub(crate) matmuls: [Tile; Class::COUNT],
    /// The tiles of matmuls that do not take their class's, by the text of their [`Work`].
    pub(crate) shapes: BTreeMap<String, Tile>,
    /// How attention shares its rows, of values in f32 and in half precision.
    pub(crate) attention: [AttentionVariant; 2],
    /// How layer normalisation shares its rows.
    pub norm: LayerNormVariant,
    /// Whether matmuls take in GELU and its gradient. SwiftShader takes seconds to compile it into a tile of its
    /// own, once for each value.
    pub fuse_gelu: bool,
}

impl Tuning {
    /// These variants, one tile for all matmuls.
    pub fn uniform(matmul: Tile, attention: AttentionVariant, norm: LayerNormVariant) -> Tuning {
        let matmuls = [matmul; Class::COUNT];
        Tuning { matmuls, shapes: BTreeMap::new(), attention: [attention; 2], norm, fuse_gelu: true }
    }

    /// The built-in choice for everything that is no software rasterizer.
    pub fn for_gpus() -> Tuning {
        Tuning::uniform(
            Tile::NARROW,
            AttentionVariant::SharedMemory { group: 64 },
            LayerNormVariant::SharedMemory { group: 64 },
        )
        .with_matmuls(Size::Large, Tile::WIDE)
    }

    /// The same with another tile for all matmuls of a size.
    pub(crate) fn with_matmuls(mut self, size: Size, tile: Tile) -> Tuning {
        Class::all().filter(|class| class.size == size).for_each(|class| self.matmuls[class.index()] = tile);
        self
    }

    /// The tile of an `m × n` matmul that sums over `k`: its own or its class's, or the nearest one that takes its extents.
    pub fn matmul(&self, form: Form, shape: [usize; 3], operands: DType) -> Tile {
        let own = self.shapes.get(&Work::Matmul { form, shape, operands }.to_string()).copied();
        let tile = own.unwrap_or_else(|| self.matmuls[Class::of(form, shape, operands).index()]);
        tile.fitting(form, shape).of(operands)
    }

    /// How attention shares its rows, of values of this type.
    pub fn attention(&self, dtype: DType) -> AttentionVariant {
        self.attention[place(dtype)]
    }

    /// The same with another way of attention for values of every type.
    pub fn with_attention(self, rows: AttentionVariant) -> Tuning {
        Tuning { attention: [rows; 2], ..self }
    }

    /// Whether values are moved as 64-bit integers where nothing else is to be done with them: on adapters where layer
    /// norm's are, since the same decides.
    pub(crate) fn moves_wide(&self) -> bool {
        matches!(self.norm, LayerNormVariant::SubgroupVec4 { .. })
    }

    /// The variant that `work` runs with.
    pub fn variant(&self, work: &Work) -> Variant {
        match work {
            Work::Matmul { form, shape, operands } => Variant::Matmul(self.matmul(*form, *shape, *operands)),
            Work::Attention { inputs, .. } => Variant::Attention(self.attention(inputs[0].dtype)),
            Work::LayerNorm { .. } => Variant::LayerNorm(self.norm),
        }
    }

    /// Gives `variant` to the class of `work`; a variant of another kernel changes nothing.
    pub fn choose(&mut self, work: &Work, variant: Variant) {
        match (work, variant) {
            (Work::Matmul { form, shape, operands }, Variant::Matmul(tile)) => {
                self.matmuls[Class::of(*form, *shape, *operands).index()] = tile;
            }
            (Work::Attention { inputs, .. }, Variant::Attention(rows)) => {
                self.attention[place(inputs[0].dtype)] = rows;
            }
            (Work::LayerNorm { .. }, Variant::LayerNorm(rows)) => self.norm = rows,
            _ => {}
        }
    }

    /// Gives `variant` to matmuls of the shape of `work` alone.
    pub fn choose_for_shape(&mut self, work: &Work, variant: Variant) {
        let Variant::Matmul(tile) = variant else { return };
        self.shapes.remove(&work.to_string());
        if self.variant(work) != variant {
            self.shapes.insert(work.to_string(), tile);
        }
    }

    /// The same, but for variants that cannot store halves those of `other`: what they store in f32 takes the memory that
    /// half precision was to save, and an operation to round it.
    pub fn storing_f16(mut self, other: &Tuning) -> Tuning {
        for class in Class::all().filter(|class| class.half) {
            let tile = &mut self.matmuls[class.index()];
            if !tile.stores_f16() {
                *tile = other.matmuls[class.index()];
            }
        }
        self.shapes.retain(|_, tile| tile.stores_f16());
        let half = place(DType::F16);
        if matches!(self.attention[half], AttentionVariant::Scalar { .. }) {
            self.attention[half] = other.attention[half];
        }
        if self.norm == LayerNormVariant::Scalar {
            self.norm = other.norm;
        }
        self
    }
}

impl Default for Tuning {
    /// The web-safe reference.
    fn default() -> Tuning {
        Tuning::uniform(Tile::default(), AttentionVariant::Scalar { group: 64 }, LayerNormVariant::Scalar)
    }
}

const GELU: &str = "gelu";
/// What matmuls do with a GELU that follows.
const GELU_IS: [&str; 2] = ["apart", "in the matmul"];

impl From<Tuning> for BTreeMap<String, String> {
    fn from(tuning: Tuning) -> BTreeMap<String, String> {
        let matmuls = Class::all().map(|class| (class.to_string(), tuning.matmuls[class.index()].to_string()));
        let others = [
            (LAYER_NORM.into(), tuning.norm.to_string()),
            (GELU.into(), GELU_IS[usize::from(tuning.fuse_gelu)].into()),
        ];
        let shapes = tuning.shapes.into_iter().map(|(shape, tile)| (shape, tile.to_string()));
        let attention = ATTENTION.iter().zip(tuning.attention).map(|(name, rows)| ((*name).into(), rows.to_string()));
        matmuls.chain(attention).chain(others).chain(shapes).collect()
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
                Variant::Matmul(tile) => tuning.matmuls[class.index()] = tile,
                other => return Err(format!("{class} cannot run with {other}")),
            }
        }
        for key in map.keys().filter(|key| names_a_matmul(key)) {
            match held(key)? {
                Variant::Matmul(tile) => tuning.shapes.insert(key.clone(), tile),
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

/// Whether a text is that of a matmul's [`Work`].
fn names_a_matmul(text: &str) -> bool {
    let forms = [Form::Nt, Form::Nn, Form::Tn].map(|form| form.name());
    forms.iter().any(|form| {
        let shape = text.strip_prefix(form).and_then(|rest| rest.strip_prefix(' '));
        shape.is_some_and(|shape| shape.starts_with(|c: char| c.is_ascii_digit()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunings_text_reads_back_as_the_tuning() {
        let mut tuning = Tuning::default();
        let work = Work::Matmul { form: Form::Tn, shape: [192, 768, 2080], operands: DType::F32 };
        let tile = Tile::Subgroup { lanes: 8, lane_m: 8, lane_n: 4 };
        tuning.choose(&work, Variant::Matmul(tile));
        tuning.choose(&work, Variant::Attention(AttentionVariant::Scalar { group: 1 }));
        let text = serde_json::to_string(&tuning).unwrap();
        assert_eq!(serde_json::from_str::<Tuning>(&text).unwrap(), tuning, "{text}");
        assert_eq!(tuning.variant(&work), Variant::Matmul(tile));
        assert_eq!(tuning.attention, Tuning::default().attention, "a matmul's work does not take rows");
        assert!(serde_json::from_str::<Tuning>("{}").is_err());
        assert!(serde_json::from_str::<Tuning>(&text.replace("in the matmul", "in two")).is_err());
        let apart = Tuning { fuse_gelu: false, ..tuning.clone() };
        let read: Tuning = serde_json::from_str(&serde_json::to_string(&apart).unwrap()).unwrap();
        assert_eq!(read, apart);
        assert!(serde_json::from_str::<Tuning>(&text.replace("workgroup of 64 rows", "plain")).is_err());
        // Without entries for half precision, those of f32 count.
        let mut map = BTreeMap::from(tuning);
        map.retain(|key, _| !key.contains("f16"));
        let half = Work::Matmul { form: Form::Tn, shape: [192, 768, 2080], operands: DType::F16 };
        assert_eq!(Tuning::try_from(map).unwrap().variant(&half), Variant::Matmul(Tile::default()));
    }
}
