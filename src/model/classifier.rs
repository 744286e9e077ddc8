//! An encoder with a classifier on it: what fine-tuning trains, as BootMAE and MAE do (modeling_finetune, models_vit).
//!
//! Every patch is a token, in raster order. Either the mean of the patch tokens after the last block passes a LayerNorm of its
//! own (`fc_norm`), or the class token passes the encoder's (`norm`); a linear layer makes logits of it.

use serde::{Deserialize, Serialize};

use super::{config::ModelConfig, inputs, inventory::inventory};
use crate::{
    error::{Error, Result},
    graph::Tensor,
    nn::{
        DropPath, Init, Param, Params, PositionResize, Tail, encoder_block_with, layer_norm, linear, resize_positions,
        sincos,
    },
    ops::{AssembleTokens, Patchify, PoolTokens, SliceRows},
    shape::TensorType,
};

/// The token or tokens that a classifier looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pool {
    /// The mean of the patch tokens.
    #[default]
    Mean,
    /// The class token.
    Cls,
}

/// What a classifier adds to an encoder.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassifierConfig {
    /// The classes by name, in the order of the logits. Found in the data.
    pub classes: Vec<String>,
    /// What the head looks at.
    pub pool: Pool,
    /// Whether positions are trained (MAE) or stay as they are (BootMAE).
    pub train_positions: bool,
    /// The grid of patches, rows and columns, that the encoder's table of positions was made for. Where this network's is
    /// another one, the table is resized. Its own without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position_grid: Option<[usize; 2]>,
    /// How the table is resized.
    pub resize_positions: PositionResize,
    /// The rate at which images do without a branch of the last block; earlier blocks have less, the first none. 0 to less
    /// than 1.
    pub drop_path: f64,
}

/// Inputs of a classifier's training, beside [`inputs::IMAGES`] and [`inputs::POSITIONS`].
pub mod classifier_inputs {
    /// Soft targets `[batch, classes]`; a row adds up to one.
    pub const TARGETS: &str = "targets";
    /// Factors of the branches `[2 depth, batch]`, attention before MLP: 0, or 1 / (1 − rate). Where there is a drop path.
    pub const KEEP: &str = "keep";
}

impl ClassifierConfig {
    /// Refuses what no classifier can be, naming the setting.
    pub fn check(&self) -> Result<()> {
        let fail = |reason: String| Err(Error::Config(reason));
        if self.classes.len() < 2 {
            return fail(format!("a classifier tells at least 2 classes apart, not {}", self.classes.len()));
        }
        if !(0.0..1.0).contains(&self.drop_path) {
            return fail(format!("drop_path must be 0 or more and less than 1, not {}", self.drop_path));
        }
        if self.position_grid.is_some_and(|[rows, cols]| rows == 0 || cols == 0 || rows.max(cols) > 16_384) {
            return fail(format!("position_grid {:?} is no grid of patches", self.position_grid));
        }
        Ok(())
    }

    /// The share of images that do without a branch of each block (timm's linear rule, in float32 as PyTorch computes it).
    pub fn drop_rates(&self, depth: usize) -> Vec<f64> {
        let step = self.drop_path as f32 / depth.saturating_sub(1).max(1) as f32;
        (0..depth).map(|block| f64::from(step * block as f32)).collect()
    }

    /// The table of positions `[1 + patches, width]`, class token first.
    pub fn position_table(&self, model: &ModelConfig) -> Vec<f32> {
        let (rows, cols) = match (self.position_grid, self.resize_positions) {
            (Some([rows, cols]), PositionResize::Bicubic | PositionResize::Antialiased) => (rows, cols),
            _ => model.grid(),
        };
        let mut table = vec![0.0; model.width];
        table.extend(sincos(rows, cols, model.width, model.positions));
        if (rows, cols) == model.grid() {
            return table;
        }
        resize_positions(&table, model.width, (rows, cols), model.grid(), self.resize_positions)
    }

    /// The trainable tensors with timm's names. A tensor's rate is `layer_decay` to the power of the layers above it: patches,
    /// class token and positions are layer 0, block i is i + 1, the head is depth + 1. Frozen, the encoder stays as it is.
    pub fn inventory(&self, model: &ModelConfig, layer_decay: f64, frozen: bool) -> Vec<Param> {
        let d = model.width;
        let mut params: Vec<Param> = inventory(model).into_iter().filter(|param| of_encoder(&param.name)).collect();
        if self.train_positions {
            params.push(Param::new("pos_embed", &[1, 1 + model.patches(), d], Init::Zero, false));
        }
        let rate = |param: &Param| {
            let layer = layer_of(&param.name).unwrap_or(model.depth + 1);
            if frozen { 0.0 } else { layer_decay.powi((model.depth + 1 - layer) as i32) as f32 }
        };
        for param in &mut params {
            param.rate = rate(param);
            // BootMAE and MAE leave it out when they fine-tune, whatever pretraining did.
            param.decay &= param.name != "cls_token";
        }
        let norm = self.norm();
        params.push(Param::new(format!("{norm}.weight"), &[d], Init::One, false));
        params.push(Param::new(format!("{norm}.bias"), &[d], Init::Zero, false));
        params.push(Param::new("head.weight", &[self.classes.len(), d], Init::Normal(2e-5), true));
        params.push(Param::new("head.bias", &[self.classes.len()], Init::Zero, false));
        params
    }

    /// Floating-point operations of one training step per image: three forward passes' worth, two operations a multiply-add.
    pub fn step_flops(&self, model: &ModelConfig) -> f64 {
        let forward = model.encoder_products((1 + model.patches()) as f64) + (model.width * self.classes.len()) as f64;
        6.0 * forward
    }

    fn norm(&self) -> &'static str {
        match self.pool {
            Pool::Mean => "fc_norm",
            Pool::Cls => "norm",
        }
    }
}

/// Whether a parameter of pretraining is one of the encoder up to its last block.
pub fn of_encoder(name: &str) -> bool {
    ["patch_embed.", "cls_token", "blocks."].iter().any(|start| name.starts_with(start))
}

/// The layer of a parameter, none for what follows the last block.
fn layer_of(name: &str) -> Option<usize> {
    if ["patch_embed.", "cls_token", "pos_embed"].iter().any(|start| name.starts_with(start)) {
        return Some(0);
    }
    name.strip_prefix("blocks.")?.split('.').next()?.parse().ok().map(|block: usize| block + 1)
}

/// What a classifier makes of a batch of images.
pub struct Classified<'g> {
    /// The mean of the patch tokens, or the class token, before the norm: `[batch, width]`.
    pub pooled: Tensor<'g>,
    /// `[batch, classes]`.
    pub logits: Tensor<'g>,
}

/// Records a classifier over a batch of `batch` images; `training` with the drop path, if there is one.
pub fn classify<'g>(
    model: &ModelConfig,
    classifier: &ClassifierConfig,
    batch: usize,
    params: &Params<'g>,
    training: bool,
) -> Classified<'g> {
    let (graph, root, eps) = (params.graph(), params.root(), model.layer_norm_eps);
    let (n, d) = (model.patches(), model.width);
    let shape = [batch, model.channels, model.image_height, model.image_width];
    let images = graph.input(inputs::IMAGES, TensorType::f32(&shape));
    let patches = graph.scope("patches", || images.then(Patchify { patch: model.patch_size }, &[]));
    let embedded = linear(&root.at("patch_embed.proj"), patches);
    let mut class = root.get("cls_token");
    let mut x = graph.scope("tokens", || {
        let positions = if classifier.train_positions {
            let table = root.get("pos_embed").reshape(&[1, 1 + n, d]);
            let rows = |first, count| table.then(SliceRows { first, count }, &[]);
            class = class + rows(0, 1).reshape(&[d]);
            rows(1, n).reshape(&[n, d])
        } else {
            graph.input(inputs::POSITIONS, TensorType::f32(&[n, d]))
        };
        class.then(AssembleTokens, &[embedded, positions])
    });
    let dropped = training && classifier.drop_path > 0.0;
    let keep = dropped.then(|| graph.input(classifier_inputs::KEEP, TensorType::f32(&[2 * model.depth, batch])));
    for i in 0..model.depth {
        // The first block's rate is 0.
        let drop_path = keep.filter(|_| i > 0).map(|keep| DropPath { keep, row: 2 * i });
        x = encoder_block_with(&root.at("blocks").at(i), x, model.heads, eps, Tail::All, drop_path);
    }
    let norm = root.at(classifier.norm());
    let pooled = graph.scope("pool", || match classifier.pool {
        Pool::Mean => x.then(PoolTokens { first: 1 }, &[]),
        Pool::Cls => x.then(SliceRows { first: 0, count: 1 }, &[]).reshape(&[batch, d]),
    });
    Classified { pooled, logits: linear(&root.at("head"), layer_norm(&norm, pooled, eps)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(model: &ModelConfig, classifier: &ClassifierConfig) -> usize {
        classifier.inventory(model, 1.0, false).iter().map(Param::len).sum()
    }

    #[test]
    fn parameter_counts_are_the_published_ones() {
        let classes = (0..1000).map(|class| class.to_string()).collect();
        let classifier = ClassifierConfig { classes, ..ClassifierConfig::default() };
        for (size, count) in [("base", 86_407_144), ("large", 304_100_328)] {
            assert_eq!(of(&ModelConfig::preset(size).unwrap(), &classifier), count);
        }
        // The published counts have key biases, which change nothing: depth × width of them.
        let trained = ClassifierConfig { train_positions: true, ..classifier };
        assert_eq!(of(&ModelConfig::preset("mae-base").unwrap(), &trained), 86_567_656 - 12 * 768);
        assert_eq!(of(&ModelConfig::preset("mae-large").unwrap(), &trained), 304_326_632 - 24 * 1024);
    }

    #[test]
    fn a_forward_pass_costs_what_is_published() {
        let classes = (0..1000).map(|class| class.to_string()).collect();
        let classifier = ClassifierConfig { classes, ..ClassifierConfig::default() };
        // ViT-B/16 at 224: 17.6 G multiply-adds (timm's benchmark tables).
        let forward = classifier.step_flops(&ModelConfig::preset("base").unwrap()) / 6e9;
        assert!((forward - 17.56).abs() < 0.05, "{forward}");
    }

    #[test]
    fn lower_layers_learn_more_slowly() {
        let model = ModelConfig::preset("nano").unwrap();
        let classifier = ClassifierConfig { classes: vec!["a".into(), "b".into()], ..ClassifierConfig::default() };
        let params = classifier.inventory(&model, 0.5, false);
        let rate = |name: &str| params.iter().find(|param| param.name == name).unwrap().rate;
        let of =
            ["patch_embed.proj.bias", "cls_token", "blocks.0.norm1.weight", "blocks.5.mlp.fc2.bias", "fc_norm.bias"];
        assert_eq!(of.map(rate), [1.0 / 128.0, 1.0 / 128.0, 1.0 / 64.0, 0.5, 1.0]);
        assert_eq!(rate("head.weight"), 1.0);
        let frozen = classifier.inventory(&model, 0.5, true);
        assert!(frozen.iter().all(|param| param.is_frozen() == layer_of(&param.name).is_some()));
    }

    #[test]
    fn the_first_block_drops_nothing_and_the_last_most() {
        let classifier = ClassifierConfig { drop_path: 0.1, ..ClassifierConfig::default() };
        let rates = classifier.drop_rates(12);
        assert_eq!((rates[0], rates.len()), (0.0, 12));
        assert!((rates[11] - 0.1).abs() < 1e-7 && (rates[1] - 0.1 / 11.0).abs() < 1e-8, "{rates:?}");
        assert_eq!(classifier.drop_rates(1), [0.0]);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        let classes = vec!["a".to_string(), "b".into()];
        let refusal = |of: ClassifierConfig| of.check().unwrap_err().to_string();
        assert!(refusal(ClassifierConfig::default()).contains("at least 2 classes"));
        assert!(
            refusal(ClassifierConfig { classes: classes.clone(), drop_path: 1.0, ..Default::default() })
                .contains("drop_path")
        );
        let grid = ClassifierConfig { classes, position_grid: Some([0, 3]), ..Default::default() };
        assert!(refusal(grid).contains("position_grid"));
    }
}
