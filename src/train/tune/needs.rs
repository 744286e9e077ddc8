//! What a step needs variants for, and in which order it is measured.

use crate::kernels::{Tuning, Variant, Work};

/// Something that a step needs variants for.
#[derive(Clone, Debug, PartialEq)]
pub struct Need {
    /// A computation of the step.
    pub work: Work,
    /// Whether all computations like it take its variant, or matmuls of its shape alone.
    pub of_class: bool,
}

impl Need {
    fn is_of_matmul(&self) -> bool {
        matches!(self.work, Work::Matmul { .. })
    }

    /// Gives `variant` to all that need it.
    pub fn choose(&self, tuning: &mut Tuning, variant: Variant) {
        if self.of_class {
            tuning.choose(&self.work, variant);
        } else {
            tuning.choose_for_shape(&self.work, variant);
        }
    }
}

/// What has to be tuned for a step that computes `work`: the largest computation of each class of matmuls, the class that
/// the step spends most operations on first; the other shapes of matmuls, in the same order. Attention and layer norm come
/// between them, or last where there are no variants to choose from but the web-safe one, which is far behind, and one other.
pub fn needs(work: Vec<Work>, variants: impl Fn(&Work) -> usize) -> Vec<Need> {
    let (mut needs, others): (Vec<_>, Vec<_>) = classes(work.clone()).into_iter().partition(Need::is_of_matmul);
    let (first, last): (Vec<_>, Vec<_>) = others.into_iter().partition(|need| variants(&need.work) > 2);
    let mut shapes: Vec<(Work, f64)> = Vec::new();
    for one in work {
        let flops = one.flops();
        match shapes.iter_mut().find(|(held, _)| *held == one) {
            Some((_, sum)) => *sum += flops,
            None => shapes.push((one, flops)),
        }
    }
    shapes.sort_by(|a, b| b.1.total_cmp(&a.1));
    let alone = shapes.into_iter().map(|(work, _)| Need { work, of_class: false });
    let alone: Vec<_> =
        alone.filter(|need| need.is_of_matmul() && !needs.iter().any(|held| held.work == need.work)).collect();
    needs.extend(first);
    needs.extend(alone);
    needs.extend(last);
    needs
}

/// The [`needs`] of classes alone, whatever kernel they are of.
pub fn classes(work: Vec<Work>) -> Vec<Need> {
    let mut classes: Vec<(Work, f64)> = Vec::new();
    for one in work {
        let flops = one.flops();
        match classes.iter_mut().find(|(held, _)| held.is_like(&one)) {
            Some((held, sum)) => {
                *sum += flops;
                if flops > held.flops() {
                    *held = one;
                }
            }
            None => classes.push((one, flops)),
        }
    }
    classes.sort_by(|a, b| b.1.total_cmp(&a.1));
    classes.into_iter().map(|(work, _)| Need { work, of_class: true }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        kernels::Form,
        shape::{DType, TensorType},
    };

    fn matmul(form: Form, m: usize, n: usize, k: usize) -> Work {
        Work::Matmul { form, shape: [m, n, k], operands: DType::F32 }
    }

    #[test]
    fn a_step_needs_the_largest_matmul_of_each_class_first_and_other_shapes_or_what_leaves_no_choice_last() {
        let (small, large) = (matmul(Form::Nt, 64, 64, 64), matmul(Form::Nt, 64, 128, 64));
        let other = matmul(Form::Tn, 64, 90, 64);
        let norm = Work::LayerNorm { input: TensorType::f32(&[1 << 10, 1 << 10]) };
        let list = vec![norm.clone(), small.clone(), other.clone(), large.clone(), small.clone()];
        let need = |work: &Work, of_class| Need { work: work.clone(), of_class };
        assert_eq!(classes(list.clone()), [need(&norm, true), need(&large, true), need(&other, true)]);
        let matmuls = [need(&large, true), need(&other, true), need(&small, false)];
        assert_eq!(needs(list.clone(), |_| 2), [&matmuls[..], &[need(&norm, true)]].concat());
        assert_eq!(needs(list, |_| 3), [&matmuls[..2], &[need(&norm, true)], &matmuls[2..]].concat());
    }
}
