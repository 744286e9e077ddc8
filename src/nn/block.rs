//! Pre-norm transformer blocks.

use super::{Scope, Tokens, cross_attention, layer_norm, mlp, self_attention};
use crate::{graph::Tensor, ops::SliceRows};

/// Which tokens of a block's output are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// All of them.
    All,
    /// Those from this token on: attention, MLP and second norm of the others are not computed, since nothing uses
    /// them. Their first norm and their part of the fused q/k/v matmul are, since they are attended to.
    From(usize),
}

impl Tail {
    fn first(self) -> usize {
        match self {
            Tail::All => 0,
            Tail::From(first) => first,
        }
    }
}

/// `x += attn(norm1 x); x += mlp(norm2 x)`.
#[track_caller]
pub fn encoder_block<'g>(at: &Scope<'_, 'g>, x: Tensor<'g>, heads: usize, eps: f32, tail: Tail) -> Tensor<'g> {
    let x = attend(at, Tokens::Each(x), heads, eps, tail);
    let hidden = mlp(&at.at("mlp"), layer_norm(&at.at("norm2"), x, eps));
    at.record(|| x + hidden)
}

/// `x += attn(norm1 x); x += cross_attn(norm_q x, norm_kv memory); x += mlp(norm2 x)`; without a memory the middle line is
/// left out.
#[track_caller]
pub fn decoder_block<'g>(
    at: &Scope<'_, 'g>,
    x: Tokens<'g>,
    memory: Option<Tensor<'g>>,
    heads: usize,
    eps: f32,
    tail: Tail,
) -> Tensor<'g> {
    let mut x = attend(at, x, heads, eps, tail);
    if let Some(memory) = memory {
        let asked = layer_norm(&at.at("norm_q"), x, eps);
        let memory = layer_norm(&at.at("norm_kv"), memory, eps);
        let found = cross_attention(&at.at("cross_attn"), asked, memory, heads);
        x = at.record(|| x + found);
    }
    let hidden = mlp(&at.at("mlp"), layer_norm(&at.at("norm2"), x, eps));
    at.record(|| x + hidden)
}

fn attend<'g>(at: &Scope<'_, 'g>, x: Tokens<'g>, heads: usize, eps: f32, tail: Tail) -> Tensor<'g> {
    let normed = x.map(|x| layer_norm(&at.at("norm1"), x, eps));
    let attended = self_attention(&at.at("attn"), normed, heads, tail.first());
    at.record(|| {
        let x = x.all();
        let rest = match tail {
            Tail::All => x,
            Tail::From(first) => x.then(SliceRows { first, count: x.shape()[1] - first }, &[]),
        };
        rest + attended
    })
}
