//! Token sequences in which what stands at a masked patch is the same in every image, as it is where a decoder begins: a
//! mask token and a position. What a layer makes of single tokens is then computed once a patch, not once an image.

use super::{launch::Items, prelude::*};

/// Items that one invocation of [`FillMasked`] moves.
const VEC4S: usize = 4;
/// Invocations side by side that move items side by side.
const ACROSS: usize = 8;

const SLOTS: [Slot; 3] = [Slot::In(0), Slot::In(1), Slot::Out(0)];

/// `y[b, t] = x[b * head + t]` for the `head` tokens of an image's own, and behind them `x[batch * head + order[b, i]]` for
/// the slots `i` from `first` on; inputs x `[batch * head + patches, width]` and order `[batch, patches]`.
#[derive(Debug, Clone, Copy)]
pub struct FillMasked {
    /// Tokens of an image's own.
    pub head: usize,
    /// First slot of the order that is filled.
    pub first: usize,
}

/// The gradient of [`FillMasked`]: rows of an image's own are copied, those of a patch summed over the images. Inputs dy
/// and the slots of [`InvertOrder`].
#[derive(Debug, Clone, Copy)]
pub struct CollectMasked(FillMasked);

/// Where in its image's order each patch stands.
#[derive(Debug, Clone, Copy)]
pub struct InvertOrder;

impl FillMasked {
    fn params(self, order: &TensorType, width: usize) -> kernels::fill_masked::Params {
        kernels::fill_masked::Params {
            batch: order.shape[0] as u32,
            head: self.head as u32,
            patches: order.shape[1] as u32,
            first: self.first as u32,
            width: width as u32,
        }
    }

    fn tokens(self, order: &[usize]) -> usize {
        self.head + order[1] - self.first
    }

    /// The row of x that token `t` of image `b` is.
    fn row(self, order: &Array, b: usize, t: usize) -> usize {
        match t.checked_sub(self.head) {
            None => b * self.head + t,
            Some(slot) => order.rows() * self.head + order.row(b)[self.first + slot] as usize,
        }
    }
}

/// The kernel for values so stored: one by one, in vec4s, or in vec4s of halves.
fn pick(y: &TensorType, items: Items, [one, vec4, f16]: [&'static Kernel; 3]) -> &'static Kernel {
    if y.dtype == DType::F16 { f16 } else { items.pick(one, vec4) }
}

/// Halves are moved in vec4s alone.
fn halves_of(x: &TensorType) -> usize {
    x.cols().is_multiple_of(4).into()
}

impl Op for FillMasked {
    fn name(&self) -> &'static str {
        "fill_masked"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (rows, order) = (&x[0].shape, &x[1].shape);
        ensure_shape!(order.len() == 2 && self.first <= order[1], "the order has too few slots");
        let wants = order[0] * self.head + order[1];
        ensure_shape!(rows.len() == 2 && rows[0] == wants, "wants {wants} rows, got {}", x[0]);
        Ok(vec![TensorType::f32(&[order[0], self.tokens(order), rows[1]])])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(dy.then(CollectMasked(*self), &[x[1].then(InvertOrder, &[])])), None]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let (order, tokens) = (x[1], self.tokens(&x[1].shape));
        let mut y = Array::zeros(&[order.rows(), tokens, x[0].cols()]);
        for i in 0..y.rows() {
            y.row_mut(i).copy_from_slice(x[0].row(self.row(order, i / tokens, i % tokens)));
        }
        vec![y]
    }

    fn stores_f16(&self, x: &[TensorType], _: &Tuning) -> usize {
        halves_of(&x[0])
    }

    fn reads_f16_with_outputs(&self, operand: usize) -> bool {
        operand == 0
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let kernels = [
            &kernels::fill_masked::FORWARD,
            &kernels::fill_masked_vec4::FORWARD,
            &kernels::fill_masked_vec4_f16::FORWARD,
        ];
        let items = Items::of_width(y[0].cols());
        let width = items.of(y[0].cols());
        let invocations = y[0].rows() * width.div_ceil(ACROSS * VEC4S) * ACROSS;
        let constants =
            [("VEC4S", VEC4S), ("ACROSS", ACROSS)].map(|(name, n)| Constant { name, value: n as u32 }).to_vec();
        let kernel = pick(&y[0], items, kernels);
        vec![Dispatch { constants, ..dispatch(kernel, self.params(&x[1], width), &SLOTS, groups(invocations)) }]
    }
}

impl Op for CollectMasked {
    fn name(&self) -> &'static str {
        "collect_masked"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (batch, tokens, width) = x[0].batch_tokens_width()?;
        let slots = &x[1].shape;
        let fits = slots.len() == 2 && slots[0] == batch && tokens == self.0.tokens(slots);
        ensure_shape!(fits, "{} does not fit the slots {}", x[0], x[1]);
        Ok(vec![TensorType::f32(&[batch * self.0.head + slots[1], width])])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let order = &InvertOrder.eval(&[x[1]])[0];
        let tokens = x[0].shape[1];
        let mut dx = Array::zeros(&[order.rows() * self.0.head + order.cols(), x[0].cols()]);
        for i in 0..x[0].rows() {
            let row = dx.row_mut(self.0.row(order, i / tokens, i % tokens));
            row.iter_mut().zip(x[0].row(i)).for_each(|(a, b)| *a += b);
        }
        vec![dx]
    }

    fn stores_f16(&self, x: &[TensorType], _: &Tuning) -> usize {
        halves_of(&x[0])
    }

    fn reads_f16_with_outputs(&self, operand: usize) -> bool {
        operand == 0
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let kernels = [
            &kernels::fill_masked::COLLECT,
            &kernels::fill_masked_vec4::COLLECT,
            &kernels::fill_masked_vec4_f16::COLLECT,
        ];
        let items = Items::of_width(y[0].cols());
        let params = self.0.params(&x[1], items.of(y[0].cols()));
        vec![dispatch(pick(&y[0], items, kernels), params, &SLOTS, groups(items.of(y[0].len())))]
    }
}

impl Op for InvertOrder {
    fn name(&self) -> &'static str {
        "invert_order"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        ensure_shape!(x[0].shape.len() == 2, "wants [batch, patches], got {}", x[0]);
        Ok(vec![TensorType::u32(&x[0].shape)])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut slots = Array::zeros(&x[0].shape);
        for b in 0..slots.rows() {
            x[0].row(b).iter().enumerate().for_each(|(slot, patch)| slots.row_mut(b)[*patch as usize] = slot as f64);
        }
        vec![slots]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let params = FillMasked { head: 0, first: 0 }.params(&x[0], 0);
        vec![dispatch(&kernels::fill_masked::INVERT, params, &[Slot::In(0), Slot::Out(0)], groups(x[0].len()))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let op = FillMasked { head: 3, first: 6 };
    let order = || (TensorType::u32(&[4, 25]), Content::Permutation);
    let of = |width: usize| Sample::new(op, vec![(TensorType::f32(&[12 + 25, width]), Content::Random), order()]);
    let halves = |shape: &[usize]| vec![(TensorType::f16(shape), Content::Fixed), order()];
    vec![
        of(36),
        of(9),
        Sample::halved(op, 1, halves(&[12 + 25, 140])),
        Sample::halved(CollectMasked(op), 1, halves(&[4, 3 + 19, 140])),
    ]
}
