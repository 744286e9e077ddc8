//! What the measurements for one class let expect of shapes and of other classes.

use super::thresholds::UNLIKELY;
use crate::kernels::{Form, Variant, Work};

/// What was measured for a class.
pub(super) struct Measured {
    /// Its largest computation.
    pub(super) class: Work,
    /// What of it was measured.
    pub(super) work: Work,
    /// GFLOP/s of each variant.
    pub(super) rates: Vec<(Variant, f64)>,
}

impl Measured {
    /// Whether `variant` was so many times slower than the best here that it need not be tried for `work`.
    pub(super) fn rules_out(&self, work: &Work, variant: Variant, factor: f64) -> bool {
        let rate = |of: &dyn Fn(Variant) -> bool| {
            self.rates.iter().filter(|(held, _)| of(*held)).map(|(_, rate)| *rate).reduce(f64::max)
        };
        let (Some(best), Some(own)) = (rate(&|_| true), rate(&|held| held == variant)) else { return false };
        self.class.operands() == work.operands() && own * factor < best
    }

    /// The variants that may be the fastest for a matmul, the likeliest first, with their rates as these measurements let
    /// expect: they differ in what they waste at the edges.
    pub(super) fn expect(&self, work: &Work) -> Vec<(Variant, f64)> {
        let there = |(variant, rate): &(Variant, f64)| {
            Some((*variant, rate * work.fill(*variant)? / self.work.fill(*variant)?))
        };
        let mut expected: Vec<_> = self.rates.iter().filter_map(there).collect();
        expected.sort_by(|a, b| b.1.total_cmp(&a.1));
        let best = expected.first().map_or(0.0, |(_, rate)| *rate);
        expected.retain(|(_, rate)| *rate * UNLIKELY >= best);
        expected
    }
}

/// The class whose measurements say most about a matmul: its own, or else one of its form, or of both that take the same
/// tiles; of the same operands in any case.
pub(super) fn most_like<'a>(classes: &'a [Measured], work: &Work) -> Option<&'a Measured> {
    let Work::Matmul { form, .. } = work else { return None };
    let distance = |held: &&Measured| match &held.class {
        class if class.is_like(work) => Some(0),
        class if class.operands() != work.operands() => None,
        Work::Matmul { form: held, .. } if held == form => Some(1),
        Work::Matmul { form: held, .. } if *held != Form::Tn && *form != Form::Tn => Some(2),
        _ => None,
    };
    classes.iter().filter(|held| distance(held).is_some()).min_by_key(distance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernels::{AttentionVariant, Tile},
        shape::DType,
    };

    const GOOD: Variant = Variant::Matmul(Tile::Naive);
    const FAST: Variant = Variant::Matmul(Tile::Subgroup { lanes: 8, lane_m: 8, lane_n: 4 });
    const SLOW: Variant = Variant::Attention(AttentionVariant::Scalar { group: 8 });

    fn matmul(form: Form, m: usize, n: usize, k: usize) -> Work {
        Work::Matmul { form, shape: [m, n, k], operands: DType::F32 }
    }

    #[test]
    fn what_a_shape_may_take_follows_from_its_class_and_its_edges() {
        let subgroup = |rows| Variant::Matmul(Tile::SubgroupVec4 { lanes: 8, tile_m: rows, tile_n: 64 });
        let class = matmul(Form::Nt, 640, 128, 64);
        // At 640 rows both tiles are full; at 130 the taller one computes 160 rows for them, the other 192.
        let rates = vec![(subgroup(80), 44.0), (subgroup(64), 43.0), (subgroup(8), 20.0)];
        let measured = Measured { class: class.clone(), work: class, rates };
        let of = |work| measured.expect(&work);
        assert_eq!(of(matmul(Form::Nt, 320, 128, 64)), [(subgroup(80), 44.0), (subgroup(64), 43.0)]);
        let [(first, rate)] = of(matmul(Form::Nt, 130, 128, 64))[..] else { panic!("one is enough") };
        assert!(first == subgroup(80) && (rate - 44.0 * 130.0 / 160.0).abs() < 1e-9, "{first} {rate}");
        assert_eq!(of(matmul(Form::Nt, 320, 127, 64)), [], "no measured tile takes it");
    }

    #[test]
    fn what_is_hopeless_for_one_class_is_for_others_of_its_operands() {
        let class = matmul(Form::Nt, 640, 1024, 64);
        let rates = vec![(GOOD, 40.0), (FAST, 21.0), (SLOW, 19.0)];
        let measured = Measured { class: class.clone(), work: class, rates };
        let out = |variant| measured.rules_out(&matmul(Form::Tn, 64, 64, 64), variant, 2.0);
        assert_eq!([GOOD, FAST, SLOW].map(out), [false, false, true]);
        assert!(!out(Variant::Matmul(Tile::default())), "never measured");
        let half = Work::Matmul { form: Form::Nt, shape: [640, 1024, 64], operands: DType::F16 };
        assert!(!measured.rules_out(&half, SLOW, 2.0));
    }

    #[test]
    fn a_class_without_measurements_takes_what_its_likeliest_relative_lets_expect() {
        let measured = |form, variant| {
            let class = matmul(form, 640, 1024, 64);
            Measured { class: class.clone(), work: class, rates: vec![(variant, 1.0)] }
        };
        let subgroup = |rows| Variant::Matmul(Tile::SubgroupVec4 { lanes: 8, tile_m: rows, tile_n: 64 });
        let [nt, nn, tn] =
            [(Form::Nt, subgroup(3)), (Form::Nn, subgroup(5)), (Form::Tn, subgroup(4))].map(|(f, v)| measured(f, v));
        let classes = [nn, tn, nt];
        let like = |classes: &[Measured], work: Work| most_like(classes, &work).map(|held| held.rates[0].0);
        assert_eq!(like(&classes, matmul(Form::Nt, 320, 1024, 64)), Some(subgroup(3)), "its own");
        assert_eq!(like(&classes, matmul(Form::Nt, 64, 128, 64)), Some(subgroup(3)), "its form");
        assert_eq!(like(&classes[..2], matmul(Form::Nt, 64, 128, 64)), Some(subgroup(5)), "the same tiles");
        assert_eq!(like(&classes, matmul(Form::Tn, 64, 128, 64)), Some(subgroup(4)));
        assert_eq!(like(&classes[1..2], matmul(Form::Nt, 64, 128, 64)), None, "other tiles");
        let half = Work::Matmul { form: Form::Nt, shape: [640, 1024, 64], operands: DType::F16 };
        assert_eq!(like(&classes, half), None, "other operands");
    }
}
