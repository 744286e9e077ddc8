//! Matmuls that take one tile.

use std::fmt;

use super::variants::Form;
use crate::shape::DType;

/// Outputs below which a matmul is tiny: it is over before a large tile is compiled for it.
const TINY: usize = 1 << 14;
/// Outputs from which a matmul is large: enough workgroups for a wide adapter even with large tiles.
const LARGE: usize = 1 << 18;
/// Terms of a sum from which a matmul is long.
const LONG: usize = 512;

/// How many outputs a matmul has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Size {
    /// Fewer than 2^14.
    Tiny,
    /// Between the two.
    Small,
    /// 2^18 or more.
    Large,
}

/// Matmuls that take one tile: equal form, operands of one type, equally large, equally long.
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
    /// The class of an `m × n` matmul that sums over `k`, of operands of this type.
    pub fn of(form: Form, [m, n, k]: [usize; 3], operands: DType) -> Class {
        let size = match m * n {
            ..TINY => Size::Tiny,
            TINY..LARGE => Size::Small,
            LARGE.. => Size::Large,
        };
        Class { form, size, long: k >= LONG, half: operands == DType::F16 }
    }

    /// Every class.
    pub fn all() -> impl Iterator<Item = Class> {
        let forms = |half| [Form::Nt, Form::Nn, Form::Tn].map(|form| (half, form));
        let sizes = |(half, form)| [Size::Tiny, Size::Small, Size::Large].map(|size| (half, form, size));
        let sums = |(half, form, size)| [false, true].map(|long| Class { form, size, long, half });
        [false, true].into_iter().flat_map(forms).flat_map(sizes).flat_map(sums)
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
        write!(f, "{} {size} {sum}{operands}", self.form.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_follows_from_a_shape() {
        let of = |shape| Class::of(Form::Nt, shape, DType::F32).to_string();
        assert_eq!(of([2080, 768, 192]), "matmul_nt large short");
        assert_eq!(of([192, 768, 2080]), "matmul_nt small long");
        assert_eq!(of([64, 192, 192]), "matmul_nt tiny short");
        assert_eq!(Class::of(Form::Nn, [2080, 768, 192], DType::F16).to_string(), "matmul_nn large short f16");
    }
}
