//! Pre-norm transformer blocks.

use super::{Scope, Tokens, cross_attention, layer_norm, mlp, self_attention};
use crate::{
    graph::Tensor,
    ops::{ScaleImages, SliceRows},
};

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

/// Drop path (stochastic depth; Huang et al., 2016), in training: what the branches of a block are multiplied by for
/// each image.
#[derive(Clone, Copy)]
pub struct DropPath<'g> {
    /// `[.., batch]`: 0 where an image does without the branch, 1 / (1 − rate) where it does not.
    pub keep: Tensor<'g>,
    /// The row for attention; the next is the MLP's.
    pub row: usize,
}

/// `x += attn(norm1 x); x += mlp(norm2 x)`.
#[track_caller]
pub fn encoder_block<'g>(at: &Scope<'_, 'g>, x: Tensor<'g>, heads: usize, eps: f32, tail: Tail) -> Tensor<'g> {
    encoder_block_with(at, x, heads, eps, tail, None)
}

/// The same, with both branches dropped for some images where there is a drop path.
#[track_caller]
pub fn encoder_block_with<'g>(
    at: &Scope<'_, 'g>,
    x: Tensor<'g>,
    heads: usize,
    eps: f32,
    tail: Tail,
    drop_path: Option<DropPath<'g>>,
) -> Tensor<'g> {
    let kept = |branch: Tensor<'g>, after: usize| match drop_path {
        Some(DropPath { keep, row }) => branch.then(ScaleImages::by_row(row + after), &[keep]),
        None => branch,
    };
    let x = attend(at, Tokens::Each(x), heads, eps, tail, |branch| kept(branch, 0));
    let hidden = mlp(&at.at("mlp"), layer_norm(&at.at("norm2"), x, eps));
    at.record(|| x + kept(hidden, 1))
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
    let mut x = attend(at, x, heads, eps, tail, |branch| branch);
    if let Some(memory) = memory {
        let asked = layer_norm(&at.at("norm_q"), x, eps);
        let memory = layer_norm(&at.at("norm_kv"), memory, eps);
        let found = cross_attention(&at.at("cross_attn"), asked, memory, heads);
        x = at.record(|| x + found);
    }
    let hidden = mlp(&at.at("mlp"), layer_norm(&at.at("norm2"), x, eps));
    at.record(|| x + hidden)
}

/// `x += kept(attn(norm1 x))`.
fn attend<'g>(
    at: &Scope<'_, 'g>,
    x: Tokens<'g>,
    heads: usize,
    eps: f32,
    tail: Tail,
    kept: impl FnOnce(Tensor<'g>) -> Tensor<'g>,
) -> Tensor<'g> {
    let normed = x.map(|x| layer_norm(&at.at("norm1"), x, eps));
    let attended = self_attention(&at.at("attn"), normed, heads, tail.first());
    at.record(|| {
        let x = x.all();
        let rest = match tail {
            Tail::All => x,
            Tail::From(first) => x.then(SliceRows { first, count: x.shape()[1] - first }, &[]),
        };
        rest + kept(attended)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        graph::{Array, Graph, gradients, interpret},
        lower::{Fetch, Plan, PlanOptions},
        nn::{Init, Layout, Param, Params},
        shape::TensorType,
    };

    const WIDTH: usize = 8;

    fn layout() -> Layout {
        let matrix =
            |name: &str, out, input| Param::new(format!("{name}.weight"), &[out, input], Init::Normal(0.3), true);
        let vector = |name: &str, len, init| Param::new(name, &[len], init, false);
        let mut params = vec![matrix("attn.qkv", 3 * WIDTH, WIDTH)];
        params.extend(["attn.q_bias", "attn.v_bias"].map(|name| vector(name, WIDTH, Init::Normal(0.3))));
        for norm in ["norm1", "norm2"] {
            params.push(vector(&format!("{norm}.weight"), WIDTH, Init::One));
            params.push(vector(&format!("{norm}.bias"), WIDTH, Init::Zero));
        }
        for (name, out, input) in
            [("attn.proj", WIDTH, WIDTH), ("mlp.fc1", 4 * WIDTH, WIDTH), ("mlp.fc2", WIDTH, 4 * WIDTH)]
        {
            params.push(matrix(name, out, input));
            params.push(vector(&format!("{name}.bias"), out, Init::Normal(0.3)));
        }
        Layout::new(params, 1 << 20)
    }

    /// The tokens of the images, or their gradient.
    fn wave(frequency: f64) -> Vec<f64> {
        (0..3 * 5 * WIDTH).map(|i| (frequency * i as f64).sin()).collect()
    }

    /// What a block makes of three images with these factors of attention and MLP: the output and the gradient of the
    /// input in f64, and the operations of a forward pass.
    fn block(factors: Option<[f64; 6]>) -> (Vec<f64>, Vec<f64>, Vec<&'static str>) {
        let (graph, layout) = (Graph::new(), layout());
        let params = Params::new(&graph, &layout, "weights");
        let [x, dy] = ["x", "dy"].map(|name| graph.input(name, TensorType::f32(&[3, 5, WIDTH])));
        let keep = graph.input("keep", TensorType::f32(&[2, 3]));
        let drop_path = factors.map(|_| DropPath { keep, row: 0 });
        let y = encoder_block_with(&params.root(), x, 2, 1e-6, Tail::All, drop_path);
        let plan = Plan::new(&graph, &[Fetch::new("y", y)], &PlanOptions::default());
        let dx = gradients(y, dy, &[x])[0];
        let mut leaves = [(x, 0.7), (dy, 0.3)].map(|(t, k)| (t, Array::new(&t.shape(), wave(k)))).to_vec();
        leaves.push((keep, Array::new(&[2, 3], factors.unwrap_or_default().to_vec())));
        leaves.extend(layout.params.iter().map(|param| {
            let tensor = params.get(&param.name);
            (tensor, Array::from_f32(&tensor.shape(), &param.initial(1)))
        }));
        let [y, dx] = [y, dx].map(|wanted| interpret(&graph, &leaves, &[wanted]).remove(0).data);
        (y, dx, plan.dispatches.iter().map(|dispatch| dispatch.op).collect())
    }

    #[test]
    fn a_dropped_branch_is_left_out_for_its_images_alone() {
        let (plain, slope, without) = block(None);
        let (y, dx, with) = block(Some([1.0; 6]));
        assert_eq!((y, dx), (plain.clone(), slope.clone()));
        let (y, dx, _) = block(Some([0.0, 1.0, 1.0, 0.0, 1.0, 1.25]));
        let image = |of: &[f64], index: usize| of[index * 5 * WIDTH..][..5 * WIDTH].to_vec();
        assert_eq!(
            (image(&y, 0), image(&dx, 0)),
            (image(&wave(0.7), 0), image(&wave(0.3), 0)),
            "both branches dropped"
        );
        assert_eq!((image(&y, 1), image(&dx, 1)), (image(&plain, 1), image(&slope, 1)), "none dropped");
        assert_ne!(image(&y, 2), image(&plain, 2));
        let count = |ops: &[&str], name: &str| ops.iter().filter(|op| **op == name).count();
        let of = |ops: &[&str]| ["matmul_nt+add", "scale_images+add", "scale_images"].map(|name| count(ops, name));
        assert_eq!((of(&without), of(&with)), ([2, 0, 0], [0, 2, 0]), "{without:?}, {with:?}");
    }
}
