//! BootMAE recorded as a graph: encoder on the visible patches, momentum encoder on all of them, two decoders, two
//! losses. MAE is the same with one decoder and one loss.
//!
//! Tokens stand in the order [class, visible, masked] throughout. Blocks treat tokens as a set, so nothing is ever put
//! back into raster order: targets are gathered in the same order instead. The last block of each decoder and of the
//! teacher asks for, and passes on, the masked tokens only, since no loss looks at the others.

use super::config::{Kind, ModelConfig, PixelTarget};
use crate::{
    graph::{Graph, Tensor},
    kernels::Form,
    nn::{Params, Scope, Tail, Tokens, decoder_block, encoder_block, layer_norm, linear, sincos},
    ops::{AssembleTokens, Elementwise, FillMasked, GatherRows, LayerNorm, MaskedMse, Matmul, Patchify, SliceRows},
    shape::TensorType,
};

/// The inputs of a step, by the names that [`crate::exec::Executor::write`] takes.
pub mod inputs {
    /// Images `[batch, channels, height, width]`, normalised.
    pub const IMAGES: &str = "images";
    /// Patch indices `[batch, patches]`, visible ones first.
    pub const ORDER: &str = "order";
    /// Loss weights `[batch, masked]` in the order of the masked patches.
    pub const WEIGHTS: &str = "loss_weights";
    /// The feature loss's weight λ, `[1]`.
    pub const FEATURE_WEIGHT: &str = "feature_weight";
    /// The encoder's positions `[patches, width]`.
    pub const POSITIONS: &str = "pos_embed";
    /// The pixel decoder's positions `[patches, pixel decoder width]`.
    pub const PIXEL_POSITIONS: &str = "decoder_pos_embed";
}

/// The values of a recorded step.
pub struct Recorded<'g> {
    /// Pixel loss plus weighted feature loss, `[1]`.
    pub loss: Tensor<'g>,
    /// The pixel loss, `[1]`.
    pub loss_pixel: Tensor<'g>,
    /// Predicted pixels of the masked patches, `[batch, masked, channels * patch * patch]`.
    pub pixels: Tensor<'g>,
    /// The feature branch, if the configuration has one.
    pub features: Option<FeatureBranch<'g>>,
}

/// The values of the feature branch.
pub struct FeatureBranch<'g> {
    /// The feature loss, `[1]`.
    pub loss: Tensor<'g>,
    /// Predicted features of the masked patches, `[batch, masked, width]`, before normalisation.
    pub predicted: Tensor<'g>,
    /// The teacher's features of the masked patches, normalised.
    pub target: Tensor<'g>,
}

struct Step<'a, 'g> {
    config: &'a ModelConfig,
    patches: Tensor<'g>,
    order: Tensor<'g>,
    positions: Tensor<'g>,
}

/// What the student alone makes of an image.
pub struct Predicted<'g> {
    /// Pixels of the masked patches, `[batch, masked, channels * patch * patch]`, normalised as the target is.
    pub pixels: Tensor<'g>,
    /// Features of the masked patches, `[batch, masked, width]`, before normalisation, if there is a feature branch.
    pub features: Option<Tensor<'g>>,
}

/// Records the student's predictions for a batch of `batch` images, without targets and losses.
pub fn predict<'g>(config: &ModelConfig, batch: usize, student: &Params<'g>) -> Predicted<'g> {
    let step = Step::new(config, batch, student.graph());
    let encoded = step.encode_visible(student);
    let pixels = step.pixels(student, &encoded);
    Predicted { pixels, features: config.feature_branch.then(|| step.features(student, &encoded)) }
}

/// Records the teacher's features of all patches of a batch of `batch` images, `[batch, patches, width]`, normalised, in
/// the order of the input `order`.
pub fn teach<'g>(config: &ModelConfig, batch: usize, teacher: &Params<'g>) -> Tensor<'g> {
    let step = Step::new(config, batch, teacher.graph());
    let seen = step.encode(&teacher.root(), config.patches(), Tail::From(1));
    normalise(*seen.last().expect("at least one block"), config.layer_norm_eps)
}

/// Records what the encoder makes of whole images, the tokens after `blocks` of its blocks, `[batch, 1 + patches, width]`: the
/// class token, and the patches in the order of the input `order`.
pub fn embed<'g>(config: &ModelConfig, batch: usize, encoder: &Params<'g>, blocks: usize) -> Tensor<'g> {
    let step = Step::new(config, batch, encoder.graph());
    step.encode(&encoder.root(), config.patches(), Tail::All)[blocks - 1]
}

/// Records one forward pass of the student, and of the teacher where there is a feature branch, for a batch of `batch`
/// images. The teacher's parameters are given exactly when the configuration has a feature branch.
pub fn record<'g>(
    config: &ModelConfig,
    batch: usize,
    student: &Params<'g>,
    teacher: Option<&Params<'g>>,
) -> Recorded<'g> {
    assert_eq!(teacher.is_some(), config.feature_branch, "a teacher goes with the feature branch");
    let graph = student.graph();
    let step = Step::new(config, batch, graph);
    let weights = graph.input(inputs::WEIGHTS, TensorType::f32(&[batch, config.masked]));
    let encoded = step.encode_visible(student);
    let pixels = step.pixels(student, &encoded);
    let target = graph.scope("targets", || step.pixel_target());
    let loss_pixel = graph.scope("loss_pixel", || pixels.then(MaskedMse, &[target, weights]));
    let Some(teacher) = teacher else { return Recorded { loss: loss_pixel, loss_pixel, pixels, features: None } };

    let seen = step.encode(&teacher.root(), config.patches(), Tail::From(1 + config.visible()));
    let target = normalise(*seen.last().expect("at least one block"), config.layer_norm_eps);
    let predicted = step.features(student, &encoded);
    let loss_feature =
        graph.scope("loss_feature", || normalise(predicted, config.layer_norm_eps).then(MaskedMse, &[target, weights]));
    let lambda = graph.input(inputs::FEATURE_WEIGHT, TensorType::f32(&[1]));
    let loss = graph.scope("loss", || loss_pixel + loss_feature.then(Elementwise::Multiply, &[lambda]));
    Recorded { loss, loss_pixel, pixels, features: Some(FeatureBranch { loss: loss_feature, predicted, target }) }
}

/// LayerNorm without gain and bias.
fn normalise(x: Tensor<'_>, eps: f32) -> Tensor<'_> {
    x.then(LayerNorm { eps, unbiased: false }, &[])
}

/// What the encoder makes of the visible patches.
struct Encoded<'g> {
    blocks: Vec<Tensor<'g>>,
    latent: Tensor<'g>,
}

impl<'a, 'g> Step<'a, 'g> {
    /// Names the inputs and cuts the images into patches.
    fn new(config: &'a ModelConfig, batch: usize, graph: &'g Graph) -> Step<'a, 'g> {
        let n = config.patches();
        let shape = [batch, config.channels, config.image_height, config.image_width];
        let images = graph.input(inputs::IMAGES, TensorType::f32(&shape));
        let order = graph.input(inputs::ORDER, TensorType::u32(&[batch, n]));
        let positions = graph.input(inputs::POSITIONS, TensorType::f32(&[n, config.width]));
        let patches = graph.scope("targets", || images.then(Patchify { patch: config.patch_size }, &[]));
        Step { config, patches, order, positions }
    }

    fn encode_visible(&self, student: &Params<'g>) -> Encoded<'g> {
        let blocks = self.encode(&student.root(), self.config.visible(), Tail::All);
        let last = *blocks.last().expect("at least one block");
        let latent = layer_norm(&student.root().at("norm"), last, self.config.layer_norm_eps);
        Encoded { blocks, latent }
    }

    /// The pixel decoder's prediction for the masked patches.
    fn pixels(&self, student: &Params<'g>, encoded: &Encoded<'g>) -> Tensor<'g> {
        let config = self.config;
        let shape = [config.patches(), config.pixel_decoder_width];
        let positions = student.graph().input(inputs::PIXEL_POSITIONS, TensorType::f32(&shape));
        let decoder = student.root().at("pixel_decoder");
        let heads = config.pixel_decoder_heads();
        let decoded = self.decode(&decoder, encoded.latent, encoded.blocks[config.pixel_tap], positions, heads);
        let head = decoder.at("head");
        match config.kind {
            Kind::Bootmae => {
                head.record(|| decoded.then(Matmul { form: Form::Nn }, &[head.get("weight"), head.get("bias")]))
            }
            Kind::Mae => linear(&head, decoded),
        }
    }

    /// The feature decoder's prediction for the masked patches.
    fn features(&self, student: &Params<'g>, encoded: &Encoded<'g>) -> Tensor<'g> {
        let decoder = student.root().at("feature_decoder");
        let tap = encoded.blocks[self.config.feature_tap];
        let decoded = self.decode(&decoder, encoded.latent, tap, self.positions, self.config.heads);
        linear(&decoder.at("head"), decoded)
    }

    /// The outputs of every block for the class token and the first `count` patches of the order, `[batch, 1 + count,
    /// width]`; the last block's may be cut to its tail.
    fn encode(&self, at: &Scope<'_, 'g>, count: usize, tail: Tail) -> Vec<Tensor<'g>> {
        let gather = GatherRows { first: 0, count };
        let embedded = linear(&at.at("patch_embed.proj"), self.patches.then(gather, &[self.order]));
        let positions = self.positions.then(gather, &[self.order]);
        let mut x = at.get("cls_token").then(AssembleTokens, &[embedded, positions]);
        let mut outputs = Vec::with_capacity(self.config.depth);
        for i in 0..self.config.depth {
            let tail = if i + 1 == self.config.depth { tail } else { Tail::All };
            x = encoder_block(&at.at("blocks").at(i), x, self.config.heads, self.config.layer_norm_eps, tail);
            outputs.push(x);
        }
        outputs
    }

    /// A branch's decoder: `latent [batch, 1 + visible, width]` and mask tokens in, `[batch, masked, branch width]` out.
    /// BootMAE adds positions to mask tokens only, since visible tokens carry theirs from the encoder; MAE to all.
    fn decode(
        &self,
        at: &Scope<'_, 'g>,
        latent: Tensor<'g>,
        tap: Tensor<'g>,
        positions: Tensor<'g>,
        heads: usize,
    ) -> Tensor<'g> {
        let (config, eps) = (self.config, self.config.layer_norm_eps);
        let embedded = linear(&at.at("embed"), latent);
        let visible = match config.kind {
            Kind::Bootmae => embedded,
            Kind::Mae => at.record(|| self.with_positions(embedded, positions)),
        };
        let mut x = at.record(|| self.with_masked(visible, at.get("mask_token"), positions));
        let memory = config.cross_attention.then_some(tap);
        for i in 0..config.decoder_depth {
            let last = i + 1 == config.decoder_depth;
            let tail = if last { Tail::From(1 + config.visible()) } else { Tail::All };
            x = Tokens::Each(decoder_block(&at.at("blocks").at(i), x, memory, heads, eps, tail));
        }
        layer_norm(&at.at("norm"), x.all(), eps)
    }

    /// `x [batch, 1 + visible, width]` with the positions of the visible patches; that of the class token is zero.
    fn with_positions(&self, x: Tensor<'g>, positions: Tensor<'g>) -> Tensor<'g> {
        let count = self.config.visible();
        let class = x.then(SliceRows { first: 0, count: 1 }, &[]);
        let visible = x.then(SliceRows { first: 1, count }, &[]);
        class.then(AssembleTokens, &[visible, positions.then(GatherRows { first: 0, count }, &[self.order])])
    }

    /// `visible [batch, 1 + visible, width]` and behind it `mask` and a position for each masked patch. That is the same
    /// in every image, so where a batch masks more patches than there are, each of them stands once.
    fn with_masked(&self, visible: Tensor<'g>, mask: Tensor<'g>, positions: Tensor<'g>) -> Tokens<'g> {
        let config = self.config;
        let (first, count) = (config.visible(), config.masked);
        let (batch, head, width) = (visible.shape()[0], 1 + first, visible.ty().cols());
        if batch * count <= config.patches() {
            let holes = positions.then(GatherRows { first, count }, &[self.order]);
            return Tokens::Each(visible.then(AssembleTokens, &[mask, holes]));
        }
        let (own, shared) = (batch * head, config.patches());
        let holes = positions.reshape(&[1, shared, width]);
        let rows = visible.reshape(&[1, own, width]).then(AssembleTokens, &[mask, holes]);
        Tokens::Shared {
            fill: FillMasked { head, first },
            rows: rows.reshape(&[own + shared, width]),
            order: self.order,
        }
    }

    /// The masked patches' pixels, `[batch, masked, channels * patch * patch]`, normalised as the configuration says.
    fn pixel_target(&self) -> Tensor<'g> {
        let config = self.config;
        let gather = GatherRows { first: config.visible(), count: config.masked };
        let pixels = self.patches.then(gather, &[self.order]);
        let shape = pixels.shape();
        let (op, group) = match config.pixel_target {
            PixelTarget::Raw => return pixels,
            PixelTarget::PatchChannel => {
                (LayerNorm { eps: config.pixel_eps, unbiased: false }, config.patch_size * config.patch_size)
            }
            PixelTarget::Patch => (LayerNorm { eps: PixelTarget::MAE_EPS, unbiased: true }, config.patch_values()),
        };
        let rows = pixels.ty().len() / group;
        pixels.reshape(&[rows, group]).then(op, &[]).reshape(&shape)
    }
}

/// The constant inputs: position tables for encoder and pixel decoder.
pub fn position_tables(config: &ModelConfig) -> [(&'static str, Vec<f32>); 2] {
    let (rows, cols) = config.grid();
    [
        (inputs::POSITIONS, sincos(rows, cols, config.width, config.positions)),
        (inputs::PIXEL_POSITIONS, sincos(rows, cols, config.pixel_decoder_width, config.positions)),
    ]
}
