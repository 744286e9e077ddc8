//! Rows of a table by index: visible and masked patches, and their positions.

use super::{launch::Items, prelude::*};

/// `y[b, i] = table[b, order[b, first + i]]` for `count` rows; inputs table `[batch, rows, width]` (or `[rows, width]`,
/// shared by all images) and order `[batch, n]`.
#[derive(Debug, Clone, Copy)]
pub struct GatherRows {
    /// First slot of the order.
    pub first: usize,
    /// Slots taken.
    pub count: usize,
}

/// The gradient of the table: each row sums what was taken from it; inputs dy and order.
#[derive(Debug)]
pub struct ScatterRows {
    first: usize,
    table: Vec<usize>,
}

fn params(
    table: &[usize],
    order: &TensorType,
    first: usize,
    count: usize,
    items: Items,
) -> kernels::gather_rows::Params {
    let (rows, width) = (table[table.len() - 2], items.of(table[table.len() - 1]));
    kernels::gather_rows::Params {
        batch: order.shape[0] as u32,
        rows: rows as u32,
        width: width as u32,
        n: order.shape[1] as u32,
        first: first as u32,
        count: count as u32,
        table_stride: if table.len() == 2 { 0 } else { (rows * width) as u32 },
    }
}

/// Calls `f(table row, slot row)` for every slot taken.
fn each_slot(table: &[usize], order: &Array, first: usize, count: usize, mut f: impl FnMut(usize, usize)) {
    let rows = table[table.len() - 2];
    for b in 0..order.shape[0] {
        for i in 0..count {
            let row = order.row(b)[first + i] as usize;
            f(if table.len() == 2 { row } else { b * rows + row }, b * count + i);
        }
    }
}

impl Op for GatherRows {
    fn name(&self) -> &'static str {
        "gather_rows"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let (table, order) = (&x[0].shape, &x[1].shape);
        ensure_shape!(order.len() == 2 && self.first + self.count <= order[1], "the order has too few slots");
        let batched = table.len() == 3 && table[0] == order[0];
        ensure_shape!(batched || table.len() == 2, "the table must be [batch, rows, width] or [rows, width]");
        Ok(vec![TensorType::f32(&[order[0], self.count, table[table.len() - 1]])])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        vec![Some(dy.then(ScatterRows { first: self.first, table: x[0].shape() }, &[x[1]])), None]
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut y = Array::zeros(&[x[1].shape[0], self.count, x[0].cols()]);
        each_slot(&x[0].shape, x[1], self.first, self.count, |row, slot| {
            y.row_mut(slot).copy_from_slice(x[0].row(row));
        });
        vec![y]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let items = Items::of_width(y[0].cols());
        let kernel = items.pick(&kernels::gather_rows::FORWARD, &kernels::gather_rows_vec4::FORWARD);
        let params = params(&x[0].shape, &x[1], self.first, self.count, items);
        let slots = [Slot::In(0), Slot::In(1), Slot::Out(0)];
        vec![dispatch(kernel, params, &slots, groups(items.of(y[0].len())))]
    }
}

impl Op for ScatterRows {
    fn name(&self) -> &'static str {
        "scatter_rows"
    }

    fn infer(&self, _: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        Ok(vec![TensorType::f32(&self.table)])
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let mut dx = Array::zeros(&self.table);
        each_slot(&self.table, x[1], self.first, x[0].shape[1], |row, slot| {
            dx.row_mut(row).iter_mut().zip(x[0].row(slot)).for_each(|(a, b)| *a += b);
        });
        vec![dx]
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], _: &Tuning) -> Vec<Dispatch> {
        let items = Items::of_width(y[0].cols());
        let kernel = items.pick(&kernels::gather_rows::SCATTER, &kernels::gather_rows_vec4::SCATTER);
        let params = params(&self.table, &x[1], self.first, x[0].shape[1], items);
        let slots = [Slot::In(0), Slot::In(1), Slot::Out(0)];
        vec![dispatch(kernel, params, &slots, groups(items.of(y[0].len())))]
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let order = || (TensorType::u32(&[3, 25]), Content::Permutation);
    let table = |shape: &[usize]| (TensorType::f32(shape), Content::Random);
    vec![
        Sample::new(GatherRows { first: 0, count: 6 }, vec![table(&[3, 25, 20]), order()]),
        Sample::new(GatherRows { first: 6, count: 19 }, vec![table(&[25, 8]), order()]),
        Sample::new(GatherRows { first: 6, count: 19 }, vec![table(&[3, 25, 7]), order()]),
        Sample::new(GatherRows { first: 0, count: 6 }, vec![table(&[25, 10]), order()]),
    ]
}
