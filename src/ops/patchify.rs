//! Images as rows of patches, the input of the patch embedding and the pixel decoder's target.

use super::{launch::Items, prelude::*};

/// `[batch, channels, height, width]` to `[batch, patches, channels * patch * patch]`, patches in raster order, each
/// listing channels, rows, columns. Images carry no gradient.
#[derive(Debug, Clone, Copy)]
pub struct Patchify {
    /// Side of a patch in pixels.
    pub patch: usize,
}

impl Op for Patchify {
    fn name(&self) -> &'static str {
        "patchify"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let [b, c, h, w] = x[0].shape[..] else { return Err(ShapeError("images are [batch, channels, h, w]".into())) };
        ensure_shape!(h % self.patch == 0 && w % self.patch == 0, "patch {} does not divide {h}×{w}", self.patch);
        Ok(vec![TensorType::f32(&[b, h / self.patch * (w / self.patch), c * self.patch * self.patch])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let [b, c, h, w] = x[0].shape[..] else { unreachable!("checked when recorded") };
        let p = self.patch;
        let mut y = Array::zeros(&[b, h / p * (w / p), c * p * p]);
        for (index, value) in x[0].data.iter().enumerate() {
            let (left, top) = (index % w, index / w % h);
            let (channel, image) = (index / (w * h) % c, index / (w * h * c));
            let cell = (image * (h / p) + top / p) * (w / p) + left / p;
            y.row_mut(cell)[(channel * p + top % p) * p + left % p] = *value;
        }
        vec![y]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let [b, c, h, w] = x[0].shape[..] else { unreachable!("checked when recorded") };
        // A patch's row of pixels is a run of an image's.
        let items = Items::of_width(self.patch);
        let kernel = items.pick(&kernels::patchify::FORWARD, &kernels::patchify_vec4::FORWARD);
        let params = kernels::patchify::Params {
            batch: b as u32,
            channels: c as u32,
            height: h as u32,
            width: items.of(w) as u32,
            patch_rows: self.patch as u32,
            patch_columns: items.of(self.patch) as u32,
        };
        vec![dispatch(kernel, params, &[Slot::In(0), Slot::Out(0)], groups(items.of(x[0].len())))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let images = |shape: &[usize]| (TensorType::f32(shape), Content::Fixed);
    vec![
        Sample::new(Patchify { patch: 8 }, vec![images(&[2, 3, 16, 24])]),
        Sample::new(Patchify { patch: 3 }, vec![images(&[3, 2, 9, 6])]),
    ]
}
