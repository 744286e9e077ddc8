//! Matrix products in the three forms that a linear layer and its gradients need, so that nothing is ever transposed.

use super::{column_sum, prelude::*};

/// Which sides of the product are read along their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `y[.., n] = sum_k a[.., k] b[n, k]`: a linear layer with weights `[out, in]`.
    Nt,
    /// `y[.., n] = sum_k a[.., k] b[k, n]`: the gradient of its input.
    Nn,
    /// `y[m, n] = sum_r a[r, m] b[r, n]` over all rows r: the gradient of its weights.
    Tn,
}

/// A matrix product; inputs a, b and for `Nt` and `Nn` optionally a bias of which each element covers a run of columns.
#[derive(Clone, Copy, Debug)]
pub struct Product {
    /// The form.
    pub form: Form,
}

/// The kernel variant of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// One output an invocation: the yardstick.
    Plain,
    /// A register tile of `rows × cols` an invocation, `group_rows × group_cols` invocations a workgroup.
    Register {
        /// Rows of an invocation.
        rows: u32,
        /// Columns of an invocation.
        cols: u32,
        /// Invocations of a workgroup along the rows.
        group_rows: u32,
        /// Invocations of a workgroup along the columns.
        group_cols: u32,
    },
    /// One subgroup of `lanes` invocations a workgroup; each lane loads `rows` rows and `cols` columns.
    Subgroup {
        /// Invocations of a subgroup.
        lanes: u32,
        /// Rows that a lane loads.
        rows: u32,
        /// Columns that a lane computes.
        cols: u32,
    },
}

impl Default for Tile {
    fn default() -> Tile {
        Tile::Register { rows: 8, cols: 8, group_rows: 1, group_cols: 8 }
    }
}

/// Extents and strides of a product.
struct Extents {
    m: usize,
    n: usize,
    k: usize,
    a: (usize, usize),
    b: (usize, usize),
}

impl Product {
    /// Records the product of `a` and `b`.
    #[track_caller]
    pub fn of<'g>(form: Form, a: Tensor<'g>, b: Tensor<'g>) -> Tensor<'g> {
        a.then(Product { form }, &[b])
    }

    fn extents(&self, x: &[TensorType]) -> Result<Extents, ShapeError> {
        let (a, b) = (&x[0], &x[1]);
        let e = match self.form {
            Form::Nt => Extents { m: a.rows(), n: b.rows(), k: a.cols(), a: (a.cols(), 1), b: (1, b.cols()) },
            Form::Nn => Extents { m: a.rows(), n: b.cols(), k: a.cols(), a: (a.cols(), 1), b: (b.cols(), 1) },
            Form::Tn => Extents { m: a.cols(), n: b.cols(), k: a.rows(), a: (1, a.cols()), b: (b.cols(), 1) },
        };
        let (b_inner, flat) = match self.form {
            Form::Nt => (b.cols(), b.shape.len() == 2),
            Form::Nn => (b.rows(), b.shape.len() == 2),
            Form::Tn => (b.rows(), true),
        };
        ensure_shape!(flat && b_inner == e.k, "{:?} sums over {} of a and {b_inner} of b", self.form, e.k);
        if let Some(bias) = x.get(2) {
            let fits = bias.shape.len() == 1 && e.n % bias.len() == 0 && self.form != Form::Tn;
            ensure_shape!(fits, "a bias {bias} does not cover {} columns", e.n);
        }
        Ok(e)
    }
}

impl Op for Product {
    fn name(&self) -> &'static str {
        match self.form {
            Form::Nt => "product_nt",
            Form::Nn => "product_nn",
            Form::Tn => "product_tn",
        }
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let e = self.extents(x)?;
        let shape = match self.form {
            Form::Tn => vec![e.m, e.n],
            _ => x[0].shape[..x[0].shape.len() - 1].iter().copied().chain([e.n]).collect(),
        };
        Ok(vec![TensorType::f32(&shape)])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], _: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        let (a, b) = (x[0], x[1]);
        let (da, db) = match self.form {
            Form::Nt => (Product::of(Form::Nn, dy, b), Product::of(Form::Tn, dy, a)),
            Form::Nn => (Product::of(Form::Nt, dy, b), Product::of(Form::Tn, a, dy)),
            Form::Tn => (Product::of(Form::Nt, b, dy), Product::of(Form::Nn, a, dy)),
        };
        let bias = x.get(2).map(|bias| {
            let repeat = dy.ty().cols() / bias.ty().len();
            Some(column_sum::columns_in_runs(dy, repeat))
        });
        [Some(da), Some(db)].into_iter().chain(bias).collect()
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let types: Vec<_> = x.iter().map(|a| TensorType::f32(&a.shape)).collect();
        let e = self.extents(&types).expect("checked when recorded");
        let shape = self.infer(&types).expect("checked when recorded").remove(0).shape;
        let mut y = Array::zeros(&shape);
        for m in 0..e.m {
            let row = &mut y.data[m * e.n..(m + 1) * e.n];
            if let Some(bias) = x.get(2) {
                row.iter_mut().enumerate().for_each(|(n, v)| *v = bias.data[n * bias.data.len() / e.n]);
            }
            for k in 0..e.k {
                let a = x[0].data[m * e.a.0 + k * e.a.1];
                let b = &x[1].data[k * e.b.0..];
                row.iter_mut().enumerate().for_each(|(n, v)| *v += a * b[n * e.b.1]);
            }
        }
        vec![y]
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let e = self.extents(x).expect("checked when recorded");
        let params = kernels::product::Params {
            m: e.m as u32,
            n: e.n as u32,
            k: e.k as u32,
            a_row: e.a.0 as u32,
            a_k: e.a.1 as u32,
            b_k: e.b.0 as u32,
            b_column: e.b.1 as u32,
            bias_repeat: x.get(2).map_or(1, |bias| e.n / bias.len()) as u32,
        };
        let bias = if x.len() == 3 { Slot::In(2) } else { Slot::In(1) };
        let (kernel, tile, mut constants) = tuning.product.kernel();
        constants.push(Constant { name: "HAS_BIAS", value: (x.len() == 3).into() });
        let groups = [e.n.div_ceil(tile.1) as u32, e.m.div_ceil(tile.0) as u32, 1];
        let slots = [Slot::In(0), Slot::In(1), bias, Slot::Out(0)];
        vec![Dispatch { constants, ..dispatch(kernel, params, &slots, groups) }]
    }

    fn flops(&self, x: &[TensorType], _: &[TensorType]) -> f64 {
        let e = self.extents(x).expect("checked when recorded");
        2.0 * e.m as f64 * e.n as f64 * e.k as f64
    }
}

impl Tile {
    /// The kernel, the rows and columns that one workgroup computes, and the shader's constants.
    fn kernel(self) -> (&'static Kernel, (usize, usize), Vec<Constant>) {
        let set =
            |list: &[(&'static str, u32)]| list.iter().map(|(name, value)| Constant { name, value: *value }).collect();
        match self {
            Tile::Plain => (&kernels::product_plain::FORWARD, (8, 8), Vec::new()),
            Tile::Register { rows, cols, group_rows, group_cols } => (
                &kernels::product::FORWARD,
                ((rows * group_rows) as usize, (cols * group_cols) as usize),
                set(&[
                    ("TILE_M", rows),
                    ("TILE_N", cols),
                    ("TILE", rows * cols),
                    ("GROUP_M", group_rows),
                    ("GROUP_N", group_cols),
                ]),
            ),
            Tile::Subgroup { lanes, rows, cols } => (
                &kernels::product_subgroup::FORWARD,
                ((rows * lanes) as usize, (cols * lanes) as usize),
                set(&[("LANES", lanes), ("TILE_L", rows), ("TILE_N", cols), ("TILE", lanes * rows * cols)]),
            ),
        }
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let op = |form| Product { form };
    vec![
        Sample::random(op(Form::Nt), &[&[2, 37, 18], &[70, 18], &[70]]),
        Sample::random(op(Form::Nt), &[&[65, 64], &[33, 64]]),
        Sample::random(op(Form::Nn), &[&[67, 20], &[20, 48], &[3]]),
        Sample::random(op(Form::Tn), &[&[3, 23, 34], &[3, 23, 66]]),
    ]
}
