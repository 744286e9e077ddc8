//! Every trainable tensor of a configuration, with the published initialisation.

use super::config::{Kind, ModelConfig, inner};
use crate::nn::{Init, Param};

/// The parameters in the order of the forward pass. Names are timm's; `pixel_decoder` and `feature_decoder` are the two
/// branches.
pub fn inventory(config: &ModelConfig) -> Vec<Param> {
    let mae = config.kind == Kind::Mae;
    let mut list = List { params: Vec::new(), mlp_ratio: config.mlp_ratio, fused_qkv: mae };
    let (d, p, c) = (config.width, config.patch_size, config.channels);
    let values = config.patch_values();
    // PyTorch's own start of a convolution, which MAE leaves to the bias of this one.
    let bound = 1.0 / (values as f64).sqrt();
    list.weight("patch_embed.proj.weight", &[d, c, p, p], xavier(values + d));
    list.vector("patch_embed.proj.bias", d, if mae { Init::Uniform(bound) } else { Init::Zero });
    let cls = Init::Normal(if mae { 0.02 } else { 1e-6 });
    list.params.push(Param::new("cls_token", &[1, 1, d], cls, config.weight_decay_tokens));
    for i in 0..config.depth {
        list.block(&format!("blocks.{i}"), d, config.heads);
    }
    list.norm("norm", d);
    let branches = [
        ("pixel_decoder", config.pixel_decoder_width, config.pixel_decoder_heads()),
        ("feature_decoder", d, config.heads),
    ];
    for (branch, w, heads) in branches.into_iter().take(if config.feature_branch { 2 } else { 1 }) {
        list.linear(&format!("{branch}.embed"), w, d);
        let mask = if mae { Init::Normal(0.02) } else { Init::CutNormal(0.02) };
        list.weight(&format!("{branch}.mask_token"), &[1, 1, w], mask);
        for i in 0..config.decoder_depth {
            let at = format!("{branch}.blocks.{i}");
            list.block(&at, w, heads);
            if config.cross_attention {
                list.cross_attention(&at, d, w, heads);
            }
        }
        list.norm(&format!("{branch}.norm"), w);
    }
    match config.kind {
        // A transposed convolution that keeps PyTorch's start, bias included.
        Kind::Bootmae => {
            list.weight("pixel_decoder.head.weight", &[config.pixel_decoder_width, c, p, p], Init::Uniform(bound));
            list.vector("pixel_decoder.head.bias", c, Init::Uniform(bound));
        }
        Kind::Mae => list.linear("pixel_decoder.head", values, config.pixel_decoder_width),
    }
    if config.feature_branch {
        list.linear("feature_decoder.head", d, d);
    }
    list.params
}

/// Whether a parameter is one of a decoder's. The teacher's are never read.
pub fn of_decoder(name: &str) -> bool {
    name.contains("decoder")
}

/// Xavier-uniform for a matrix whose extents add up to `fans`.
fn xavier(fans: usize) -> Init {
    Init::Uniform((6.0 / fans as f64).sqrt())
}

struct List {
    params: Vec<Param>,
    mlp_ratio: usize,
    /// Whether q, k and v start as one fused matrix.
    fused_qkv: bool,
}

impl List {
    fn weight(&mut self, name: &str, shape: &[usize], init: Init) {
        self.params.push(Param::new(name, shape, init, true));
    }

    fn vector(&mut self, name: &str, len: usize, init: Init) {
        self.params.push(Param::new(name, &[len], init, false));
    }

    fn linear(&mut self, at: &str, outputs: usize, inputs: usize) {
        self.weight(&format!("{at}.weight"), &[outputs, inputs], xavier(outputs + inputs));
        self.vector(&format!("{at}.bias"), outputs, Init::Zero);
    }

    fn norm(&mut self, at: &str, width: usize) {
        self.vector(&format!("{at}.weight"), width, Init::One);
        self.vector(&format!("{at}.bias"), width, Init::Zero);
    }

    fn block(&mut self, at: &str, width: usize, heads: usize) {
        let inner = inner(width, heads);
        ["norm1", "norm2"].iter().for_each(|norm| self.norm(&format!("{at}.{norm}"), width));
        let outputs = if self.fused_qkv { 3 * inner } else { inner };
        self.weight(&format!("{at}.attn.qkv.weight"), &[3 * inner, width], xavier(outputs + width));
        self.vector(&format!("{at}.attn.q_bias"), inner, Init::Zero);
        self.vector(&format!("{at}.attn.v_bias"), inner, Init::Zero);
        self.linear(&format!("{at}.attn.proj"), width, inner);
        self.linear(&format!("{at}.mlp.fc1"), self.mlp_ratio * width, width);
        self.linear(&format!("{at}.mlp.fc2"), width, self.mlp_ratio * width);
    }

    fn cross_attention(&mut self, at: &str, memory: usize, width: usize, heads: usize) {
        let inner = inner(width, heads);
        self.norm(&format!("{at}.norm_q"), width);
        self.norm(&format!("{at}.norm_kv"), memory);
        self.weight(&format!("{at}.cross_attn.q.weight"), &[inner, width], xavier(inner + width));
        // k and v start as one fused matrix, unlike self-attention's.
        self.weight(&format!("{at}.cross_attn.kv.weight"), &[2 * inner, memory], xavier(2 * inner + memory));
        self.vector(&format!("{at}.cross_attn.q_bias"), inner, Init::Zero);
        self.vector(&format!("{at}.cross_attn.v_bias"), inner, Init::Zero);
        self.linear(&format!("{at}.cross_attn.proj"), width, inner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(preset: &str) -> (usize, usize, usize) {
        let params = inventory(&ModelConfig::preset(preset).unwrap());
        let sum = |part: &dyn Fn(&str) -> bool| params.iter().filter(|p| part(&p.name)).map(Param::len).sum();
        let pixel = sum(&|n| n.starts_with("pixel_decoder."));
        let feature = sum(&|n| n.starts_with("feature_decoder."));
        (sum(&|_| true) - pixel - feature, pixel, feature)
    }

    #[test]
    fn parameter_counts_are_the_published_ones() {
        assert_eq!(counts("base"), (85_638_144, 9_648_067, 20_087_040));
        assert_eq!(counts("large"), (303_075_328, 10_378_243, 35_695_616));
        assert_eq!(counts("small"), (21_585_408, 5_177_091, 5_030_016));
    }

    #[test]
    fn parameter_counts_of_mae_are_the_published_ones_without_key_biases() {
        let all = |preset: &str| {
            let (encoder, decoder, rest) = counts(preset);
            assert_eq!(rest, 0);
            (encoder, decoder)
        };
        assert_eq!(all("mae-base"), (85_636_608 + 1_536, 26_004_224));
        assert_eq!(all("mae-large"), (303_073_280 + 2_048, 26_135_296));
    }

    #[test]
    fn mask_tokens_decay_and_the_class_token_does_not() {
        let decays_of = |preset: &str, name: &str| {
            let params = inventory(&ModelConfig::preset(preset).unwrap());
            params.iter().find(|p| p.name == name).unwrap().decay
        };
        let decays = |name: &str| decays_of("nano", name);
        assert!(decays("pixel_decoder.mask_token") && decays("feature_decoder.mask_token"));
        assert!(!decays("cls_token") && !decays("blocks.0.attn.q_bias") && decays("pixel_decoder.head.weight"));
        assert!(
            decays_of("mae-nano", "cls_token") && decays_of("mae-nano", "pixel_decoder.mask_token"),
            "MAE's both do"
        );
    }
}
