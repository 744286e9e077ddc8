// The step in jax-js on WebGPU: one function, compiled by `jit`. Every use of an array consumes it there, and `.ref` keeps
// it for one use more.

import { blockUntilReady, defaultDevice, init, jit, nn, numpy as np, tree, valueAndGrad } from "@jax-js/jax";
import { NANO, SETTINGS, batchOf, parameters, positions } from "./shared.js";

const { width: C, heads: H, patches: N, visible: V, masked: M, values, patch } = NANO;
const D = C / H;
const S = SETTINGS;

export async function create(batch) {
  if (!(await init("webgpu")).includes("webgpu")) throw new Error("jax-js has no WebGPU device here");
  defaultDevice("webgpu");
  const list = parameters();
  const decayed = new Set(list.filter(({ decay }) => decay).map(({ name }) => name));
  const taught = list.filter(({ encoder }) => encoder).map(({ name }) => name);
  const start = (wanted, value) => Object.fromEntries(
    list.filter(wanted).map((p) => [p.name, value(p)]),
  );
  const given = batchOf(batch);
  const grid = NANO.image / patch;

  const rows = (x) => x.reshape([-1, x.shape.at(-1)]);

  function linear(P, name, x, bias = P[`${name}.b`].ref) {
    return np.matmul(rows(x), P[`${name}.w`].ref).add(bias);
  }

  const normalise = (x, epsilon = NANO.layerNormEps) => nn.standardize(x, -1, { epsilon });
  const norm = (P, name, x) => normalise(x).mul(P[`${name}.g`].ref).add(P[`${name}.b`].ref);
  const gelu = (x) => nn.gelu(x, { approximate: false });

  // `parts` arrays of `[batch, tokens, heads, D]` out of a fused product.
  function heads(x, parts, tokens) {
    const split = x.reshape([batch, tokens, parts, H, D]);
    const taken = Array.from({ length: parts }, (_, i) => split.ref.slice([], [], i));
    split.dispose();
    return taken;
  }

  const attend = (q, k, v) => nn.dotProductAttention(q, k, v).reshape([-1, C]);

  // x [batch, tokens, C]; only tokens from `first` are wanted.
  function selfAttention(P, at, x, first) {
    const tokens = x.shape[1];
    const bias = np.concatenate([P[`${at}.qkv.q`].ref, np.zeros([C]), P[`${at}.qkv.v`].ref]);
    let [q, k, v] = heads(linear(P, `${at}.qkv`, norm(P, `${at}.norm1`, x.ref), bias), 3, tokens);
    if (first) [q, x] = [q.slice([], [first]), x.slice([], [first])];
    return x.add(linear(P, `${at}.proj`, attend(q, k, v)).reshape([batch, tokens - first, C]));
  }

  function crossAttention(P, at, x, memory) {
    const [q] = heads(linear(P, `${at}.cross.q`, norm(P, `${at}.normq`, x.ref)), 1, x.shape[1]);
    const bias = np.concatenate([np.zeros([C]), P[`${at}.cross.kv.v`].ref]);
    const tokens = memory.shape[1];
    const [k, v] = heads(linear(P, `${at}.cross.kv`, norm(P, `${at}.normkv`, memory), bias), 2, tokens);
    return x.ref.add(linear(P, `${at}.cross.proj`, attend(q, k, v)).reshape(x.shape));
  }

  function mlp(P, at, x) {
    const hidden = gelu(linear(P, `${at}.fc1`, norm(P, `${at}.norm2`, x.ref)));
    const shape = x.shape;
    return x.add(linear(P, `${at}.fc2`, hidden).reshape(shape));
  }

  // The outputs of every block for the class token and `patches [batch, count, values]`.
  function encode(P, patches, places, first = 0) {
    const count = patches.shape[1];
    const embedded = linear(P, "patch", patches).reshape([batch, count, C]).add(places);
    let x = np.concatenate([np.tile(P.cls.ref, [batch, 1, 1]), embedded], 1);
    const outputs = [];
    for (let i = 0; i < NANO.depth; i++) {
      x = selfAttention(P, `blocks.${i}`, x, i + 1 === NANO.depth ? first : 0);
      x = mlp(P, `blocks.${i}`, x);
      outputs.push(x.ref);
    }
    x.dispose();
    return outputs;
  }

  function decode(P, branch, latent, memory, places) {
    const seen = linear(P, `${branch}.embed`, latent).reshape([batch, 1 + V, C]);
    let x = np.concatenate([seen, places.add(P[`${branch}.mask`].ref)], 1);
    for (let i = 0; i < NANO.decoderDepth; i++) {
      const at = `${branch}.${i}`;
      x = selfAttention(P, at, x, i + 1 === NANO.decoderDepth ? 1 + V : 0);
      x = crossAttention(P, at, x, memory.ref);
      x = mlp(P, at, x);
    }
    memory.dispose();
    return linear(P, `${branch}.head`, norm(P, `${branch}.norm`, x));
  }

  // Both `[batch * masked, columns]`.
  const masked = (x, target, weights) => np.square(x.sub(target)).mean(-1).mul(weights).mean();

  function loss(P, visible, near, far, pixels, features, weights) {
    const blocks = encode(P, visible, near);
    const latent = norm(P, "norm", blocks.at(-1).ref);
    const pixelLoss = masked(
      decode(P, "pixel", latent.ref, blocks[NANO.pixelTap].ref, far.ref), pixels, weights.ref,
    );
    const predicted = normalise(decode(P, "feature", latent, blocks[NANO.featureTap].ref, far));
    const featureLoss = masked(predicted, features, weights);
    tree.dispose(blocks);
    tree.dispose(P);
    return pixelLoss.add(featureLoss.mul(S.featureWeight));
  }

  // `corrections` are those of AdamW's two moments.
  const step = jit(function step(P, first, second, teacher, table, images, rowsOf, cells, weights, corrections) {
    const patches = images
      .reshape([batch, 3, grid, patch, grid, patch]).transpose([0, 2, 4, 1, 3, 5]).reshape([batch * N, values]);
    const ordered = np.take(patches, rowsOf, 0).reshape([batch, N, values]);
    const places = np.take(table, cells, 0).reshape([batch, N, C]);
    const hidden = ordered.ref.slice([], [V]).reshape([-1, patch * patch]);
    const pixels = normalise(hidden, NANO.pixelEps).reshape([-1, values]);
    const seen = encode(teacher, ordered.ref, places.ref, 1 + V);
    const features = normalise(rows(seen.pop()));
    tree.dispose(seen);
    const [value, gradients] = valueAndGrad(loss)(
      tree.ref(P), ordered.slice([], [0, V]), places.ref.slice([], [0, V]), places.slice([], [V]),
      pixels, features, weights,
    );
    const next = [{}, {}, {}, {}];
    const c1 = corrections.ref.slice(0);
    const c2 = corrections.slice(1);
    for (const name of Object.keys(P)) {
      const g = gradients[name];
      const m = first[name].mul(S.beta1).add(g.ref.mul(1 - S.beta1));
      const v = second[name].mul(S.beta2).add(np.square(g).mul(1 - S.beta2));
      const kept = decayed.has(name) ? P[name].mul(1 - S.learningRate * S.weightDecay) : P[name];
      const change = m.ref.mul(c1.ref).div(np.sqrt(v.ref.mul(c2.ref)).add(S.adamEps));
      const w = kept.sub(change.mul(S.learningRate));
      if (teacher[name]) {
        next[3][name] = teacher[name].mul(S.teacherDecay).add(w.ref.mul(1 - S.teacherDecay));
      }
      [next[0][name], next[1][name], next[2][name]] = [w, m, v];
    }
    c1.dispose();
    c2.dispose();
    return [value, ...next];
  });

  const filled = (p) => np.array(p.values.slice()).reshape(p.shape);
  const empty = (p) => np.zeros(p.shape);
  const all = () => true;
  let state = [start(all, filled), start(all, empty), start(all, empty), start(({ name }) => taught.includes(name), filled)];
  const table = np.array(positions()).reshape([N, C]);
  let t = 0;

  return {
    async step() {
      t++;
      const corrections = [1 / (1 - S.beta1 ** t), 1 / (1 - S.beta2 ** t)];
      const [value, ...next] = step(
        ...state,
        table.ref,
        np.array(given.images.slice()),
        np.array(given.rows.slice(), { dtype: np.int32 }),
        np.array(given.cells.slice(), { dtype: np.int32 }),
        np.array(given.weights.slice()),
        np.array(new Float32Array(corrections)),
      );
      state = next;
      const [number] = await value.data();
      await blockUntilReady(tree.ref(state));
      return number;
    },
  };
}
