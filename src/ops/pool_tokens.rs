//! The mean of an image's tokens: the feature that heads take.

use super::{launch::Items, prelude::*};

/// The mean of tokens `first ..` of `[batch, tokens, width]`: `[batch, width]`. With the class token in front, 1 leaves
/// it out.
#[derive(Debug, Clone, Copy)]
pub struct PoolTokens {
    /// First token that counts.
    pub first: usize,
}

/// The gradient of [`PoolTokens`]: `dy [batch, width]` divided by the tokens that count, for each of these, zeros for
/// the others.
#[derive(Debug, Clone, Copy)]
pub struct SpreadTokens {
    first: usize,
    tokens: usize,
}

/// A dispatch of one of two kernels over `invocations` values or vec4s of them.
fn launch(
    [one, vec4]: [&'static Kernel; 2],
    [batch, tokens, width]: [usize; 3],
    first: usize,
    invocations: usize,
) -> Vec<Dispatch> {
    let items = Items::of_width(width);
    let params = kernels::pool_tokens::Params {
        batch: batch as u32,
        tokens: tokens as u32,
        width: items.of(width) as u32,
        first: first as u32,
    };
    let slots = [Slot::In(0), Slot::Out(0)];
    vec![dispatch(items.pick(one, vec4), params, &slots, groups(items.of(invocations)))]
}

impl Op for PoolTokens {
    fn name(&self) -> &'static str {
        "pool_tokens"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (batch, tokens, width) = x[0].batch_tokens_width()?;
        ensure_shape!(self.first < tokens, "no token of {tokens} from {} on", self.first);
        Ok(vec![TensorType::f32(&[batch, width])])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(dy.then(SpreadTokens { first: self.first, tokens: x[0].shape()[1] }, &[]))]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let [batch, tokens, width] = x[0].shape[..] else { unreachable!("checked when recorded") };
        let mut y = Array::zeros(&[batch, width]);
        for (image, sums) in y.data.chunks_mut(width).enumerate() {
            for token in self.first..tokens {
                sums.iter_mut().zip(x[0].row(image * tokens + token)).for_each(|(sum, v)| *sum += v);
            }
            sums.iter_mut().for_each(|sum| *sum /= (tokens - self.first) as f64);
        }
        vec![y]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let (batch, tokens, width) = x[0].batch_tokens_width().expect("checked when recorded");
        let kernels = [&kernels::pool_tokens::FORWARD, &kernels::pool_tokens_vec4::FORWARD];
        launch(kernels, [batch, tokens, width], self.first, y[0].len())
    }
}

impl Op for SpreadTokens {
    fn name(&self) -> &'static str {
        "spread_tokens"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::f32(&[x[0].rows(), self.tokens, x[0].cols()])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut dx = Array::zeros(&[x[0].rows(), self.tokens, x[0].cols()]);
        for row in (0..dx.rows()).filter(|row| row % self.tokens >= self.first) {
            let share = x[0].row(row / self.tokens).iter().map(|v| v / (self.tokens - self.first) as f64);
            dx.row_mut(row).iter_mut().zip(share).for_each(|(dx, v)| *dx = v);
        }
        vec![dx]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let kernels = [&kernels::pool_tokens::BACKWARD, &kernels::pool_tokens_vec4::BACKWARD];
        launch(kernels, [x[0].rows(), self.tokens, x[0].cols()], self.first, y[0].len())
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let of = |first, shape: &[usize]| Sample::random(PoolTokens { first }, &[shape]);
    vec![of(1, &[3, 26, 20]), of(1, &[2, 2, 7]), of(4, &[5, 9, 67]), of(0, &[1, 1, 268])]
}
