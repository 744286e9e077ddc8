//! Multi-head softmax attention (Vaswani et al., 2017), self and cross, over fused projections.

use super::prelude::*;
use crate::kernels::{
    attention as workgroup, attention_fours_half_subgroup as fours_half, attention_fours_subgroup as fours,
    attention_matrix8 as matrix8, attention_matrix8_pairs as matrix8_pairs, attention_matrix16 as matrix16,
    attention_matrix16_pairs as matrix16_pairs, attention_quads as quads, attention_quads_half as quads_half,
    attention_shared as shared, attention_shared_half as shared_half, attention_shared_scalar as shared_scalar,
};

/// Attention of every head. One input `qkv [batch, tokens, 3 inner]` attends to itself (columns q, k, v); two inputs
/// `q [batch, queries, inner]` and `kv [batch, keys, 2 inner]` attend across. Columns are head-major. The second output
/// holds each query's largest score and the inverse of its sum of exponentials, for the backward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attention {
    /// Number of heads; a head has `inner / heads` columns.
    pub heads: usize,
    /// Self-attention only: first row that asks, earlier rows are only attended to.
    pub first_query: usize,
}

/// Gradients of [`Attention`]; inputs y, statistics and dy, then the forward pass's own. Outputs `dqkv`, or `dq` and
/// `dkv`, and last the scratch `dy · y` of each query and head.
#[derive(Debug, Clone, Copy)]
pub struct AttentionBackward(pub(crate) Attention);

/// How attention's rows are shared among invocations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rows {
    /// A workgroup of this many rows, each invocation loading what it needs.
    Workgroup(u32),
    /// As `Workgroup`, but loading four values at once, for several rows an invocation. Heads whose columns are no multiple
    /// of 4 are left to `Workgroup`.
    Quads {
        /// Invocations of a workgroup.
        group: u32,
        /// Rows of an invocation. More than one suit software adapters, which have no registers to run out of.
        rows: u32,
    },
    /// A workgroup that copies the rows of the other side into its memory, where teams of 4 or 8 of its invocations
    /// take them for several rows at once. Heads that are too wide for that memory are left to `Workgroup(64)`.
    Shared {
        /// Invocations of a workgroup.
        group: u32,
    },
    /// A subgroup of this many invocations, [`shared_rows`] each, that shares each load and loads values in fours; needs
    /// 64-bit integers. Heads whose columns are no multiple of 4 are left to `Workgroup(8)`.
    Fours(u32),
    /// A subgroup that computes `side` rows by matrix units, for values in half precision; needs subgroups of `lanes`, never
    /// more or fewer. Values in f32, and heads that are too wide for a workgroup's memory or have an odd number of columns,
    /// are left to `Shared`.
    Matrix {
        /// Rows and columns of a block of the units: 8 or 16.
        side: u32,
        /// Subgroups of a workgroup, up to 4.
        subgroups: u32,
        /// Invocations of a subgroup.
        lanes: u32,
    },
}

/// Rows of an invocation in [`Rows::Fours`], and rows of the other side that its subgroup takes in a turn: more share loads
/// and visits of memory, until their instructions fill a processor's cache. Which it is was measured on llvmpipe.
fn shared_rows(part: Part, rows: usize, lanes: u32) -> (u32, u32) {
    let covered = |each: u32| rows.next_multiple_of((each * lanes) as usize);
    match part {
        Part::Forward if covered(5) < covered(3) => (5, 2),
        Part::Forward => (3, 3),
        Part::BackwardQ | Part::BackwardKv => (3, 2),
    }
}

/// Keys that a team takes at a time in [`Rows::Shared`].
const KEYS: u32 = 4;
/// Bytes of a workgroup's memory on every adapter of WebGPU's.
const MEMORY: u32 = 16 << 10;

/// How [`Rows::Shared`] divides its work.
struct Teams {
    /// Invocations of a team.
    lanes: u32,
    /// Fours of columns of an invocation.
    cols: u32,
    /// Pairs of rows of a team in the backward pass.
    pairs: u32,
    /// Rows of the other side that the workgroup copies at a time.
    block: u32,
}

impl Teams {
    /// Those of a workgroup of this many invocations, if its memory suffices. An invocation's values fit its registers,
    /// but in very wide heads, and its copies take up to 4 loads of each side.
    fn of(part: Part, group: u32, head: usize) -> Option<Teams> {
        let quads = head.div_ceil(4) as u32;
        let (lanes, pairs) = match part {
            // Each load then feeds twice as many sums, for more that is handed around.
            Part::BackwardQ | Part::BackwardKv if (13..=24).contains(&quads) && group <= 64 => (8, 2),
            _ if quads <= 20 => (4, 1),
            _ => (8, 1),
        };
        let cols = quads.div_ceil(lanes);
        let units = KEYS * pairs;
        let handed = units * (group + 1) + units * group / lanes;
        let left = (MEMORY / 16).saturating_sub(handed) / (2 * cols * lanes) / KEYS;
        let copied = (4 * group / (cols * lanes) / KEYS).max(1);
        Some(Teams { lanes, cols, pairs, block: KEYS * left.min(copied) }).filter(|teams| teams.block > 0)
    }

    /// Rows of a workgroup of this many invocations.
    fn rows(&self, part: Part, group: u32) -> u32 {
        let each = if matches!(part, Part::Forward) { 4 } else { 2 * self.pairs };
        group / self.lanes * each
    }
}

/// How [`Rows::Matrix`] divides its work.
struct Blocks {
    side: u32,
    subgroups: u32,
    lanes: u32,
    /// Rows of the other side that the workgroup copies at a time.
    block: u32,
    /// Blocks of columns of a head.
    columns: u32,
    /// What a row takes in the memory that a subgroup computes in.
    width: u32,
}

impl Blocks {
    /// Those of a head, if it is even and not too wide.
    fn of(part: Part, rows: Rows, head: usize) -> Option<Blocks> {
        let Rows::Matrix { side, subgroups, lanes } = rows else { return None };
        let block = if matches!(part, Part::Forward) { Blocks::KEYS } else { Blocks::KEYS / 2 };
        let columns = (head as u32).div_ceil(side);
        let fits = head.is_multiple_of(2) && columns * side <= Blocks::WIDEST;
        fits.then_some(Blocks { side, subgroups, lanes, block, columns, width: Blocks::KEYS })
    }

    /// Keys that the forward pass takes at a time. The backward pass takes half as many rows of the other side: with more,
    /// fewer workgroups run at once on an H200.
    const KEYS: u32 = 32;
    /// Columns of the widest heads that are taken.
    const WIDEST: u32 = 80;

    /// Bytes of a workgroup's memory.
    fn shared_bytes(&self) -> u32 {
        let Blocks { side, subgroups, block, columns, width, .. } = self;
        // Both sides in halves; sums in f32 and halves of the subgroups' rows; three numbers a query; four flags.
        let sums = subgroups * side * (4 * (width + 4) + 2 * (width + 8));
        2 * 2 * block * (columns * side + 8) + sums + 3 * 4 * block + 16
    }

    fn constants(&self) -> Vec<(&'static str, u32)> {
        let Blocks { side, subgroups, lanes, block, columns, width } = *self;
        let (eights, share) = (columns * side / 8, lanes / side);
        let piece =
            (1..=width / side).rev().find(|piece| columns.is_multiple_of(*piece)).expect("one block divides all");
        vec![
            ("SUBGROUPS", subgroups),
            ("LANES", lanes),
            ("BLOCK", block),
            ("COLUMNS", columns),
            ("TURNS", block / side),
            ("EIGHTS", eights),
            ("LOADS", (block * eights).div_ceil(subgroups * lanes)),
            ("PIECES", columns / piece),
            ("PIECE", piece),
            ("PIECE_EIGHTS", piece * side / 8),
            ("OWN_LOADS", (side * piece * side / 8).div_ceil(lanes)),
            ("SHARE", share),
            ("JOINS", share.ilog2()),
            ("QUADS", block / 4 / share),
            ("OWN_EIGHTS", (piece * side / 8).div_ceil(share)),
            ("WIDTH", width),
        ]
    }
}

impl Rows {
    /// Bytes of a workgroup's shared memory, where this takes more than WebGPU promises.
    pub(super) fn shared_bytes(self) -> u32 {
        let widest = Blocks::WIDEST as usize;
        let bytes = PARTS.map(|part| Blocks::of(part, self, widest).map_or(0, |blocks| blocks.shared_bytes()));
        bytes.into_iter().max().expect("three parts")
    }

    /// Whether values of so wide heads can be in half precision.
    pub(super) fn takes_halves(self, head: usize) -> bool {
        match self.fitting(head, DType::F16) {
            Rows::Workgroup(_) => false,
            Rows::Matrix { .. } => true,
            _ => head.is_multiple_of(4),
        }
    }

    /// This, or the nearest that takes so wide heads of this type.
    pub(super) fn fitting(self, head: usize, dtype: DType) -> Rows {
        match self {
            Rows::Matrix { .. }
                if dtype == DType::F32 || PARTS.iter().any(|part| Blocks::of(*part, self, head).is_none()) =>
            {
                Rows::Shared { group: 64 }.fitting(head, dtype)
            }
            Rows::Shared { group } if PARTS.iter().any(|part| Teams::of(*part, group, head).is_none()) => {
                Rows::Workgroup(64)
            }
            Rows::Fours(_) if !head.is_multiple_of(4) => Rows::Workgroup(8),
            Rows::Quads { group, .. } if !head.is_multiple_of(4) => Rows::Workgroup(group),
            rows => rows,
        }
    }
}

#[derive(Clone, Copy)]
enum Part {
    Forward,
    BackwardQ,
    BackwardKv,
}

const PARTS: [Part; 3] = [Part::Forward, Part::BackwardQ, Part::BackwardKv];

/// The kernels in the order of [`Part`].
static WORKGROUP: [&Kernel; 3] = [&workgroup::FORWARD, &workgroup::BACKWARD_Q, &workgroup::BACKWARD_KV];
static QUADS: [&Kernel; 3] = [&quads::FORWARD, &quads::BACKWARD_Q, &quads::BACKWARD_KV];
static QUADS_OF_ROWS: [&Kernel; 3] = [&quads::FORWARD, &quads::BACKWARD_Q, &quads::BACKWARD_KV_AT_ONCE];
static SHARED: [&Kernel; 3] = [&shared::FORWARD, &shared::BACKWARD_Q, &shared::BACKWARD_KV];
/// The same for heads of any number of columns.
static SHARED_SCALAR: [&Kernel; 3] = [&shared_scalar::FORWARD, &shared_scalar::BACKWARD_Q, &shared_scalar::BACKWARD_KV];
static FOURS: [&Kernel; 3] = [&fours::FORWARD, &fours::BACKWARD_Q, &fours::BACKWARD_KV];
/// The same for values in half precision.
static QUADS_HALF: [&Kernel; 3] = [&quads_half::FORWARD, &quads_half::BACKWARD_Q, &quads_half::BACKWARD_KV];
static QUADS_OF_ROWS_HALF: [&Kernel; 3] =
    [&quads_half::FORWARD, &quads_half::BACKWARD_Q, &quads_half::BACKWARD_KV_AT_ONCE];
static SHARED_HALF: [&Kernel; 3] = [&shared_half::FORWARD, &shared_half::BACKWARD_Q, &shared_half::BACKWARD_KV];
/// By matrix units, in eights and in pairs.
static MATRIX16: [&Kernel; 3] = [&matrix16::FORWARD, &matrix16::BACKWARD_Q, &matrix16::BACKWARD_KV];
static MATRIX16_PAIRS: [&Kernel; 3] =
    [&matrix16_pairs::FORWARD, &matrix16_pairs::BACKWARD_Q, &matrix16_pairs::BACKWARD_KV];
static MATRIX8: [&Kernel; 3] = [&matrix8::FORWARD, &matrix8::BACKWARD_Q, &matrix8::BACKWARD_KV];
static MATRIX8_PAIRS: [&Kernel; 3] = [&matrix8_pairs::FORWARD, &matrix8_pairs::BACKWARD_Q, &matrix8_pairs::BACKWARD_KV];
static FOURS_HALF: [&Kernel; 3] = [&fours_half::FORWARD, &fours_half::BACKWARD_Q, &fours_half::BACKWARD_KV];

/// Where queries, keys and values stand, taken from the input types.
#[derive(Clone, Copy)]
struct Layout {
    batch: usize,
    inner: usize,
    lq: usize,
    lk: usize,
    q_rows: usize,
    q_first: usize,
    q_stride: usize,
    kv_stride: usize,
    k_first: usize,
    v_first: usize,
}

impl Attention {
    fn layout(&self, x: &[TensorType]) -> Result<Layout, ShapeError> {
        let (batch, q_rows, q_stride) = x[0].batch_tokens_width()?;
        let cross = x.len() == 2;
        let (kv_batch, lk, kv_stride) = x[x.len() - 1].batch_tokens_width()?;
        let inner = if cross { q_stride } else { q_stride / 3 };
        let expected = if cross { 2 * inner } else { 3 * inner };
        ensure_shape!(kv_batch == batch && kv_stride == expected, "keys and values must be [{batch}, _, {expected}]");
        ensure_shape!(inner % self.heads == 0, "{inner} columns are not {} whole heads", self.heads);
        ensure_shape!(self.first_query < q_rows && (!cross || self.first_query == 0), "no row asks");
        Ok(Layout {
            batch,
            inner,
            lq: q_rows - self.first_query,
            lk,
            q_rows,
            q_first: self.first_query,
            q_stride,
            kv_stride,
            k_first: if cross { 0 } else { inner },
            v_first: if cross { inner } else { 2 * inner },
        })
    }

    fn params(&self, at: &Layout) -> kernels::attention::Params {
        kernels::attention::Params {
            heads: self.heads as u32,
            lq: at.lq as u32,
            lk: at.lk as u32,
            q_rows: at.q_rows as u32,
            q_first: at.q_first as u32,
            q_stride: at.q_stride as u32,
            kv_stride: at.kv_stride as u32,
            k_first: at.k_first as u32,
            v_first: at.v_first as u32,
            scale: (self.head(at) as f32).powf(-0.5),
        }
    }

    fn head(&self, at: &Layout) -> usize {
        at.inner / self.heads
    }

    /// Columns of a head, given the types of the inputs.
    pub(crate) fn columns(&self, x: &[TensorType]) -> usize {
        let at = self.layout(x).expect("checked when recorded");
        self.head(&at)
    }

    /// Whether values can be in half precision.
    fn takes_halves(&self, x: &[TensorType], tuning: &Tuning) -> bool {
        tuning.attention(DType::F16).takes_halves(self.columns(x))
    }

    /// One of the kernels over `rows` queries or keys, of values of this type.
    fn one(&self, part: Part, (at, dtype): (&Layout, DType), rows: usize, slots: &[Slot], tuning: &Tuning) -> Dispatch {
        let head = self.head(at);
        let half = dtype == DType::F16;
        let (kernels, group, mut constants) = match tuning.attention(dtype).fitting(head, dtype) {
            Rows::Workgroup(group) => (&WORKGROUP, group, vec![Constant { name: "GROUP", value: group }]),
            Rows::Quads { group, rows } => {
                let quads = head as u32 / 4;
                let sizes = [("GROUP", group), ("ROWS", rows), ("QUADS", quads), ("HELD", rows * quads)];
                (
                    match (rows == 1, half) {
                        (true, false) => &QUADS,
                        (true, true) => &QUADS_HALF,
                        (false, false) => &QUADS_OF_ROWS,
                        (false, true) => &QUADS_OF_ROWS_HALF,
                    },
                    group * rows,
                    sizes.map(|(name, value)| Constant { name, value }).to_vec(),
                )
            }
            Rows::Shared { group } => {
                let teams = Teams::of(part, group, head).expect("a fitting head");
                let Teams { lanes, cols, pairs, block } = teams;
                let sizes = [
                    ("GROUP", group),
                    ("LANES", lanes),
                    ("COLS", cols),
                    ("VALUES", 4 * cols),
                    ("PAIRS", pairs),
                    ("BLOCK", block),
                    ("LOADS", (block * cols * lanes).div_ceil(group)),
                ];
                (
                    match (head.is_multiple_of(4), half) {
                        (true, false) => &SHARED,
                        (true, true) => &SHARED_HALF,
                        (false, _) => &SHARED_SCALAR,
                    },
                    teams.rows(part, group),
                    sizes.map(|(name, value)| Constant { name, value }).to_vec(),
                )
            }
            rows @ Rows::Matrix { side, subgroups, .. } => {
                let blocks = Blocks::of(part, rows, head).expect("a fitting head");
                let constants = blocks.constants().into_iter().map(|(name, value)| Constant { name, value }).collect();
                (
                    match (side, head.is_multiple_of(8)) {
                        (8, true) => &MATRIX8,
                        (8, false) => &MATRIX8_PAIRS,
                        (_, true) => &MATRIX16,
                        (_, false) => &MATRIX16_PAIRS,
                    },
                    subgroups * side,
                    constants,
                )
            }
            Rows::Fours(lanes) => {
                let loads = head.div_ceil(4 * lanes as usize) as u32;
                let padded = loads * lanes * 4;
                let (each, turn) = shared_rows(part, rows, lanes);
                let quads = head as u32 / 4;
                let step = [4, 3, 2].into_iter().find(|step| quads.is_multiple_of(*step)).unwrap_or(1);
                let sizes = [
                    ("LANES", lanes),
                    ("ROWS", each),
                    ("LOADS", loads),
                    ("PADDED", padded),
                    ("BLOCK", each * padded),
                    ("TURN", turn),
                    ("HELD", turn * loads),
                    ("QUADS", quads),
                    ("STEP", step),
                    ("REST", 4 * (quads - step)),
                ];
                (
                    if half { &FOURS_HALF } else { &FOURS },
                    lanes * each,
                    sizes.map(|(name, value)| Constant { name, value }).to_vec(),
                )
            }
        };
        constants.push(Constant { name: "HEAD", value: head as u32 });
        let groups = [rows.div_ceil(group as usize) as u32, self.heads as u32, at.batch as u32];
        Dispatch { constants, ..dispatch(kernels[part as usize], self.params(at), slots, groups) }
    }

    /// Calls `f(batch, head, query, key offsets, query offset, probabilities)` for every query of every head.
    fn each_query(&self, at: &Layout, q: &Array, kv: &Array, mut f: impl FnMut(Query<'_>)) {
        let head = self.head(at);
        let scale = (head as f64).powf(-0.5);
        for batch in 0..at.batch {
            for h in 0..self.heads {
                let key = |j: usize| (batch * at.lk + j) * at.kv_stride + at.k_first + h * head;
                for i in 0..at.lq {
                    let row = (batch * at.q_rows + at.q_first + i) * at.q_stride + h * head;
                    let score =
                        |j: usize| (0..head).map(|c| q.data[row + c] * kv.data[key(j) + c]).sum::<f64>() * scale;
                    let mut p: Vec<f64> = (0..at.lk).map(score).collect();
                    let largest = p.iter().copied().fold(f64::MIN, f64::max);
                    let total: f64 = p.iter().map(|s| (s - largest).exp()).sum();
                    p.iter_mut().for_each(|s| *s = (*s - largest).exp() / total);
                    let y = (batch * at.lq + i) * at.inner + h * head;
                    let stat = (batch * self.heads + h) * at.lq + i;
                    f(Query { row, y, stat, first_key: key(0), p: &p, largest, total });
                }
            }
        }
    }
}

/// One query of one head in the oracle: offsets into the arrays and its probabilities over keys.
struct Query<'a> {
    row: usize,
    y: usize,
    stat: usize,
    first_key: usize,
    p: &'a [f64],
    largest: f64,
    total: f64,
}

impl Op for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let at = self.layout(x)?;
        let y = TensorType::f32(&[at.batch, at.lq, at.inner]);
        Ok(vec![y, TensorType::f32(&[at.batch, self.heads, at.lq, 2])])
    }

    fn gradient<'g>(&self, x: &[Tensor<'g>], y: &[Tensor<'g>], dy: Tensor<'g>) -> Vec<Option<Tensor<'g>>> {
        let inputs: Vec<_> = [y[0], y[1], dy].into_iter().chain(x.iter().copied()).collect();
        let d = dy.graph().apply(AttentionBackward(*self), &inputs);
        d[..x.len()].iter().map(|t| Some(*t)).collect()
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let types: Vec<_> = x.iter().map(|a| TensorType::f32(&a.shape)).collect();
        let at = self.layout(&types).expect("checked when recorded");
        let head = self.head(&at);
        let mut y = Array::zeros(&[at.batch, at.lq, at.inner]);
        let mut stats = Array::zeros(&[at.batch, self.heads, at.lq, 2]);
        let kv = x[x.len() - 1];
        self.each_query(&at, x[0], kv, |query| {
            for (j, p) in query.p.iter().enumerate() {
                let v = query.first_key + j * at.kv_stride + at.v_first - at.k_first;
                (0..head).for_each(|c| y.data[query.y + c] += p * kv.data[v + c]);
            }
            stats.data[query.stat * 2..][..2].copy_from_slice(&[query.largest, 1.0 / query.total]);
        });
        vec![y, stats]
    }

    fn stores_halves(&self, x: &[TensorType], tuning: &Tuning) -> usize {
        usize::from(self.takes_halves(x, tuning))
    }

    fn halves_with_outputs(&self, _: usize) -> bool {
        true
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let at = self.layout(x).expect("checked when recorded");
        let slots = [Slot::In(0), Slot::In(x.len() - 1), Slot::Out(0), Slot::Out(1)];
        vec![self.one(Part::Forward, (&at, x[0].dtype), at.lq, &slots, tuning)]
    }

    fn flops(&self, x: &[TensorType], _: &[TensorType]) -> f64 {
        let at = self.layout(x).expect("checked when recorded");
        4.0 * (at.batch * at.lq * at.lk * at.inner) as f64
    }

    fn work(&self, x: &[TensorType]) -> Option<Work> {
        Some(Work::Attention { op: *self, inputs: x.to_vec() })
    }
}

impl Op for AttentionBackward {
    fn name(&self) -> &'static str {
        "attention_backward"
    }

    fn infer(&self, x: &[TensorType]) -> Result<Vec<TensorType>, ShapeError> {
        let at = self.0.layout(&x[3..])?;
        ensure_shape!(x[0] == x[2], "y and dy must have one shape");
        let delta = TensorType::f32(&[at.batch, self.0.heads, at.lq]);
        Ok(x[3..].iter().map(|ty| TensorType::f32(&ty.shape)).chain([delta]).collect())
    }

    fn eval(&self, x: &[&Array]) -> Vec<Array> {
        let types: Vec<_> = x[3..].iter().map(|a| TensorType::f32(&a.shape)).collect();
        let at = self.0.layout(&types).expect("checked when recorded");
        let head = self.0.head(&at);
        let scale = (head as f64).powf(-0.5);
        let (y, dy, q, kv) = (x[0], x[2], x[3], x[x.len() - 1]);
        let mut dq = Array::zeros(&q.shape);
        let mut dkv = Array::zeros(&kv.shape);
        let mut delta = Array::zeros(&[at.batch, self.0.heads, at.lq]);
        let gap = at.v_first - at.k_first;
        self.0.each_query(&at, q, kv, |query| {
            let dot: f64 = (0..head).map(|c| dy.data[query.y + c] * y.data[query.y + c]).sum();
            delta.data[query.stat] = dot;
            for (j, p) in query.p.iter().enumerate() {
                let k = query.first_key + j * at.kv_stride;
                let change: f64 = (0..head).map(|c| dy.data[query.y + c] * kv.data[k + gap + c]).sum();
                let d = p * (change - dot) * scale;
                for c in 0..head {
                    dq.data[query.row + c] += d * kv.data[k + c];
                    dkv.data[k + c] += d * q.data[query.row + c];
                    dkv.data[k + gap + c] += p * dy.data[query.y + c];
                }
            }
        });
        if x.len() == 4 {
            // Self-attention: one array holds both; each side wrote only its own columns.
            dq.data.iter_mut().zip(&dkv.data).for_each(|(a, b)| *a += b);
            return vec![dq, delta];
        }
        vec![dq, dkv, delta]
    }

    fn stores_halves(&self, x: &[TensorType], tuning: &Tuning) -> usize {
        if self.0.takes_halves(&x[3..], tuning) { x.len() - 3 } else { 0 }
    }

    fn halves_with_outputs(&self, operand: usize) -> bool {
        operand != 1
    }

    fn dispatch(&self, x: &[TensorType], y: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let at = self.0.layout(&x[3..]).expect("checked when recorded");
        let (kv, dkv, delta) = (x.len() - 1, y.len() - 2, y.len() - 1);
        let (q_in, kv_in, out) = (Slot::In(3), Slot::In(kv), Slot::Out);
        let q = [q_in, kv_in, Slot::In(0), Slot::In(2), Slot::In(1), out(0), out(delta)];
        let k = [q_in, kv_in, Slot::In(2), Slot::In(1), out(delta), out(dkv)];
        vec![
            self.0.one(Part::BackwardQ, (&at, x[3].dtype), at.q_rows, &q, tuning),
            self.0.one(Part::BackwardKv, (&at, x[3].dtype), at.lk, &k, tuning),
        ]
    }

    fn flops(&self, x: &[TensorType], y: &[TensorType]) -> f64 {
        2.0 * self.0.flops(&x[3..], y)
    }

    /// Two products each: dP and dq, dk and dv. Probabilities computed anew are not counted.
    fn flops_shares(&self) -> &[f64] {
        &[0.5, 0.5]
    }
}

/// Both passes on values in half precision; those of rows from `loud` on are eight times as large, so that scores grow
/// along the keys.
fn in_halves(op: Attention, loud: usize, shapes: &[&[usize]]) -> [Sample; 2] {
    let fixed: Vec<_> = shapes.iter().map(|shape| (TensorType::f16(shape), Content::Fixed)).collect();
    let mut values = Sample::halved(op, 1, fixed.clone()).values(1);
    for value in &mut values {
        let [_, rows, width] = value.shape[..] else { panic!("three extents") };
        let is_loud = |i: &usize| i / width % rows >= loud;
        (0..value.data.len()).filter(is_loud).for_each(|i| value.data[i] *= 8.0);
    }
    let exact = |ty: TensorType, array: &Array| (ty, Content::Exact(array.data.clone()));
    let inputs: Vec<_> = fixed.into_iter().zip(&values).map(|((ty, _), value)| exact(ty, value)).collect();
    let forward = Sample::halved(op, 1, inputs.clone());
    let made = forward.op.eval(&values.iter().collect::<Vec<_>>());
    let (y, stats) = (TensorType::f16(&made[0].shape), TensorType::f32(&made[1].shape));
    let mut all = vec![exact(y.clone(), &made[0]), exact(stats, &made[1]), (y, Content::Fixed)];
    all.extend(inputs);
    [forward, Sample::halved(AttentionBackward(op), shapes.len(), all)]
}

pub(super) fn samples() -> Vec<Sample> {
    let op = |heads, first_query| Attention { heads, first_query };
    vec![
        Sample::random(op(3, 0), &[&[2, 67, 3 * 3 * 7]]),
        Sample::random(op(2, 5), &[&[2, 21, 3 * 2 * 42]]),
        Sample::random(op(1, 37), &[&[1, 110, 3 * 16]]),
        Sample::random(op(2, 5), &[&[2, 21, 3 * 2 * 12]]),
        Sample::random(op(1, 2), &[&[1, 9, 3 * 20]]),
        Sample::random(op(3, 0), &[&[2, 70, 3 * 16], &[2, 9, 2 * 3 * 16]]),
        Sample::random(op(1, 0), &[&[1, 5, 64], &[1, 66, 2 * 64]]),
    ]
    .into_iter()
    .chain(in_halves(op(2, 5), usize::MAX, &[&[2, 21, 3 * 2 * 12]]))
    .chain(in_halves(op(3, 0), usize::MAX, &[&[2, 70, 3 * 16], &[2, 9, 2 * 3 * 16]]))
    .chain(in_halves(op(2, 1), usize::MAX, &[&[1, 70, 3 * 2 * 42]]))
    .chain(in_halves(op(1, 0), 40, &[&[1, 70, 3 * 80]]))
    .chain(in_halves(op(1, 0), 50, &[&[1, 70, 3 * 64]]))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workgroup_that_shares_rows_stays_within_its_memory() {
        for (part, group) in PARTS.into_iter().flat_map(|part| [8, 64, 128].map(|group| (part, group))) {
            for head in 1..600 {
                let Some(Teams { lanes, cols, pairs, block }) = Teams::of(part, group, head) else { continue };
                let quads = 2 * block * cols * lanes + KEYS * pairs * (group + 1 + group / lanes);
                assert!(16 * quads <= MEMORY && block.is_multiple_of(KEYS), "{group} {head}");
                assert!((4 * cols * lanes) as usize >= head && group.is_multiple_of(lanes), "{group} {head}");
                assert!(lanes >= KEYS * pairs, "{group} {head}");
            }
            assert!((1..=128).all(|head| Teams::of(part, group, head).is_some()), "{group}");
        }
        assert_eq!(Rows::Shared { group: 64 }.fitting(512, DType::F32), Rows::Workgroup(64));
    }
}
