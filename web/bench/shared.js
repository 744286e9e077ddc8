// What every contender computes: `nano` of src/model/config.rs, its parameters, and one batch of random images with random
// masks. Linear weights are `[inputs, outputs]`, as TensorFlow.js and jax-js take them.

export const NANO = {
  image: 32, channels: 3, patch: 4, patches: 64, masked: 48, visible: 16, values: 48,
  width: 128, depth: 6, heads: 4, decoderDepth: 2, mlpRatio: 4, pixelTap: 0, featureTap: 5,
  layerNormEps: 1e-6, pixelEps: 1e-5,
};

export const SETTINGS = {
  learningRate: 1e-3, weightDecay: 0.05, beta1: 0.9, beta2: 0.95, adamEps: 1e-8, teacherDecay: 0.999, featureWeight: 1,
};

// A small generator with a seed, so that all contenders start alike.
function mulberry(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Every trainable tensor: `{name, shape, values, decay, encoder}`; the teacher has those of the encoder.
export function parameters(seed = 1) {
  const random = mulberry(seed);
  const { width, depth, decoderDepth, mlpRatio, values } = NANO;
  const list = [];
  const add = (name, shape, decay, value) => {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1)).map(value);
    list.push({ name, shape, decay, values: data, encoder: !/^(norm|pixel|feature)/.test(name) });
  };
  const matrix = (name, inputs, outputs, fans = inputs + outputs) => {
    const bound = Math.sqrt(6 / fans);
    add(name, [inputs, outputs], true, () => bound * (2 * random() - 1));
  };
  const vector = (name, length, start = 0) => add(name, [length], false, () => start);
  const linear = (name, inputs, outputs) => {
    matrix(`${name}.w`, inputs, outputs);
    vector(`${name}.b`, outputs);
  };
  const norm = (name) => {
    vector(`${name}.g`, width, 1);
    vector(`${name}.b`, width);
  };
  const block = (name) => {
    norm(`${name}.norm1`);
    matrix(`${name}.qkv.w`, width, 3 * width, 2 * width);
    vector(`${name}.qkv.q`, width);
    vector(`${name}.qkv.v`, width);
    linear(`${name}.proj`, width, width);
    norm(`${name}.norm2`);
    linear(`${name}.fc1`, width, mlpRatio * width);
    linear(`${name}.fc2`, mlpRatio * width, width);
  };
  linear("patch", values, width);
  add("cls", [1, 1, width], false, () => 1e-6 * (2 * random() - 1));
  for (let i = 0; i < depth; i++) block(`blocks.${i}`);
  norm("norm");
  for (const branch of ["pixel", "feature"]) {
    linear(`${branch}.embed`, width, width);
    add(`${branch}.mask`, [1, 1, width], true, () => 0.02 * (2 * random() - 1));
    for (let i = 0; i < decoderDepth; i++) {
      const at = `${branch}.${i}`;
      block(at);
      norm(`${at}.normq`);
      norm(`${at}.normkv`);
      linear(`${at}.cross.q`, width, width);
      matrix(`${at}.cross.kv.w`, width, 2 * width);
      vector(`${at}.cross.kv.v`, width);
      linear(`${at}.cross.proj`, width, width);
    }
    norm(`${branch}.norm`);
  }
  linear("pixel.head", width, values);
  linear("feature.head", width, width);
  return list;
}

// Fixed sine-cosine positions `[patches, width]`.
export function positions() {
  const { patches, width } = NANO;
  const [side, quarter] = [Math.sqrt(patches), width / 4];
  const table = [];
  for (let cell = 0; cell < patches; cell++) {
    for (const at of [Math.floor(cell / side), cell % side]) {
      for (const f of [Math.sin, Math.cos]) {
        for (let k = 0; k < quarter; k++) table.push(f(at * 10000 ** (-k / quarter)));
      }
    }
  }
  return new Float32Array(table);
}

// One batch: images `[batch, channels, image, image]`; the patches of each image in random order, visible ones first, as
// indices into those of the whole batch and, for positions, into those of one image; a weight for each masked patch.
export function batchOf(batch, seed = 2) {
  const random = mulberry(seed);
  const { image, channels, patches, masked } = NANO;
  const images = new Float32Array(batch * channels * image * image).map(() => 2 * random() - 1);
  const cells = new Int32Array(batch * patches);
  const rows = new Int32Array(batch * patches);
  for (let b = 0; b < batch; b++) {
    const order = Array.from({ length: patches }, (_, i) => i);
    for (let i = patches - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    order.forEach((cell, i) => {
      cells[b * patches + i] = cell;
      rows[b * patches + i] = b * patches + cell;
    });
  }
  const weights = new Float32Array(batch * masked).map(() => 1 + random());
  return { batch, images, cells, rows, weights };
}
