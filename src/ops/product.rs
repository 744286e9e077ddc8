//! Matrix products in the three forms that a linear layer and its gradients need, so that nothing is ever transposed.

use std::{any::Any, rc::Rc};

use super::{
    Elementwise, Gelu, GeluBackward, column_sum,
    divided_product::{PartialProducts, SumOfParts},
    prelude::*,
    tuning::NARROW,
};

/// Which sides of the product are read along their rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
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

/// What a product does to each of its sums (bias included) before it stores them, so that no operation has to read them
/// again. Recorded by the fusion pass, not by models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Epilogue {
    /// Adds the last input.
    Add,
    /// Stores the GELU.
    Gelu,
    /// Stores the sum, and its GELU as a second output.
    SumAndGelu,
    /// Multiplies by the slope of GELU at the last input.
    GeluSlope,
}

/// A [`Product`] and its [`Epilogue`]; inputs a, b, the bias if there is one, and what the epilogue reads.
#[derive(Clone, Copy, Debug)]
pub struct FusedProduct {
    /// The product.
    pub product: Product,
    /// What follows.
    pub epilogue: Epilogue,
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
    /// As `Register`, four values a load and four terms a time; needs `k` and what lies side by side to be multiples of 4.
    Quads {
        /// Rows of an invocation, a multiple of 4.
        rows: u32,
        /// Columns of an invocation, a multiple of 4.
        cols: u32,
        /// Invocations of a workgroup along the rows.
        group_rows: u32,
        /// Invocations of a workgroup along the columns.
        group_cols: u32,
    },
    /// As `Register`, but from slabs of `depth` terms in the workgroup's shared memory; needs extents that are multiples
    /// of 4 where values lie side by side.
    Workgroup {
        /// Rows of an invocation, a multiple of 4.
        rows: u32,
        /// Columns of an invocation, a multiple of 4.
        cols: u32,
        /// Invocations of a workgroup along the rows.
        group_rows: u32,
        /// Invocations of a workgroup along the columns.
        group_cols: u32,
        /// Terms of a slab, a multiple of 4.
        depth: u32,
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
    /// Blocks of `side × side` by matrix units, for operands in half precision: `rows × cols` of them a subgroup,
    /// `group_rows × group_cols` subgroups of `lanes` a workgroup. `side` divides `k`.
    Matrix {
        /// Rows and columns of a block, and terms taken at a time: 8 or 16.
        side: u32,
        /// Blocks of a subgroup along the rows.
        rows: u32,
        /// Blocks of a subgroup along the columns.
        cols: u32,
        /// Subgroups along the rows.
        group_rows: u32,
        /// Subgroups along the columns.
        group_cols: u32,
        /// The fewest invocations of a subgroup.
        lanes: u32,
    },
    /// As `Subgroup`, but values are loaded and stored in pairs; needs 64-bit integers and even extents.
    Pairs {
        /// Invocations of a subgroup.
        lanes: u32,
        /// Rows of a lane.
        rows: u32,
        /// Columns of a lane, an even number.
        cols: u32,
    },
}

/// Workgroups that keep a large GPU busy.
const BUSY_GROUPS: usize = 512;
/// Terms below which a sum is not divided: a partial sum is stored and read once more.
const LEAST_TERMS: usize = 256;
/// Values that the parts of one product take at most, 64 MiB.
const MOST_PARTIAL: usize = 1 << 24;

impl Default for Tile {
    fn default() -> Tile {
        Tile::Register { rows: 8, cols: 8, group_rows: 1, group_cols: 8 }
    }
}

/// Extents and strides of a product.
pub(super) struct Extents {
    pub(super) m: usize,
    pub(super) n: usize,
    pub(super) k: usize,
    a: (usize, usize),
    b: (usize, usize),
}

impl Product {
    /// Records the product of `a` and `b`.
    #[track_caller]
    pub fn of<'g>(form: Form, a: Tensor<'g>, b: Tensor<'g>) -> Tensor<'g> {
        a.then(Product { form }, &[b])
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

    fn absorb(&self, next: &dyn Op, operand: usize, only: bool, tuning: &Tuning) -> Option<Rc<dyn Op>> {
        let next = next as &dyn Any;
        let epilogue = match next.downcast_ref::<Elementwise>() {
            Some(Elementwise::Add) if only => Epilogue::Add,
            None if !tuning.fuse_gelu => return None,
            None if next.is::<Gelu>() => {
                if only {
                    Epilogue::Gelu
                } else {
                    Epilogue::SumAndGelu
                }
            }
            None if next.is::<GeluBackward>() && operand == 1 && only => Epilogue::GeluSlope,
            _ => return None,
        };
        Some(Rc::new(FusedProduct { product: *self, epilogue }))
    }

    fn divide(&self, x: &[TensorType], tuning: &Tuning) -> Option<[Rc<dyn Op>; 2]> {
        let e = self.extents(x).expect("checked when recorded");
        if self.form != Form::Tn {
            return None;
        }
        let tile = tuning.product(self.form, [e.m, e.n, e.k], x[0].dtype);
        let parts = tile.parts([e.m, e.n, e.k])?;
        Some([Rc::new(PartialProducts { product: *self, tile, parts }), Rc::new(SumOfParts)])
    }

    fn halves(&self, operand: usize, _: &[TensorType], _: &Tuning) -> Halves {
        if operand < 2 { Halves::Wanted } else { Halves::Never }
    }

    fn stores_halves(&self, x: &[TensorType], tuning: &Tuning) -> usize {
        let e = self.extents(x).expect("checked when recorded");
        tuning.product(self.form, [e.m, e.n, e.k], DType::F16).stores_halves().into()
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
        Some(Work::Product { form: self.form, shape: [e.m, e.n, e.k], operands: x[0].dtype })
    }
}

impl Product {
    /// The dispatch, with the epilogue of a fused product, for which `x` ends with what the epilogue reads; or divided
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
        let (tile, part) = divided.unwrap_or_else(|| (tuning.product(self.form, [e.m, e.n, e.k], x[0].dtype), e.k));
        let params = kernels::product::Params {
            m: e.m as u32,
            n: e.n as u32,
            k: e.k as u32,
            a_row: e.a.0 as u32,
            a_k: e.a.1 as u32,
            b_k: e.b.0 as u32,
            b_column: e.b.1 as u32,
            bias_repeat: if has_bias { e.n / x[2].len() } else { 0 } as u32,
            part: part as u32,
        };
        let b = Slot::In(1);
        let bias = if has_bias { Slot::In(2) } else { b };
        let more = if extra { Slot::In(x.len() - 1) } else { b };
        let mut slots = vec![Slot::In(0), b, bias, more, Slot::Out(0)];
        let mut constants = Vec::new();
        let both = epilogue == Some(Epilogue::SumAndGelu);
        if both {
            slots.remove(3);
            slots.push(Slot::Out(1));
        } else {
            constants.push(Constant { name: "EPILOGUE", value: epilogue.map_or(0, Epilogue::code) });
        }
        let (kernel, size) = tile.kernel(self.form, both, [x[0].dtype, y[0].dtype], &mut constants);
        let groups = [e.n.div_ceil(size.1) as u32, e.m.div_ceil(size.0) as u32, e.k.div_ceil(part).max(1) as u32];
        vec![Dispatch { constants, ..dispatch(kernel, params, &slots, groups) }]
    }
}

impl Epilogue {
    fn has_extra(self) -> bool {
        matches!(self, Epilogue::Add | Epilogue::GeluSlope)
    }

    /// The shaders' `EPILOGUE`.
    fn code(self) -> u32 {
        match self {
            Epilogue::Add => 1,
            Epilogue::Gelu => 2,
            Epilogue::GeluSlope => 3,
            Epilogue::SumAndGelu => 0,
        }
    }
}

impl FusedProduct {
    /// The product's own inputs.
    fn own<'a, T>(&self, x: &'a [T]) -> &'a [T] {
        &x[..x.len() - usize::from(self.epilogue.has_extra())]
    }
}

impl Op for FusedProduct {
    fn name(&self) -> &'static str {
        match (self.product.form, self.epilogue) {
            (Form::Nt, Epilogue::Add) => "product_nt+add",
            (Form::Nt, Epilogue::Gelu | Epilogue::SumAndGelu) => "product_nt+gelu",
            (Form::Nt, Epilogue::GeluSlope) => "product_nt+gelu_backward",
            (Form::Nn, Epilogue::Add) => "product_nn+add",
            (Form::Nn, Epilogue::Gelu | Epilogue::SumAndGelu) => "product_nn+gelu",
            (Form::Nn, Epilogue::GeluSlope) => "product_nn+gelu_backward",
            (Form::Tn, Epilogue::Add) => "product_tn+add",
            (Form::Tn, Epilogue::Gelu | Epilogue::SumAndGelu) => "product_tn+gelu",
            (Form::Tn, Epilogue::GeluSlope) => "product_tn+gelu_backward",
        }
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let y = self.product.infer(self.own(x))?.remove(0);
        if self.epilogue.has_extra() {
            ensure_shape!(x[x.len() - 1].shape == y.shape, "the epilogue's input must be {y}");
        }
        Ok(if self.epilogue == Epilogue::SumAndGelu { vec![y.clone(), y] } else { vec![y] })
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let sum = self.product.eval(self.own(x)).remove(0);
        let last = x[x.len() - 1];
        match self.epilogue {
            Epilogue::Add => Elementwise::Add.eval(&[&sum, last]),
            Epilogue::Gelu => Gelu.eval(&[&sum]),
            Epilogue::SumAndGelu => {
                let activated = Gelu.eval(&[&sum]).remove(0);
                vec![sum, activated]
            }
            Epilogue::GeluSlope => GeluBackward.eval(&[last, &sum]),
        }
    }

    fn halves(&self, operand: usize, x: &[TensorType], tuning: &Tuning) -> Halves {
        self.product.halves(operand, self.own(x), tuning)
    }

    fn stores_halves(&self, x: &[TensorType], tuning: &Tuning) -> usize {
        let outputs = match self.epilogue {
            Epilogue::SumAndGelu => 2,
            Epilogue::Gelu | Epilogue::GeluSlope => 1,
            // Sums of the residual stream and of weights' gradients stay f32.
            Epilogue::Add => 0,
        };
        outputs * self.product.stores_halves(self.own(x), tuning)
    }

    fn halves_with_outputs(&self, operand: usize) -> bool {
        // What GELU's slope is taken at.
        self.epilogue == Epilogue::GeluSlope && operand > 1
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        self.product.launch(x, y, Some(self.epilogue), None, tuning)
    }

    fn flops(&self, x: &[TensorType], y: &[TensorType]) -> f64 {
        self.product.flops(self.own(x), y)
    }

    fn work(&self, x: &[TensorType]) -> Option<Work> {
        self.product.work(self.own(x))
    }
}

impl Tile {
    /// The `Subgroup` tile for extents that are not even. SwiftShader compiles it in a quarter of a second, one of 64 rows
    /// by 16 columns in six.
    pub(super) fn subgroup(lanes: u32) -> Tile {
        Tile::Subgroup { lanes, rows: 2, cols: 6 }
    }

    /// This tile where an `m × n` product's extents allow it, otherwise the nearest that takes any.
    pub(super) fn fitting(self, form: Form, [m, n, k]: [usize; 3]) -> Tile {
        // What lies side by side in memory.
        let side = if form == Form::Tn { m } else { k };
        let by = |unit: usize| n.is_multiple_of(unit) && side.is_multiple_of(unit);
        match self {
            Tile::Pairs { lanes, .. } if !by(2) => Tile::subgroup(lanes),
            Tile::Workgroup { rows, cols, group_rows, group_cols, .. } if !by(4) => {
                Tile::Register { rows, cols, group_rows, group_cols }
            }
            Tile::Quads { .. } if !by(4) || !k.is_multiple_of(4) => Tile::default(),
            Tile::Matrix { side, .. } if !by(8) || !k.is_multiple_of(side as usize) || m.min(n) < side as usize => {
                NARROW.fitting(form, [m, n, k])
            }
            tile => tile,
        }
    }

    /// Into how many parts a sum is to be divided so that an `m × n` product occupies a GPU; none where it does without.
    fn parts(self, [m, n, k]: [usize; 3]) -> Option<usize> {
        let (rows, cols) = match self {
            Tile::Workgroup { rows, cols, group_rows, group_cols, .. } => (rows * group_rows, cols * group_cols),
            Tile::Matrix { side, rows, cols, group_rows, group_cols, .. } => {
                (side * rows * group_rows, side * cols * group_cols)
            }
            _ => return None,
        };
        let groups = m.div_ceil(rows as usize) * n.div_ceil(cols as usize);
        let most = (k / LEAST_TERMS).min(MOST_PARTIAL / (m * n)).min(column_sum::CHUNK);
        Some((BUSY_GROUPS / groups).min(most)).filter(|parts| *parts > 1)
    }

    /// Whether results can be in half precision. Where an invocation stores single values, two would share 32 bits.
    pub(super) fn stores_halves(self) -> bool {
        match self {
            Tile::Quads { .. } | Tile::Workgroup { .. } | Tile::Pairs { .. } | Tile::Matrix { .. } => true,
            Tile::Plain | Tile::Register { .. } | Tile::Subgroup { .. } => false,
        }
    }

    /// This tile, or the nearest that reads operands of this type.
    pub(super) fn of(self, operands: DType) -> Tile {
        match self {
            Tile::Plain | Tile::Subgroup { .. } if operands == DType::F16 => Tile::default(),
            Tile::Matrix { .. } if operands == DType::F32 => Tile::default(),
            tile => tile,
        }
    }

    /// The kernel and the rows and columns that one workgroup computes; adds the shader's constants. `both` asks for the
    /// entry point that also stores the GELU.
    fn kernel(
        self,
        form: Form,
        both: bool,
        [operands, results]: [DType; 2],
        constants: &mut Vec<Constant>,
    ) -> (&'static Kernel, (usize, usize)) {
        let mut set = |list: &[(&'static str, u32)]| {
            constants.extend(list.iter().map(|(name, value)| Constant { name, value: *value }));
        };
        /// The entry points of a shader.
        macro_rules! pick {
            ($file:ident) => {
                if both { &kernels::$file::FORWARD_GELU } else { &kernels::$file::FORWARD }
            };
            ($file:ident, $half:ident) => {
                if operands == DType::F16 { pick!($half) } else { pick!($file) }
            };
            ($file:ident, $half:ident, $halves:ident) => {
                if results == DType::F16 { pick!($halves) } else { pick!($file, $half) }
            };
        }
        match self {
            Tile::Plain => (pick!(product_plain), (8, 8)),
            Tile::Register { rows, cols, group_rows, group_cols } => {
                set(&[("TILE_M", rows), ("TILE_N", cols), ("TILE", rows * cols)]);
                set(&[("GROUP_M", group_rows), ("GROUP_N", group_cols)]);
                let size = ((rows * group_rows) as usize, (cols * group_cols) as usize);
                (pick!(product, product_half), size)
            }
            Tile::Workgroup { rows, cols, group_rows, group_cols, depth } => {
                let (row_quads, col_quads, threads) = (rows / 4, cols / 4, group_rows * group_cols);
                // Blocks of 4x4 values an invocation.
                let loads = |quads: u32, group: u32| (quads * group * depth / 4).div_ceil(threads);
                set(&[
                    ("TILE_M", rows),
                    ("ROW_QUADS", row_quads),
                    ("COL_QUADS", col_quads),
                    ("TILE", rows * col_quads),
                ]);
                set(&[("GROUP_M", group_rows), ("GROUP_N", group_cols), ("DEPTH", depth)]);
                set(&[("A_ALONG_K", (form != Form::Tn).into()), ("B_ALONG_K", (form == Form::Nt).into())]);
                set(&[("A_LOADS", loads(row_quads, group_rows)), ("B_LOADS", loads(col_quads, group_cols))]);
                let size = ((rows * group_rows) as usize, (cols * group_cols) as usize);
                (pick!(product_workgroup, product_workgroup_half, product_workgroup_halves), size)
            }
            Tile::Quads { rows, cols, group_rows, group_cols } => {
                set(&[("TILE_M", rows), ("TILE_N", cols), ("TILE", rows * cols)]);
                set(&[("ROW_QUADS", rows / 4), ("COL_QUADS", cols / 4)]);
                set(&[("GROUP_M", group_rows), ("GROUP_N", group_cols)]);
                set(&[("A_ALONG_K", (form != Form::Tn).into()), ("B_ALONG_K", (form == Form::Nt).into())]);
                let size = ((rows * group_rows) as usize, (cols * group_cols) as usize);
                (pick!(product_quads, product_quads_half, product_quads_halves), size)
            }
            Tile::Matrix { side, rows, cols, group_rows, group_cols, lanes } => {
                set(&[("ROWS", rows), ("COLUMNS", cols), ("BLOCKS", rows * cols)]);
                set(&[("GROUP_M", group_rows), ("GROUP_N", group_cols), ("THREADS", group_rows * group_cols * lanes)]);
                set(&[("A_ALONG_K", (form != Form::Tn).into()), ("B_ALONG_K", (form == Form::Nt).into())]);
                let size = ((rows * group_rows * side) as usize, (cols * group_cols * side) as usize);
                let kernel = match side {
                    8 => pick!(product_matrix8, product_matrix8, product_matrix8_halves),
                    _ => pick!(product_matrix16, product_matrix16, product_matrix16_halves),
                };
                (kernel, size)
            }
            Tile::Subgroup { lanes, rows, cols } => {
                set(&[("LANES", lanes), ("TILE_L", rows), ("TILE_N", cols), ("TILE", lanes * rows * cols)]);
                let size = ((rows * lanes) as usize, (cols * lanes) as usize);
                (pick!(product_subgroup), size)
            }
            Tile::Pairs { lanes, rows, cols } => {
                let (a_along_k, b_along_k) = (form != Form::Tn, form == Form::Nt);
                set(&[("LANES", lanes), ("ROWS", rows), ("COLS", cols), ("TILE", lanes * rows * cols)]);
                set(&[("A_ALONG_K", a_along_k.into()), ("B_ALONG_K", b_along_k.into()), ("COL_PAIRS", cols / 2)]);
                set(&[("ROW_LOADS", if a_along_k { rows } else { rows / 2 })]);
                set(&[("COL_LOADS", if b_along_k { cols } else { cols / 2 })]);
                let size = ((rows * lanes) as usize, (cols * lanes) as usize);
                (pick!(product_pairs_subgroup, product_pairs_half_subgroup, product_pairs_halves_subgroup), size)
            }
        }
    }
}

pub(super) fn samples() -> Vec<Sample> {
    let op = |form| Product { form };
    let halves_of = |shapes: &[&[usize]]| -> Vec<_> {
        shapes.iter().map(|shape| (TensorType::f16(shape), Content::Fixed)).collect()
    };
    let half = |form, epilogue: Option<Epilogue>, operands: [&[usize]; 2], rest: &[&[usize]]| {
        let rest = rest.iter().map(|shape| (TensorType::f32(shape), Content::Fixed)).collect();
        let inputs = [halves_of(&operands), rest].concat();
        match epilogue {
            Some(epilogue) => Sample::new(FusedProduct { product: op(form), epilogue }, inputs),
            None => Sample::new(op(form), inputs),
        }
    };
    let halves = |form, epilogue: Option<Epilogue>, operands: [&[usize]; 2], bias: &[usize], extra: &[&[usize]]| {
        let bias = bias.iter().map(|len| (TensorType::f32(&[*len]), Content::Fixed)).collect();
        let inputs = [halves_of(&operands), bias, halves_of(extra)].concat();
        match epilogue {
            Some(epilogue) => {
                let outputs = if epilogue == Epilogue::SumAndGelu { 2 } else { 1 };
                Sample::halved(FusedProduct { product: op(form), epilogue }, outputs, inputs)
            }
            None => Sample::halved(op(form), 1, inputs),
        }
    };
    let fused = |form, epilogue, shapes: &[&[usize]]| {
        let inputs = shapes.iter().map(|s| (TensorType::f32(s), Content::Fixed)).collect();
        Sample::new(FusedProduct { product: Product { form }, epilogue }, inputs)
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
        // Long enough to be divided.
        Sample::random(op(Form::Tn), &[&[600, 36], &[600, 68]]),
        // Large enough, in every form, for a tile that is not compiled for less.
        Sample::random(op(Form::Nt), &[&[132, 132], &[132, 132], &[132]]),
        fused(Form::Nt, Epilogue::Add, &[&[2, 37, 18], &[70, 18], &[70], &[2, 37, 70]]),
        fused(Form::Nt, Epilogue::Gelu, &[&[65, 64], &[33, 64], &[33]]),
        fused(Form::Nt, Epilogue::SumAndGelu, &[&[66, 20], &[34, 20], &[34]]),
        fused(Form::Nt, Epilogue::SumAndGelu, &[&[9, 7], &[35, 7]]),
        fused(Form::Nt, Epilogue::SumAndGelu, &[&[70, 12], &[36, 12], &[36]]),
        fused(Form::Tn, Epilogue::Add, &[&[3, 23, 36], &[3, 23, 68], &[36, 68]]),
        fused(Form::Nn, Epilogue::Add, &[&[67, 20], &[20, 49], &[67, 49]]),
        fused(Form::Nn, Epilogue::GeluSlope, &[&[67, 20], &[20, 48], &[67, 48]]),
        fused(Form::Tn, Epilogue::Add, &[&[3, 23, 34], &[3, 23, 66], &[34, 66]]),
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
        half(Form::Nt, Some(Epilogue::SumAndGelu), [&[65, 32], &[40, 32]], &[&[40]]),
        half(Form::Nn, Some(Epilogue::GeluSlope), [&[66, 32], &[32, 40]], &[&[66, 40]]),
        half(Form::Tn, Some(Epilogue::Add), [&[32, 40], &[32, 24]], &[&[40, 24]]),
        halves(Form::Nt, None, [&[2, 37, 20], &[68, 20]], &[34], &[]),
        halves(Form::Nn, None, [&[66, 32], &[32, 40]], &[], &[]),
        halves(Form::Nt, Some(Epilogue::Gelu), [&[33, 16], &[24, 16]], &[24], &[]),
        halves(Form::Nt, Some(Epilogue::SumAndGelu), [&[65, 32], &[40, 32]], &[40], &[]),
        halves(Form::Nn, Some(Epilogue::GeluSlope), [&[66, 32], &[32, 40]], &[], &[&[66, 40]]),
        half(Form::Tn, None, [&[600, 36], &[600, 68]], &[]),
        half(Form::Nt, Some(Epilogue::SumAndGelu), [&[70, 12], &[36, 12]], &[&[36]]),
        half(Form::Nn, Some(Epilogue::Add), [&[66, 22], &[22, 34]], &[&[66, 34]]),
    ]
}
