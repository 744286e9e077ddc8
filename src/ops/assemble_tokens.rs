//! Token sequences: class token and visible patches for the encoder, visible tokens and mask tokens for the decoders.

use super::{SliceRows, column_sum, launch::Items, prelude::*};

/// `y = [prefix; rest + position]`; inputs prefix `[batch, head, width]` or one shared token `[width]`, rest `[batch, tail,
/// width]` or one shared token `[width]`, position `[batch, tail, width]` (no gradient) or `[tail, width]` for all images.
#[derive(Debug, Clone, Copy)]
pub struct AssembleTokens;

/// Batch, head, tail and width.
fn extents(x: &[TensorType]) -> Result<(usize, usize, usize, usize), ShapeError> {
    let (batch, tail, width) = match x[2].shape[..] {
        [tail, width] => (x[1].batch_tokens_width()?.0, tail, width),
        _ => x[2].batch_tokens_width()?,
    };
    let head = if x[0].shape == [width] { 1 } else { x[0].batch_tokens_width()?.1 };
    ensure_shape!(x[0].shape == [width] || x[0].shape == [batch, head, width], "prefix {} does not fit", x[0]);
    ensure_shape!(x[1].shape == [width] || x[1].shape == [batch, tail, width], "rest {} does not fit", x[1]);
    Ok((batch, head, tail, width))
}

impl Op for AssembleTokens {
    fn name(&self) -> &'static str {
        "assemble_tokens"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (batch, head, tail, width) = extents(x)?;
        Ok(vec![TensorType::f32(&[batch, head + tail, width])])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        let types: Vec<_> = x.iter().map(|t| t.ty()).collect();
        let (batch, head, tail, width) = extents(&types).expect("checked when recorded");
        let part = |first, count, shared: bool| {
            let run = dy.then(SliceRows { first, count }, &[]);
            Some(if shared { column_sum::columns(run) } else { run })
        };
        let shared = |t: &TensorType| t.shape.len() == 1;
        let table = (types[2].shape.len() == 2).then(|| {
            let run = dy.then(SliceRows { first: head, count: tail }, &[]);
            column_sum::columns(run.reshape(&[batch, tail * width])).reshape(&[tail, width])
        });
        vec![part(0, head, shared(&types[0])), part(head, tail, shared(&types[1])), table]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let types: Vec<_> = x.iter().map(|a| TensorType::f32(&a.shape)).collect();
        let (batch, head, tail, width) = extents(&types).expect("checked when recorded");
        let mut y = Array::zeros(&[batch, head + tail, width]);
        let row = |a: &Array, i: usize| if a.shape.len() == 1 { a.data.clone() } else { a.row(i).to_vec() };
        for b in 0..batch {
            for t in 0..head + tail {
                let token = if t < head {
                    row(x[0], b * head + t)
                } else {
                    let slot = b * tail + t - head;
                    let position = x[2].row(if x[2].shape.len() == 2 { t - head } else { slot });
                    row(x[1], slot).iter().zip(position).map(|(a, p)| a + p).collect()
                };
                y.row_mut(b * (head + tail) + t).copy_from_slice(&token);
            }
        }
        vec![y]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let (batch, head, tail, width) = extents(x).expect("checked when recorded");
        let items = Items::of_width(width);
        let kernel = items.pick(&kernels::assemble_tokens::FORWARD, &kernels::assemble_tokens_vec4::FORWARD);
        let params = kernels::assemble_tokens::Params {
            batch: batch as u32,
            head: head as u32,
            tail: tail as u32,
            width: items.of(width) as u32,
            prefix_shared: (x[0].shape.len() == 1).into(),
            rest_shared: (x[1].shape.len() == 1).into(),
            position_shared: (x[2].shape.len() == 2).into(),
        };
        let slots = [Slot::In(0), Slot::In(1), Slot::In(2), Slot::Out(0)];
        vec![dispatch(kernel, params, &slots, groups(items.of(y[0].len())))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let input = |shape: &[usize], content| (TensorType::f32(shape), content);
    let of = |prefix: &[usize], rest: &[usize]| {
        let position = input(&[3, 19, prefix[prefix.len() - 1]], Content::Fixed);
        Sample::new(AssembleTokens, vec![input(prefix, Content::Random), input(rest, Content::Random), position])
    };
    let table = |width: usize| {
        let (prefix, rest, table) = (vec![width], vec![3, 19, width], vec![19, width]);
        Sample::random(AssembleTokens, &[&prefix, &rest, &table])
    };
    vec![
        of(&[20], &[3, 19, 20]),
        of(&[3, 7, 20], &[20]),
        of(&[18], &[3, 19, 18]),
        of(&[3, 7, 9], &[9]),
        table(20),
        table(9),
    ]
}
