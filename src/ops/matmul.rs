//! Matmuls in the three forms that a linear layer and its gradients need, so that nothing is ever transposed.

use std::{any::Any, rc::Rc};

use super::{Elementwise, Gelu, GeluAndSlope, TimesSlope, column_sum, prelude::*};
use crate::kernels::{Epilogue, Form, Tile};

/// Values of an operand that stay in a processor's own cache while a matmul reads them.
const CACHED: usize = 1 << 18;

/// A matmul; inputs a, b and for `Nt` and `Nn` optionally a bias of which each element covers a run of columns.
#[derive(Clone, Copy, Debug)]
pub struct Matmul {
    /// The form.
    pub form: Form,
}

/// A [`Matmul`] and its [`Epilogue`]; inputs a, b, the bias if there is one, and what the epilogue reads.
#[derive(Clone, Copy, Debug)]
pub struct FusedMatmul {
    /// The matmul.
    pub matmul: Matmul,
    /// What follows.
    pub epilogue: Epilogue,
}

/// Extents and strides of a matmul.
pub(super) struct Extents {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    a: (usize, usize),
    b: (usize, usize),
}

impl Matmul {
    /// Records the matmul of `a` and `b`.
    #[track_caller]
    pub fn of<'g>(form: Form, a: Tensor<'g>, b: Tensor<'g>) -> Tensor<'g> {
        a.then(Matmul { form }, &[b])
    }

    pub(super) fn extents(&self, x: &[TensorType]) -> Result<Extents, ShapeError> {
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
        let kinds = (a.dtype, b.dtype);
        ensure_shape!(matches!(kinds, (DType::F32, DType::F32) | (DType::F16, DType::F16)), "{a} times {b}");
        if let Some(bias) = x.get(2) {
            let fits = bias.shape.len() == 1 && e.n % bias.len() == 0 && self.form != Form::Tn;
            ensure_shape!(fits, "a bias {bias} does not cover {} columns", e.n);
        }
        Ok(e)
    }
}

impl Op for Matmul {
    fn name(&self) -> &'static str {
        match self.form {
            Form::Nt => "matmul_nt",
            Form::Nn => "matmul_nn",
            Form::Tn => "matmul_tn",
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
            Form::Nt => (Matmul::of(Form::Nn, dy, b), Matmul::of(Form::Tn, dy, a)),
            Form::Nn => (Matmul::of(Form::Nt, dy, b), Matmul::of(Form::Tn, a, dy)),
            Form::Tn => (Matmul::of(Form::Nt, b, dy), Matmul::of(Form::Nn, a, dy)),
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

    fn absorb(&self, next: &dyn Op, operand: usize, only: bool, tuning: &Tuning) -> Option<Rc<dyn Op>> {
        let next = next as &dyn Any;
        let epilogue = match next.downcast_ref::<Elementwise>() {
            Some(Elementwise::Add) if only => Epilogue::Add,
            None if !tuning.fuse_gelu => return None,
            None if next.is::<Gelu>() && only => Epilogue::Gelu,
            None if next.is::<GeluAndSlope>() && only => Epilogue::GeluAndSlope,
            None if next.is::<TimesSlope>() && operand == 1 && only => Epilogue::TimesSlope,
            _ => return None,
        };
        Some(Rc::new(FusedMatmul { matmul: *self, epilogue }))
    }

    fn reads_f16(&self, operand: usize, _: &[TensorType], _: &Tuning) -> ReadsF16 {
        if operand < 2 { ReadsF16::Wanted } else { ReadsF16::Never }
    }

    fn stores_f16(&self, x: &[TensorType], tuning: &Tuning) -> usize {
        let e = self.extents(x).expect("checked when recorded");
        tuning.matmul(self.form, [e.m, e.n, e.k], DType::F16).stores_f16().into()
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        self.launch(x, y, None, None, tuning)
    }

    fn flops(&self, x: &[TensorType], _: &[TensorType]) -> f64 {
        let e = self.extents(x).expect("checked when recorded");
        2.0 * e.m as f64 * e.n as f64 * e.k as f64
    }

    fn work(&self, x: &[TensorType]) -> Option<Work> {
        let e = self.extents(x).expect("checked when recorded");
        Some(Work::Matmul { form: self.form, shape: [e.m, e.n, e.k], operands: x[0].dtype })
    }
}

impl Matmul {
    /// This weight gradient with the column sums of its first operand, where its kernel has a place for them.
    pub(crate) fn with_column_sums(&self, x: &[TensorType], tuning: &Tuning) -> Option<Rc<dyn Op>> {
        let e = self.extents(x).expect("checked when recorded");
        let tile = tuning.matmul(self.form, [e.m, e.n, e.k], x[0].dtype);
        let fused = FusedMatmul { matmul: *self, epilogue: Epilogue::ColumnSums };
        (self.form == Form::Tn && tile.sums_columns()).then(|| Rc::new(fused) as Rc<dyn Op>)
    }

    /// The dispatch, with the epilogue of a fused matmul, for which `x` ends with what the epilogue reads; or divided
    /// into parts of so many terms, by the tile given.
    pub(super) fn launch(
        &self,
        x: &[TensorType],
        y: &[TensorType],
        epilogue: Option<Epilogue>,
        divided: Option<(Tile, usize)>,
        tuning: &Tuning,
    ) -> Vec<Dispatch> {
        let extra = epilogue.is_some_and(Epilogue::has_extra);
        let e = self.extents(&x[..x.len() - usize::from(extra)]).expect("checked when recorded");
        let has_bias = x.len() - usize::from(extra) == 3;
        let (tile, part) = divided.unwrap_or_else(|| (tuning.matmul(self.form, [e.m, e.n, e.k], x[0].dtype), e.k));
        // Neighbouring workgroups read all of one operand: the smaller one, unless a processor's cache holds either.
        let rows_first = matches!(tile, Tile::SubgroupVec4 { .. }) && e.m < e.n && e.n * e.k > CACHED;
        let params = kernels::matmul_register::Params {
            m: e.m as u32,
            n: e.n as u32,
            k: e.k as u32,
            a_row: e.a.0 as u32,
            a_k: e.a.1 as u32,
            b_k: e.b.0 as u32,
            b_column: e.b.1 as u32,
            bias_repeat: if has_bias { e.n / x[2].len() } else { 0 } as u32,
            rows_first: rows_first.into(),
            part: part as u32,
        };
        let b = Slot::In(1);
        let bias = if has_bias { Slot::In(2) } else { b };
        let more = if extra { Slot::In(x.len() - 1) } else { b };
        let mut slots = vec![Slot::In(0), b, bias, more, Slot::Out(0)];
        let mut constants = Vec::new();
        let both = epilogue == Some(Epilogue::GeluAndSlope);
        if both {
            // An epilogue of its own, which reads nothing more.
            slots.remove(3);
        } else {
            constants.push(Constant { name: "EPILOGUE", value: epilogue.map_or(0, Epilogue::code) });
        }
        let sums = epilogue == Some(Epilogue::ColumnSums);
        if both || sums && tile.sums_columns() {
            slots.push(Slot::Out(1));
        }
        let (kernel, size) =
            tile.kernel(self.form, [e.m, e.n, e.k], epilogue, [x[0].dtype, y[0].dtype], &mut constants);
        let mut groups = [e.n.div_ceil(size.1) as u32, e.m.div_ceil(size.0) as u32, e.k.div_ceil(part).max(1) as u32];
        if rows_first {
            groups.swap(0, 1);
        }
        let matmul = Dispatch { constants, ..dispatch(kernel, params, &slots, groups) };
        if sums && !tile.sums_columns() {
            return vec![matmul, column_sum::at_once(&x[0])];
        }
        vec![matmul]
    }
}

impl FusedMatmul {
    /// The matmul's own inputs.
    fn own<'a, T>(&self, x: &'a [T]) -> &'a [T] {
        &x[..x.len() - usize::from(self.epilogue.has_extra())]
    }
}

impl Op for FusedMatmul {
    fn name(&self) -> &'static str {
        match (self.matmul.form, self.epilogue) {
            (Form::Nt, Epilogue::Add) => "matmul_nt+add",
            (Form::Nt, Epilogue::Gelu | Epilogue::GeluAndSlope) => "matmul_nt+gelu",
            (Form::Nt, Epilogue::TimesSlope) => "matmul_nt+gelu_backward",
            (Form::Nn, Epilogue::Add) => "matmul_nn+add",
            (Form::Nn, Epilogue::Gelu | Epilogue::GeluAndSlope) => "matmul_nn+gelu",
            (Form::Nn, Epilogue::TimesSlope) => "matmul_nn+gelu_backward",
            (Form::Tn, Epilogue::Add) => "matmul_tn+add",
            (Form::Tn, Epilogue::Gelu | Epilogue::GeluAndSlope) => "matmul_tn+gelu",
            (Form::Tn, Epilogue::TimesSlope) => "matmul_tn+gelu_backward",
            (_, Epilogue::ColumnSums) => "matmul_tn+column_sum",
        }
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let y = self.matmul.infer(self.own(x))?.remove(0);
        if self.epilogue.has_extra() {
            ensure_shape!(x[x.len() - 1].shape == y.shape, "the epilogue's input must be {y}");
        }
        Ok(match self.epilogue {
            Epilogue::GeluAndSlope => vec![y.clone(), y],
            Epilogue::ColumnSums => vec![y, TensorType::f32(&[1, x[0].cols()])],
            _ => vec![y],
        })
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let sum = self.matmul.eval(self.own(x)).remove(0);
        let last = x[x.len() - 1];
        match self.epilogue {
            Epilogue::Add => Elementwise::Add.eval(&[&sum, last]),
            Epilogue::Gelu => Gelu.eval(&[&sum]),
            Epilogue::GeluAndSlope => GeluAndSlope.eval(&[&sum]),
            Epilogue::TimesSlope => TimesSlope.eval(&[last, &sum]),
            Epilogue::ColumnSums => {
                let mut columns = Array::zeros(&[1, x[0].cols()]);
                for i in 0..x[0].rows() {
                    columns.data.iter_mut().zip(x[0].row(i)).for_each(|(sum, v)| *sum += v);
                }
                vec![sum, columns]
            }
        }
    }

    fn reads_f16(&self, operand: usize, x: &[TensorType], tuning: &Tuning) -> ReadsF16 {
        self.matmul.reads_f16(operand, self.own(x), tuning)
    }

    fn stores_f16(&self, x: &[TensorType], tuning: &Tuning) -> usize {
        let outputs = match self.epilogue {
            Epilogue::GeluAndSlope => 2,
            Epilogue::Gelu | Epilogue::TimesSlope => 1,
            // Sums of the residual stream and of weights' gradients stay f32.
            Epilogue::Add | Epilogue::ColumnSums => 0,
        };
        outputs * self.matmul.stores_f16(self.own(x), tuning)
    }

    fn reads_f16_with_outputs(&self, operand: usize) -> bool {
        self.epilogue == Epilogue::TimesSlope && operand > 1
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        self.matmul.launch(x, y, Some(self.epilogue), None, tuning)
    }

    fn flops(&self, x: &[TensorType], y: &[TensorType]) -> f64 {
        self.matmul.flops(self.own(x), y)
    }

    fn work(&self, x: &[TensorType]) -> Option<Work> {
        self.matmul.work(self.own(x))
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let op = |form| Matmul { form };
    let halves_of = |shapes: &[&[usize]]| -> Vec<_> {
        shapes.iter().map(|shape| (TensorType::f16(shape), Content::Fixed)).collect()
    };
    let half = |form, epilogue: Option<Epilogue>, operands: [&[usize]; 2], rest: &[&[usize]]| {
        let rest = rest.iter().map(|shape| (TensorType::f32(shape), Content::Fixed)).collect();
        let inputs = [halves_of(&operands), rest].concat();
        match epilogue {
            Some(epilogue) => Sample::new(FusedMatmul { matmul: op(form), epilogue }, inputs),
            None => Sample::new(op(form), inputs),
        }
    };
    let halves = |form, epilogue: Option<Epilogue>, operands: [&[usize]; 2], bias: &[usize], extra: &[&[usize]]| {
        let bias = bias.iter().map(|len| (TensorType::f32(&[*len]), Content::Fixed)).collect();
        let inputs = [halves_of(&operands), bias, halves_of(extra)].concat();
        match epilogue {
            Some(epilogue) => {
                let outputs = if epilogue == Epilogue::GeluAndSlope { 2 } else { 1 };
                Sample::halved(FusedMatmul { matmul: op(form), epilogue }, outputs, inputs)
            }
            None => Sample::halved(op(form), 1, inputs),
        }
    };
    let fused = |form, epilogue, shapes: &[&[usize]]| {
        let inputs = shapes.iter().map(|s| (TensorType::f32(s), Content::Fixed)).collect();
        Sample::new(FusedMatmul { matmul: Matmul { form }, epilogue }, inputs)
    };
    vec![
        Sample::random(op(Form::Nt), &[&[2, 37, 18], &[70, 18], &[70]]),
        Sample::random(op(Form::Nt), &[&[65, 64], &[33, 64]]),
        Sample::random(op(Form::Nt), &[&[8, 6], &[64, 6]]),
        Sample::random(op(Form::Nn), &[&[67, 20], &[20, 48], &[3]]),
        Sample::random(op(Form::Tn), &[&[3, 23, 34], &[3, 23, 66]]),
        Sample::random(op(Form::Nn), &[&[9, 7], &[7, 5]]),
        Sample::random(op(Form::Nt), &[&[2, 37, 20], &[68, 20], &[34]]),
        Sample::random(op(Form::Tn), &[&[3, 23, 36], &[3, 23, 68]]),
        // In pairs of vec4s where others are in single ones.
        Sample::random(op(Form::Tn), &[&[3, 23, 40], &[3, 23, 72]]),
        Sample::random(op(Form::Nt), &[&[2, 37, 24], &[72, 24], &[36]]),
        // Long enough to be divided.
        Sample::random(op(Form::Tn), &[&[600, 36], &[600, 68]]),
        // Large enough, in every form, for a tile that is not compiled for less.
        Sample::random(op(Form::Nt), &[&[132, 132], &[132, 132], &[132]]),
        fused(Form::Nt, Epilogue::Add, &[&[2, 37, 18], &[70, 18], &[70], &[2, 37, 70]]),
        fused(Form::Nt, Epilogue::Gelu, &[&[65, 64], &[33, 64], &[33]]),
        fused(Form::Nt, Epilogue::GeluAndSlope, &[&[66, 20], &[34, 20], &[34]]),
        fused(Form::Nt, Epilogue::GeluAndSlope, &[&[9, 7], &[35, 7]]),
        fused(Form::Nt, Epilogue::GeluAndSlope, &[&[70, 12], &[36, 12], &[36]]),
        fused(Form::Tn, Epilogue::Add, &[&[3, 23, 40], &[3, 23, 72], &[40, 72]]),
        fused(Form::Nt, Epilogue::Add, &[&[2, 37, 24], &[72, 24], &[72], &[2, 37, 72]]),
        fused(Form::Nt, Epilogue::GeluAndSlope, &[&[70, 16], &[40, 16], &[40]]),
        fused(Form::Nn, Epilogue::TimesSlope, &[&[67, 24], &[24, 72], &[67, 72]]),
        fused(Form::Nn, Epilogue::Add, &[&[67, 20], &[20, 49], &[67, 49]]),
        fused(Form::Nn, Epilogue::TimesSlope, &[&[67, 20], &[20, 48], &[67, 48]]),
        fused(Form::Tn, Epilogue::Add, &[&[3, 23, 34], &[3, 23, 66], &[34, 66]]),
        fused(Form::Tn, Epilogue::ColumnSums, &[&[3, 23, 76], &[3, 23, 68]]),
        fused(Form::Tn, Epilogue::ColumnSums, &[&[3, 23, 80], &[3, 23, 72]]),
        fused(Form::Tn, Epilogue::ColumnSums, &[&[9, 6], &[9, 5]]),
        half(Form::Tn, Some(Epilogue::ColumnSums), [&[3, 23, 76], &[3, 23, 68]], &[]),
        half(Form::Tn, Some(Epilogue::ColumnSums), [&[3, 23, 80], &[3, 23, 72]], &[]),
        half(Form::Nt, None, [&[2, 37, 20], &[68, 20]], &[&[34]]),
        half(Form::Nn, None, [&[67, 20], &[20, 48]], &[]),
        half(Form::Tn, None, [&[3, 23, 36], &[3, 23, 68]], &[]),
        half(Form::Nt, None, [&[10, 7], &[6, 7]], &[&[6]]),
        // Whole blocks of matrix units, and rows that are none.
        half(Form::Nt, None, [&[137, 48], &[80, 48]], &[&[40]]),
        half(Form::Nn, None, [&[70, 32], &[32, 72]], &[]),
        half(Form::Tn, None, [&[3, 32, 40], &[3, 32, 88]], &[]),
        half(Form::Tn, None, [&[592, 40], &[592, 72]], &[]),
        half(Form::Nt, Some(Epilogue::Add), [&[5, 29, 48], &[48, 48]], &[&[48], &[5, 29, 48]]),
        half(Form::Nt, Some(Epilogue::Gelu), [&[33, 16], &[24, 16]], &[&[24]]),
        half(Form::Nt, Some(Epilogue::GeluAndSlope), [&[65, 32], &[72, 32]], &[&[72]]),
        half(Form::Nn, Some(Epilogue::TimesSlope), [&[66, 32], &[32, 40]], &[&[66, 40]]),
        half(Form::Tn, Some(Epilogue::Add), [&[32, 40], &[32, 24]], &[&[40, 24]]),
        halves(Form::Nt, None, [&[2, 37, 20], &[68, 20]], &[34], &[]),
        halves(Form::Nn, None, [&[66, 32], &[32, 40]], &[], &[]),
        halves(Form::Nt, Some(Epilogue::Gelu), [&[33, 16], &[24, 16]], &[24], &[]),
        halves(Form::Nt, Some(Epilogue::GeluAndSlope), [&[65, 32], &[40, 32]], &[40], &[]),
        halves(Form::Nn, Some(Epilogue::TimesSlope), [&[66, 32], &[32, 40]], &[], &[&[66, 40]]),
        half(Form::Tn, None, [&[600, 36], &[600, 68]], &[]),
        half(Form::Nt, Some(Epilogue::GeluAndSlope), [&[70, 12], &[36, 12]], &[&[36]]),
        half(Form::Nn, Some(Epilogue::Add), [&[66, 22], &[22, 34]], &[&[66, 34]]),
    ]
}
