//! Multi-head softmax attention (Vaswani et al., 2017), self and cross, over fused projections, computed as flash attention
//! (Dao et al., 2022): scores are never stored, the softmax is kept online, backward computes probabilities anew.

use super::prelude::*;
use crate::kernels::variants::Part;

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

    fn params(&self, at: &Layout) -> kernels::attention_scalar::Params {
        kernels::attention_scalar::Params {
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
    fn columns(&self, x: &[TensorType]) -> usize {
        let at = self.layout(x).expect("checked when recorded");
        self.head(&at)
    }

    /// Whether values can be in half precision.
    fn takes_f16(&self, x: &[TensorType], tuning: &Tuning) -> bool {
        tuning.attention.of(DType::F16).takes_f16(self.columns(x))
    }

    /// One of the kernels over `rows` queries or keys, of values of this type.
    fn one(&self, part: Part, (at, dtype): (&Layout, DType), rows: usize, slots: &[Slot], tuning: &Tuning) -> Dispatch {
        let head = self.head(at);
        let (kernel, group, mut constants) = tuning.attention.of(dtype).kernel(part, rows, head, dtype);
        constants.push(Constant { name: "HEAD", value: head as u32 });
        let groups = [rows.div_ceil(group as usize) as u32, self.heads as u32, at.batch as u32];
        Dispatch { constants, ..dispatch(kernel, self.params(at), slots, groups) }
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

    fn stores_f16(&self, x: &[TensorType], tuning: &Tuning) -> usize {
        usize::from(self.takes_f16(x, tuning))
    }

    fn reads_f16_with_outputs(&self, _: usize) -> bool {
        true
    }

    fn dispatch(&self, x: &[TensorType], _: &[TensorType], tuning: &Tuning) -> Vec<Dispatch> {
        let at = self.layout(x).expect("checked when recorded");
        let slots = [Slot::In(0), Slot::In(x.len() - 1), Slot::Out(0), Slot::Out(1)];
        vec![self.one(Part::Forward, (&at, x[0].dtype), at.lq, &slots, tuning)]
    }

    fn flops(&self, x: &[TensorType], _: &[TensorType]) -> f64 {
        let at = self.layout(x).expect("checked when recorded");
        4.0 * [at.batch, at.lq, at.lk, at.inner].iter().map(|size| *size as f64).product::<f64>()
    }

    fn work(&self, x: &[TensorType]) -> Option<Work> {
        Some(Work::Attention { heads: self.heads, first_query: self.first_query, inputs: x.to_vec() })
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

    fn stores_f16(&self, x: &[TensorType], tuning: &Tuning) -> usize {
        if self.0.takes_f16(&x[3..], tuning) { x.len() - 3 } else { 0 }
    }

    fn reads_f16_with_outputs(&self, operand: usize) -> bool {
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

    /// Two matmuls each: dP and dq, dk and dv. Probabilities computed anew are not counted.
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
