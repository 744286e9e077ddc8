// The step in TensorFlow.js on its WebGPU backend.

import * as tf from "@tensorflow/tfjs-core";
import "@tensorflow/tfjs-core/dist/register_all_gradients.js";
import "@tensorflow/tfjs-backend-webgpu";
import { NANO, SETTINGS, batchOf, parameters, positions } from "./shared.js";

const { width: C, heads: H, patches: N, visible: V, masked: M, values, patch } = NANO;
const D = C / H;
const S = SETTINGS;

export const version = tf.version_core;

export async function create(batch) {
  if (!(await tf.setBackend("webgpu"))) throw new Error("TensorFlow.js has no WebGPU backend here");
  await tf.ready();
  const list = parameters();
  const student = {};
  const teacher = {};
  for (const { name, shape, values: start, encoder } of list) {
    student[name] = tf.variable(tf.tensor(start, shape), true, name);
    if (encoder) teacher[name] = tf.variable(tf.tensor(start, shape), false, `teacher.${name}`);
  }
  const decayed = list.filter(({ decay }) => decay).map(({ name }) => student[name]);
  const table = tf.tensor(positions(), [N, C]);
  const optimiser = tf.train.adam(S.learningRate, S.beta1, S.beta2, S.adamEps);
  const given = batchOf(batch);

  const rows = (x) => tf.reshape(x, [-1, x.shape[x.shape.length - 1]]);

  function linear(P, name, x, b = P[`${name}.b`]) {
    return tf.fused.matMul({ a: rows(x), b: P[`${name}.w`], bias: b });
  }

  function normalise(x, eps = NANO.layerNormEps) {
    const { mean, variance } = tf.moments(x, -1, true);
    return tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, eps)));
  }

  function norm(P, name, x) {
    return tf.add(tf.mul(normalise(x), P[`${name}.g`]), P[`${name}.b`]);
  }

  function gelu(x) {
    return tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1));
  }

  function attend(q, k, v) {
    const scores = tf.matMul(tf.mul(q, 1 / Math.sqrt(D)), k, false, true);
    const mixed = tf.matMul(tf.softmax(scores), v);
    return tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, C]);
  }

  // `parts` matrices of `[batch, heads, tokens, D]` out of a fused product.
  function heads(x, parts, tokens) {
    if (parts === 1) return [tf.transpose(tf.reshape(x, [batch, tokens, H, D]), [0, 2, 1, 3])];
    return tf.unstack(tf.transpose(tf.reshape(x, [batch, tokens, parts, H, D]), [2, 0, 3, 1, 4]));
  }

  const from = (x, first) => (first ? tf.slice(x, [0, first, 0], [-1, -1, -1]) : x);

  // x [batch, tokens, C]; only tokens from `first` are wanted.
  function selfAttention(P, at, x, first) {
    const tokens = x.shape[1];
    const bias = tf.concat([P[`${at}.qkv.q`], tf.zeros([C]), P[`${at}.qkv.v`]]);
    let [q, k, v] = heads(linear(P, `${at}.qkv`, norm(P, `${at}.norm1`, x), bias), 3, tokens);
    if (first) q = tf.slice(q, [0, 0, first, 0], [-1, -1, -1, -1]);
    const out = linear(P, `${at}.proj`, attend(q, k, v));
    return tf.add(from(x, first), tf.reshape(out, [batch, tokens - first, C]));
  }

  function crossAttention(P, at, x, memory) {
    const [q] = heads(linear(P, `${at}.cross.q`, norm(P, `${at}.normq`, x)), 1, x.shape[1]);
    const bias = tf.concat([tf.zeros([C]), P[`${at}.cross.kv.v`]]);
    const [k, v] = heads(linear(P, `${at}.cross.kv`, norm(P, `${at}.normkv`, memory), bias), 2, memory.shape[1]);
    const out = linear(P, `${at}.cross.proj`, attend(q, k, v));
    return tf.add(x, tf.reshape(out, x.shape));
  }

  function mlp(P, at, x) {
    const hidden = gelu(linear(P, `${at}.fc1`, norm(P, `${at}.norm2`, x)));
    return tf.add(x, tf.reshape(linear(P, `${at}.fc2`, hidden), x.shape));
  }

  // The outputs of every block for the class token and `patches [batch, count, values]`.
  function encode(P, patches, places, first = 0) {
    const count = patches.shape[1];
    const embedded = tf.add(tf.reshape(linear(P, "patch", patches), [batch, count, C]), places);
    let x = tf.concat([tf.tile(P.cls, [batch, 1, 1]), embedded], 1);
    const outputs = [];
    for (let i = 0; i < NANO.depth; i++) {
      x = selfAttention(P, `blocks.${i}`, x, i + 1 === NANO.depth ? first : 0);
      x = mlp(P, `blocks.${i}`, x);
      outputs.push(x);
    }
    return outputs;
  }

  function decode(P, branch, latent, memory, places) {
    const seen = tf.reshape(linear(P, `${branch}.embed`, latent), [batch, 1 + V, C]);
    let x = tf.concat([seen, tf.add(places, P[`${branch}.mask`])], 1);
    for (let i = 0; i < NANO.decoderDepth; i++) {
      const at = `${branch}.${i}`;
      x = selfAttention(P, at, x, i + 1 === NANO.decoderDepth ? 1 + V : 0);
      x = crossAttention(P, at, x, memory);
      x = mlp(P, at, x);
    }
    return linear(P, `${branch}.head`, norm(P, `${branch}.norm`, x));
  }

  // Both `[batch * masked, columns]`.
  function masked(x, target, weights) {
    return tf.mean(tf.mul(tf.mean(tf.squaredDifference(x, target), -1), weights));
  }

  function inputs() {
    const grid = NANO.image / patch;
    const images = tf.tensor(given.images, [batch, 3, grid, patch, grid, patch]);
    const patches = tf.reshape(tf.transpose(images, [0, 2, 4, 1, 3, 5]), [batch * N, values]);
    const ordered = tf.reshape(tf.gather(patches, tf.tensor(given.rows, [batch * N], "int32")), [batch, N, values]);
    const places = tf.reshape(tf.gather(table, tf.tensor(given.cells, [batch * N], "int32")), [batch, N, C]);
    return { ordered, places, weights: tf.tensor(given.weights, [batch * M]) };
  }

  function step() {
    const { ordered, places, weights } = inputs();
    const [visible, hidden] = tf.split(ordered, [V, M], 1);
    const [near, far] = tf.split(places, [V, M], 1);
    const pixels = tf.reshape(normalise(tf.reshape(hidden, [-1, patch * patch]), NANO.pixelEps), [-1, values]);
    const features = normalise(rows(encode(teacher, ordered, places, 1 + V).at(-1)));
    const { value, grads } = tf.variableGrads(() => {
      const blocks = encode(student, visible, near);
      const latent = norm(student, "norm", blocks.at(-1));
      const pixelLoss = masked(decode(student, "pixel", latent, blocks[NANO.pixelTap], far), pixels, weights);
      const predicted = normalise(decode(student, "feature", latent, blocks[NANO.featureTap], far));
      return tf.add(pixelLoss, tf.mul(masked(predicted, features, weights), S.featureWeight));
    }, Object.values(student));
    for (const w of decayed) w.assign(tf.mul(w, 1 - S.learningRate * S.weightDecay));
    optimiser.applyGradients(grads);
    for (const [name, w] of Object.entries(teacher)) {
      w.assign(tf.add(tf.mul(w, S.teacherDecay), tf.mul(student[name], 1 - S.teacherDecay)));
    }
    return value;
  }

  return {
    async step() {
      const loss = tf.tidy(step);
      const [value] = await loss.data();
      loss.dispose();
      return value;
    },
  };
}
