//! Linear, LayerNorm and the MLP.

use super::Scope;
use crate::{
    graph::Tensor,
    kernels::Form,
    ops::{Gelu, LayerNorm, Matmul},
};

/// `x Wᵀ + b` with `weight [out, in]` and `bias [out]`.
#[track_caller]
pub fn linear<'g>(at: &Scope<'_, 'g>, x: Tensor<'g>) -> Tensor<'g> {
    at.record(|| x.then(Matmul { form: Form::Nt }, &[at.get("weight"), at.get("bias")]))
}

/// LayerNorm over the last axis with gain and bias.
#[track_caller]
pub fn layer_norm<'g>(at: &Scope<'_, 'g>, x: Tensor<'g>, eps: f32) -> Tensor<'g> {
    at.record(|| x.then(LayerNorm { eps, unbiased: false }, &[at.get("weight"), at.get("bias")]))
}

/// `fc2(gelu(fc1(x)))`.
#[track_caller]
pub fn mlp<'g>(at: &Scope<'_, 'g>, x: Tensor<'g>) -> Tensor<'g> {
    let hidden = linear(&at.at("fc1"), x);
    linear(&at.at("fc2"), at.record(|| hidden.then(Gelu, &[])))
}
