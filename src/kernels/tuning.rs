//! Which variant of a kernel runs: plain data, a field for each family of kernels.

use serde::{Deserialize, Serialize};

use super::{
    class::{Class, Size},
    variants::{AttentionVariant, Form, LayerNormVariant, LossVariant, OptimiserVariant, Tile, Variant},
    work::Work,
};
use crate::shape::DType;

/// The kernel variants of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    /// The tile of each class of matmuls.
    pub matmul: Matmuls,
    /// The tiles of matmuls that do not take their class's.
    pub single_shapes: Vec<SingleShape>,
    /// Attention of values in f32 and in half precision.
    pub attention: ByType<AttentionVariant>,
    /// Layer normalisation.
    pub layer_norm: LayerNormVariant,
    /// The loss and its gradient.
    pub masked_mse: LossVariant,
    /// AdamW, the moving average and the sums of gradients.
    pub optimiser: OptimiserVariant,
    /// Whether matmuls take in GELU and its gradient. SwiftShader takes seconds to compile it into a tile of its
    /// own, once for each value.
    pub fuse_gelu: bool,
}

/// One for each type of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct ByType<T> {
    pub f32: T,
    pub f16: T,
}

/// One for each [`Form`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct ByForm<T> {
    pub nt: T,
    pub nn: T,
    pub tn: T,
}

/// One for each [`Size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct BySize<T> {
    pub tiny: T,
    pub small: T,
    pub large: T,
}

/// One for short and one for long sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs)]
pub struct BySum<T> {
    pub short: T,
    pub long: T,
}

/// The tile of each [`Class`].
pub type Matmuls = ByType<ByForm<BySize<BySum<Tile>>>>;

/// The tile of matmuls of one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SingleShape {
    /// The form.
    pub form: Form,
    /// `m`, `n` and `k`.
    pub shape: [usize; 3],
    /// The type of the operands.
    pub operands: DType,
    /// The tile.
    pub tile: Tile,
}

impl SingleShape {
    fn is_of(&self, form: Form, shape: [usize; 3], operands: DType) -> bool {
        (self.form, self.shape, self.operands) == (form, shape, operands)
    }
}

impl<T: Copy> ByType<T> {
    /// The same for both.
    pub fn both(one: T) -> ByType<T> {
        ByType { f32: one, f16: one }
    }

    /// What is for values of this type.
    pub fn of(&self, dtype: DType) -> T {
        if dtype == DType::F16 { self.f16 } else { self.f32 }
    }

    pub(crate) fn of_mut(&mut self, dtype: DType) -> &mut T {
        if dtype == DType::F16 { &mut self.f16 } else { &mut self.f32 }
    }
}

impl Matmuls {
    /// One tile for all.
    pub fn uniform(tile: Tile) -> Matmuls {
        let sums = BySum { short: tile, long: tile };
        let sizes = BySize { tiny: sums, small: sums, large: sums };
        ByType::both(ByForm { nt: sizes, nn: sizes, tn: sizes })
    }

    /// The tile of a class.
    pub fn tile(mut self, class: Class) -> Tile {
        *self.tile_mut(class)
    }

    pub(crate) fn tile_mut(&mut self, class: Class) -> &mut Tile {
        let forms = self.of_mut(if class.half { DType::F16 } else { DType::F32 });
        let sizes = match class.form {
            Form::Nt => &mut forms.nt,
            Form::Nn => &mut forms.nn,
            Form::Tn => &mut forms.tn,
        };
        let sums = match class.size {
            Size::Tiny => &mut sizes.tiny,
            Size::Small => &mut sizes.small,
            Size::Large => &mut sizes.large,
        };
        if class.long { &mut sums.long } else { &mut sums.short }
    }
}

impl Tuning {
    /// These variants, one tile for all matmuls; what is not named as the web-safe reference has it.
    pub fn uniform(tile: Tile, attention: AttentionVariant, layer_norm: LayerNormVariant) -> Tuning {
        Tuning {
            matmul: Matmuls::uniform(tile),
            single_shapes: Vec::new(),
            attention: ByType::both(attention),
            layer_norm,
            masked_mse: LossVariant::Scalar,
            optimiser: OptimiserVariant::Vec4,
            fuse_gelu: true,
        }
    }

    /// The built-in choice for everything that is no software rasterizer.
    pub fn for_gpus() -> Tuning {
        let attention = AttentionVariant::SharedMemory { group: 64 };
        let tuning = Tuning::uniform(Tile::NARROW, attention, LayerNormVariant::SharedMemory { group: 64 });
        Tuning { masked_mse: LossVariant::SharedMemory, ..tuning.with_matmuls(Size::Large, Tile::WIDE) }
    }

    /// The same with another tile for all matmuls of a size.
    pub(crate) fn with_matmuls(mut self, size: Size, tile: Tile) -> Tuning {
        Class::all().filter(|class| class.size == size).for_each(|class| *self.matmul.tile_mut(class) = tile);
        self
    }

    /// The same with the tiles of large matmuls for smaller ones too, so that what a plan makes of an image does not depend
    /// on how many others are in its batch: tiles differ in the order in which they add.
    pub fn for_any_batch(mut self) -> Tuning {
        for class in Class::all() {
            *self.matmul.tile_mut(class) = self.matmul.tile(Class { size: Size::Large, ..class });
        }
        self.single_shapes.clear();
        self
    }

    /// The tile of an `m × n` matmul that sums over `k`: its own or its class's, or the nearest one that takes its extents.
    pub fn matmul(&self, form: Form, shape: [usize; 3], operands: DType) -> Tile {
        let own = self.single_shapes.iter().find(|single| single.is_of(form, shape, operands));
        let tile = own.map_or_else(|| self.matmul.tile(Class::of(form, shape, operands)), |single| single.tile);
        tile.fitting(form, shape).of(operands)
    }

    /// The same with another way of attention for values of every type.
    pub fn with_attention(self, variant: AttentionVariant) -> Tuning {
        Tuning { attention: ByType::both(variant), ..self }
    }

    /// Whether the optimiser moves two vec4s at once, as 64-bit integers.
    pub(crate) fn moves_wide(&self) -> bool {
        self.optimiser == OptimiserVariant::Wide
    }

    /// The variant that `work` runs with.
    pub fn variant(&self, work: &Work) -> Variant {
        match work {
            Work::Matmul { form, shape, operands } => Variant::Matmul(self.matmul(*form, *shape, *operands)),
            Work::Attention { inputs, .. } => Variant::Attention(self.attention.of(inputs[0].dtype)),
            Work::LayerNorm { .. } => Variant::LayerNorm(self.layer_norm),
        }
    }

    /// Gives `variant` to the class of `work`; a variant of another kernel changes nothing.
    pub fn choose(&mut self, work: &Work, variant: Variant) {
        match (work, variant) {
            (Work::Matmul { form, shape, operands }, Variant::Matmul(tile)) => {
                *self.matmul.tile_mut(Class::of(*form, *shape, *operands)) = tile;
            }
            (Work::Attention { inputs, .. }, Variant::Attention(variant)) => {
                *self.attention.of_mut(inputs[0].dtype) = variant;
            }
            (Work::LayerNorm { .. }, Variant::LayerNorm(variant)) => self.layer_norm = variant,
            _ => {}
        }
    }

    /// Gives `variant` to matmuls of the shape of `work` alone.
    pub fn choose_for_shape(&mut self, work: &Work, variant: Variant) {
        let (Work::Matmul { form, shape, operands }, Variant::Matmul(tile)) = (work, variant) else { return };
        let (form, shape, operands) = (*form, *shape, *operands);
        self.single_shapes.retain(|single| !single.is_of(form, shape, operands));
        if self.variant(work) != variant {
            self.single_shapes.push(SingleShape { form, shape, operands, tile });
        }
    }

    /// The same, but for variants that cannot store halves those of `other`: what they store in f32 takes the memory that
    /// half precision was to save, and an operation to round it.
    pub fn storing_f16(mut self, other: &Tuning) -> Tuning {
        for class in Class::all().filter(|class| class.half) {
            let tile = self.matmul.tile_mut(class);
            if !tile.stores_f16() {
                *tile = other.matmul.tile(class);
            }
        }
        self.single_shapes.retain(|single| single.tile.stores_f16());
        if matches!(self.attention.f16, AttentionVariant::Scalar { .. }) {
            self.attention.f16 = other.attention.f16;
        }
        if self.layer_norm == LayerNormVariant::Scalar {
            self.layer_norm = other.layer_norm;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tunings_json_reads_back_as_the_tuning() {
        let mut tuning = Tuning::for_gpus();
        let work = Work::Matmul { form: Form::Tn, shape: [192, 768, 2080], operands: DType::F32 };
        let tile = Tile::Subgroup { lanes: 8, lane_m: 8, lane_n: 4 };
        tuning.choose(&work, Variant::Matmul(tile));
        tuning.choose(&work, Variant::Attention(AttentionVariant::Scalar { group: 1 }));
        let single = Work::Matmul { form: Form::Tn, shape: [192, 768, 2081], operands: DType::F32 };
        tuning.choose_for_shape(&single, Variant::Matmul(Tile::default()));
        let text = serde_json::to_string(&tuning).unwrap();
        assert_eq!(Tuning::read(&text).as_ref(), Ok(&tuning), "{text}");
        assert_eq!(tuning.variant(&work), Variant::Matmul(tile));
        assert_eq!(tuning.variant(&single), Variant::Matmul(Tile::default()));
        assert_eq!(tuning.attention, Tuning::for_gpus().attention, "a matmul's work takes no variant of attention");
        for (old, new) in [("fuse_gelu", "fused"), ("shared_memory", "fast"), ("tile_k", "depth"), ("768", "true")] {
            assert!(text.contains(old) && Tuning::read(&text.replace(old, new)).is_err(), "{old}");
        }
        assert!(Tuning::read("{}").is_err() && Tuning::read("damaged").is_err());
    }

    #[test]
    fn tiles_for_any_batch_do_not_depend_on_the_size() {
        let tile = |tuning: &Tuning, rows| tuning.matmul(Form::Nt, [rows, 192, 192], DType::F32);
        let sizes = [17, 2000];
        assert_eq!(sizes.map(|rows| tile(&Tuning::for_gpus(), rows)), [Tile::NARROW, Tile::WIDE]);
        assert_eq!(sizes.map(|rows| tile(&Tuning::for_gpus().for_any_batch(), rows)), [Tile::WIDE; 2]);
    }

    #[test]
    fn every_class_has_a_tile_of_its_own() {
        let mut matmuls = Matmuls::uniform(Tile::Naive);
        let tile = |lanes| Tile::Subgroup { lanes, lane_m: 1, lane_n: 1 };
        (0..).zip(Class::all()).for_each(|(lanes, class)| *matmuls.tile_mut(class) = tile(lanes));
        assert!((0..).zip(Class::all()).all(|(lanes, class)| matmuls.tile(class) == tile(lanes)));
    }
}
