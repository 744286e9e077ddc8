//! Multi-head attention with BEiT's biases: queries and values have one, keys have none.

use super::{Scope, Tokens, linear};
use crate::{
    graph::Tensor,
    kernels::Form,
    ops::{Attention, AttentionBias, Matmul},
};

/// Self-attention; only tokens from `first_query` ask, so the result is `[batch, tokens - first_query, width]`.
#[track_caller]
pub fn self_attention<'g>(at: &Scope<'_, 'g>, x: Tokens<'g>, heads: usize, first_query: usize) -> Tensor<'g> {
    let attended = at.record(|| {
        let bias = at.get("q_bias").then(AttentionBias, &[at.get("v_bias")]);
        let qkv = x.map(|x| x.then(Matmul { form: Form::Nt }, &[at.get("qkv.weight"), bias]));
        qkv.all().then(Attention { heads, first_query }, &[])
    });
    linear(&at.at("proj"), attended)
}

/// Attention of `x [batch, tokens, width]` to `memory [batch, memory tokens, memory width]`.
#[track_caller]
pub fn cross_attention<'g>(at: &Scope<'_, 'g>, x: Tensor<'g>, memory: Tensor<'g>, heads: usize) -> Tensor<'g> {
    let attended = at.record(|| {
        let q = x.then(Matmul { form: Form::Nt }, &[at.get("q.weight"), at.get("q_bias")]);
        let bias = at.get("v_bias").then(AttentionBias, &[]);
        let kv = memory.then(Matmul { form: Form::Nt }, &[at.get("kv.weight"), bias]);
        q.then(Attention { heads, first_query: 0 }, &[kv])
    });
    linear(&at.at("proj"), attended)
}
