//! The graph of an encoder or a classifier.

use super::super::{Features, Source};
use crate::{
    error::{Error, Result},
    formats::{
        onnx::{
            Attribute::{Float, Int, Ints},
            Graph,
            messages::TensorProto,
        },
        tensors::Precision,
    },
    model::{Pool, config::inner},
};

/// Names of input and outputs, which are those of Transformers and Optimum where these have one.
const PIXELS: &str = "pixel_values";
const TOKENS: &str = "last_hidden_state";
const FEATURES: &str = "features";
const PROBABILITIES: &str = "probabilities";
const LOGITS: &str = "logits";

/// A network that is being put together. Values are named as the layers that make them.
pub(super) struct Network<'m> {
    source: Source<'m>,
    /// Of patch embedding and blocks.
    precision: Precision,
    pub(super) graph: Graph<'m>,
}

impl<'m> Network<'m> {
    /// A network whose patch embedding and blocks compute in a precision.
    pub(super) fn new(source: &Source<'m>, precision: Precision) -> Network<'m> {
        let (model, mut graph) = (source.model, Graph::new("bootmae"));
        let shape = [0, model.channels, model.image_height, model.image_width];
        graph.input(PIXELS, &shape, "images, (value / 255 - mean) / std as preprocessor_config in the metadata says");
        Network { source: *source, precision, graph }
    }

    /// Ends in the outputs of an encoder.
    pub(super) fn features(&mut self, features: Features) -> Result<()> {
        let (n, d) = (self.source.model.patches(), self.source.model.width);
        let mut tokens = self.tokens(features.blocks)?;
        if features.final_norm {
            tokens = self.layer_norm("norm", &tokens, Precision::F32)?;
        }
        let pooled = self.pool(features.pool, &tokens);
        let pooled = match features.plain_norm {
            true => {
                let ones = self.graph.floats("plain_norm.weight", &[d], vec![1.0; d], Precision::F32);
                self.normalise("plain_norm", &[&pooled, &ones])
            }
            false => pooled,
        };
        self.graph.add("Identity", FEATURES, &[&pooled], &[]);
        self.graph.add("Identity", TOKENS, &[&tokens], &[]);
        self.graph.output(FEATURES, &[0, d], "a vector an image");
        self.graph.output(TOKENS, &[0, 1 + n, d], "the tokens that are pooled, class token first");
        Ok(())
    }

    /// Ends in the outputs of a classifier.
    pub(super) fn classes(&mut self) -> Result<()> {
        let Some(classifier) = self.source.classifier else {
            let reason = "it has no classifier; `bootmae finetune --checkpoint` trains one on it";
            return Err(Error::checkpoint("the checkpoint", reason));
        };
        let (d, classes) = (self.source.model.width, classifier.classes.len());
        let tokens = self.tokens(self.source.model.depth)?;
        // A norm of one token at a time, so it may follow the choice.
        let pooled = self.pool(classifier.pool, &tokens);
        let norm = if classifier.pool == Pool::Mean { "fc_norm" } else { "norm" };
        let normed = self.layer_norm(norm, &pooled, Precision::F32)?;
        self.linear("head", &normed, (classes, d), Precision::F32)?;
        self.graph.add("Identity", LOGITS, &["head"], &[]);
        self.graph.add("Softmax", PROBABILITIES, &["head"], &[("axis", Int(-1))]);
        self.graph.output(PROBABILITIES, &[0, classes], "a row an image, whose sum is 1");
        self.graph.output(LOGITS, &[0, classes], "their logarithms up to a constant");
        Ok(())
    }

    /// The tokens after so many blocks, in 32 bits: `[batch, 1 + patches, width]`.
    fn tokens(&mut self, blocks: usize) -> Result<String> {
        let (source, model, precision) = (self.source, self.source.model, self.precision);
        let (n, d, p) = (model.patches(), model.width, model.patch_size);
        let pixels = self.cast("pixel_values.half", PIXELS, TensorProto::FLOAT16);
        let shape = [d, model.channels, p, p];
        let [weight, bias] = ["patch_embed.proj.weight", "patch_embed.proj.bias"];
        self.graph.floats(weight, &shape, source.get(weight, &shape)?, precision);
        self.graph.floats(bias, &[d], source.get(bias, &[d])?, precision);
        let side = p as i64;
        let attributes = [("kernel_shape", Ints(&[side, side])), ("strides", Ints(&[side, side]))];
        let cells = self.graph.add("Conv", "patch_embed.proj", &[&pixels, weight, bias], &attributes);
        let flat = self.reshape("patch_embed.flatten", &cells, &[0, d as i64, n as i64]);
        let patches = self.graph.add("Transpose", "patch_embed", &[&flat], &[("perm", Ints(&[0, 2, 1]))]);
        // An empty row in front, to which the class token is added together with the positions.
        let pads = self.graph.ints("class_row", &[0, 1, 0, 0, 0, 0]);
        let rows = self.graph.add("Pad", "patch_embed.pad", &[&patches, &pads], &[]);
        let mut table = source.positions()?.into_owned();
        table.iter_mut().zip(source.get("cls_token", &[1, 1, d])?).for_each(|(to, class)| *to += class);
        let table = self.graph.floats("pos_embed", &[1, 1 + n, d], table, precision);
        let mut x = self.graph.add("Add", "tokens", &[&rows, &table], &[]);
        for (name, value) in [
            ("root_2", std::f32::consts::SQRT_2),
            ("one", 1.0),
            ("half", 0.5),
            ("attention_scale", ((d / model.heads) as f32).powf(-0.5)),
        ] {
            self.graph.floats(name, &[], vec![value], precision);
        }
        let inner = inner(d, model.heads) as i64;
        self.graph.ints("qkv_split", &[inner; 3]);
        self.graph.ints("heads_shape", &[0, 1 + n as i64, model.heads as i64, inner / model.heads as i64]);
        self.graph.ints("tokens_shape", &[0, 1 + n as i64, inner]);
        for block in 0..blocks {
            x = self.block(&format!("blocks.{block}"), &x)?;
        }
        Ok(self.cast("tokens.float", &x, TensorProto::FLOAT))
    }

    fn block(&mut self, at: &str, x: &str) -> Result<String> {
        let (model, precision) = (self.source.model, self.precision);
        let (d, hidden) = (model.width, model.mlp_ratio * model.width);
        let name = |part: &str| format!("{at}.{part}");
        let normed = self.layer_norm(&name("norm1"), x, precision)?;
        let attended = self.attention(&name("attn"), &normed)?;
        let x = self.graph.add("Add", &name("attn.add"), &[x, &attended], &[]);
        let normed = self.layer_norm(&name("norm2"), &x, precision)?;
        let up = self.linear(&name("mlp.fc1"), &normed, (hidden, d), precision)?;
        let scaled = self.graph.add("Div", &name("mlp.act.div"), &[&up, "root_2"], &[]);
        let erf = self.graph.add("Erf", &name("mlp.act.erf"), &[&scaled], &[]);
        let more = self.graph.add("Add", &name("mlp.act.add"), &[&erf, "one"], &[]);
        let twice = self.graph.add("Mul", &name("mlp.act.mul"), &[&up, &more], &[]);
        let act = self.graph.add("Mul", &name("mlp.act"), &[&twice, "half"], &[]);
        let down = self.linear(&name("mlp.fc2"), &act, (d, hidden), precision)?;
        Ok(self.graph.add("Add", at, &[&x, &down], &[]))
    }

    fn attention(&mut self, at: &str, x: &str) -> Result<String> {
        let (source, model, precision) = (self.source, self.source.model, self.precision);
        let (d, inner) = (model.width, inner(model.width, model.heads));
        let name = |part: &str| format!("{at}.{part}");
        let weight = source.get(&name("qkv.weight"), &[3 * inner, d])?;
        let weight = self.graph.transposed(&name("qkv.weight"), d, weight, precision);
        let bias = source.attention_bias(at, inner)?;
        let bias = self.graph.floats(&name("qkv.bias"), &[3 * inner], bias, precision);
        let product = self.graph.add("MatMul", &name("qkv.matmul"), &[x, &weight], &[]);
        let qkv = self.graph.add("Add", &name("qkv"), &[&product, &bias], &[]);
        let parts = ["q", "k", "v"].map(name);
        let outputs = parts.each_ref().map(|part| &part[..]);
        self.graph.add_several("Split", &name("split"), &[&qkv, "qkv_split"], &[("axis", Int(2))], &outputs);
        // Heads before tokens; keys are transposed besides.
        let [q, k, v] = [[0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]];
        let [q, k, v] = [(0, q), (1, k), (2, v)].map(|(part, perm)| {
            let heads = format!("{}.heads", parts[part]);
            let shaped = self.graph.add("Reshape", &format!("{heads}.reshape"), &[&parts[part], "heads_shape"], &[]);
            self.graph.add("Transpose", &heads, &[&shaped], &[("perm", Ints(&perm))])
        });
        let q = self.graph.add("Mul", &name("scaled"), &[&q, "attention_scale"], &[]);
        let scores = self.graph.add("MatMul", &name("scores"), &[&q, &k], &[]);
        let shares = self.graph.add("Softmax", &name("softmax"), &[&scores], &[("axis", Int(-1))]);
        let mixed = self.graph.add("MatMul", &name("mixed"), &[&shares, &v], &[]);
        let turned = self.graph.add("Transpose", &name("mixed.tokens"), &[&mixed], &[("perm", Ints(&[0, 2, 1, 3]))]);
        let flat = self.graph.add("Reshape", &name("mixed.flat"), &[&turned, "tokens_shape"], &[]);
        self.linear(&name("proj"), &flat, (d, inner), precision)
    }

    /// `x W^T + b` with the weights `at` of `(outputs, inputs)`.
    fn linear(&mut self, at: &str, x: &str, (outputs, inputs): (usize, usize), precision: Precision) -> Result<String> {
        let (weight, bias) = (format!("{at}.weight"), format!("{at}.bias"));
        let values = self.source.get(&weight, &[outputs, inputs])?;
        self.graph.transposed(&weight, inputs, values, precision);
        self.graph.floats(&bias, &[outputs], self.source.get(&bias, &[outputs])?, precision);
        let product = self.graph.add("MatMul", &format!("{at}.matmul"), &[x, &weight], &[]);
        Ok(self.graph.add("Add", at, &[&product, &bias], &[]))
    }

    /// LayerNorm by the gain and bias `at`.
    fn layer_norm(&mut self, at: &str, x: &str, precision: Precision) -> Result<String> {
        let d = self.source.model.width;
        let [weight, bias] = ["weight", "bias"].map(|part| format!("{at}.{part}"));
        for part in [&weight, &bias] {
            self.graph.floats(part, &[d], self.source.get(part, &[d])?, precision);
        }
        Ok(self.normalise(at, &[x, &weight, &bias]))
    }

    fn normalise(&mut self, name: &str, inputs: &[&str]) -> String {
        let eps = self.source.model.layer_norm_eps;
        self.graph.add("LayerNormalization", name, inputs, &[("axis", Int(-1)), ("epsilon", Float(eps))])
    }

    /// One vector of the tokens.
    fn pool(&mut self, pool: Pool, tokens: &str) -> String {
        match pool {
            Pool::Mean => {
                let n = self.source.model.patches() as i64;
                let [first, end, axis] = [("first", 1), ("end", 1 + n), ("axis", 1)]
                    .map(|(name, value)| self.graph.ints(&format!("patches.{name}"), &[value]));
                let patches = self.graph.add("Slice", "patches", &[tokens, &first, &end, &axis], &[]);
                self.graph.add("ReduceMean", "pooled", &[&patches], &[("axes", Ints(&[1])), ("keepdims", Int(0))])
            }
            Pool::Cls => {
                let (first, shape) = (self.graph.ints("class.first", &[0]), [0, self.source.model.width as i64]);
                let class = self.graph.add("Gather", "class", &[tokens, &first], &[("axis", Int(1))]);
                self.reshape("pooled", &class, &shape)
            }
        }
    }

    fn reshape(&mut self, name: &str, x: &str, shape: &[i64]) -> String {
        let shape = self.graph.ints(&format!("{name}.shape"), shape);
        self.graph.add("Reshape", name, &[x, &shape], &[])
    }

    /// The value in another type, where the network computes in half precision.
    fn cast(&mut self, name: &str, x: &str, to: i32) -> String {
        match self.precision {
            Precision::F32 => x.into(),
            Precision::F16 => self.graph.add("Cast", name, &[x], &[("to", Int(i64::from(to)))]),
        }
    }
}
