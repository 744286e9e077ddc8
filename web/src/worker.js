// The computing thread: owns the wasm library and every object of it. A message `{id, call, args}` is answered with
// `{id, ok}` or `{id, error}`. Calls run one after the other in the order of their arrival, so that no object is used by
// two at once. `{crash}` says that the library itself failed, after which nothing here can be trusted.

import init, {
  adapter_info, check, Checkpoint, Encoder, Images, left_out, memory_of, nearest, Network, Photo, principal, self_test, Training, verify,
  WeightsFile,
} from "../pkg/bootmae.js";

const MEGABYTE = 2 ** 20;
const LARGEST_PHOTO = 256 * MEGABYTE;
const LARGEST_TRAINING_FILE = 512 * MEGABYTE;
const LARGEST_JSON = 16 * MEGABYTE;

let ready;
let weights, network, description, photo, view;
let shown = false; // whether the network has the photo
let images, checkpoint, training, shape;
let encoder, encoded; // the encoder that looks at the visitor's pictures, and what is known of it

// What the library writes before it fails is the only place where the reason stands.
let lastWords = "";
const consoleError = console.error.bind(console);
console.error = (...words) => {
  lastWords = words.join(" ").split("\n")[0];
  consoleError(...words);
};

// The library: compressed, so that any host sends it so, and compiled while it comes. `{loading: [bytes, of]}` says how far it is.
async function program() {
  const plain = new URL("../pkg/bootmae_bg.wasm", import.meta.url);
  if (typeof DecompressionStream !== "function") return plain;
  const response = await fetch(new URL("../pkg/bootmae.wasm.gzip", import.meta.url)).catch(() => null);
  if (!response?.ok) return plain;
  const total = Number(response.headers.get("content-length") ?? 0);
  let bytes = 0;
  const counted = new TransformStream({
    transform(chunk, to) {
      bytes += chunk.length;
      postMessage({ loading: [bytes, total] });
      to.enqueue(chunk);
    },
  });
  const stream = response.body.pipeThrough(counted).pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream, { headers: { "content-type": "application/wasm" } });
}

const parse = (value) => (typeof value === "string" ? JSON.parse(value) : value);

function drop(object) {
  object?.free();
}

async function bytesOf(source, most = Infinity) {
  if (source instanceof Uint8Array) return source;
  if (source.size > most) {
    throw new Error(`The file has ${Math.round(source.size / MEGABYTE)} MB; at most ${most / MEGABYTE} MB are read.`);
  }
  return new Uint8Array(await source.arrayBuffer());
}

// A file that the library reads in pieces, at once, as only a worker may.
class Source {
  #file;
  #reader = new FileReaderSync();

  constructor(file) {
    this.#file = file;
  }

  get size() {
    return this.#file.size;
  }

  read(offset, length) {
    return new Uint8Array(this.#reader.readAsArrayBuffer(this.#file.slice(offset, offset + length)));
  }
}

function need(object, what) {
  if (!object) throw new Error(`There is no ${what} yet.`);
  return object;
}

// `source` is a file, or `{rgba, width, height}`.
async function photoOf(source) {
  return source.rgba ? Photo.from_rgba(source.rgba, source.width, source.height) : Photo.decode(await bytesOf(source, LARGEST_PHOTO));
}

async function weightsOf({ file, config = null, processor = null, heads }) {
  const text = async (beside) => (beside ? bytesOf(beside, LARGEST_JSON) : undefined);
  return WeightsFile.open(new Source(file), await text(config), await text(processor), heads);
}

function pictures(own, paste) {
  need(view, "reconstruction");
  return {
    width: description.image_width,
    height: description.image_height,
    rows: description.rows,
    columns: description.columns,
    original: view.original(),
    reconstruction: view.reconstruction(own, paste),
    error: view.error_map(own),
    psnr: view.psnr(own),
    predicted: view.features("predicted"),
    teacher: view.features("teacher"),
    cosine: view.cosine(),
  };
}

function started() {
  const config = parse(training.config());
  const { image_height: height, image_width: width, patch_size: patch } = config.model;
  shape = { width, height, rows: height / patch, columns: width / patch };
  const { step, submitted, steps, parameters, gpu_bytes } = training;
  return { config, step, submitted, steps, parameters, gpu_bytes };
}

const calls = {
  adapter_info,
  self_test: async (first, most) => parse(await self_test(first, most)),
  verify,
  // Bytes of the GPU's memory that training with these settings takes.
  memory_of: (settings) => memory_of(JSON.stringify(settings)),
  check: async () => parse(await check()),

  // Lists what is in a file of weights, and answers with the bytes of memory that its network takes. `heads` are the
  // encoder's, where the file does not say.
  async open_weights(source) {
    const opened = await weightsOf(source);
    drop(weights);
    weights = opened;
    return weights.bytes;
  },

  // Reads the network of the file that was opened, which is used up by that. `raw`: its decoder predicts plain pixels.
  async open_network(raw = false) {
    const file = need(weights, "file of weights");
    weights = null;
    const opened = await Network.open(file, raw);
    drop(view);
    drop(network);
    view = null;
    network = opened;
    shown = false;
    description = parse(network.describe());
    return description;
  },

  // `source` is a file, or `{rgba, width, height}`. The network gets it with the next reconstruction.
  async set_photo(source) {
    const next = await photoOf(source);
    drop(photo);
    photo = next;
    shown = false;
    return { width: photo.width, height: photo.height };
  },

  mask: (kind, masked, seed) => need(network, "network").mask(kind, masked, seed),

  async reconstruct(hidden, own, paste) {
    if (!shown) await need(network, "network").set_photo(need(photo, "picture"));
    shown = true;
    const next = await network.reconstruct(hidden);
    drop(view);
    view = next;
    return pictures(own, paste);
  },

  pictures,

  // The encoder of a file of weights, with or without decoders.
  async encoder_open(source) {
    const opened = await Encoder.open(await weightsOf(source));
    drop(encoder);
    encoder = opened;
    encoded = parse(encoder.describe());
    return encoded;
  },

  // The features of pictures, at most a batch of them: what the network sees of each, or why it cannot be read, and the
  // features of those that can.
  async encoder_features(sources) {
    need(encoder, "network");
    const views = [];
    for (const source of sources) {
      try {
        if (source.error) throw new Error(source.error);
        const one = await photoOf(source);
        views.push({ rgba: encoder.look(one) });
        one.free();
      } catch (error) {
        if (error instanceof WebAssembly.RuntimeError) throw error;
        views.push({ error: String(error?.message ?? error) });
      }
    }
    return { views, features: await encoder.run(), width: encoded.image_width, height: encoded.image_height };
  },

  // What features `[pictures, width]` of a collection say: its map, what is near what, and how well classes are told apart.
  nearest: (features, width, k) => nearest(features, width, k),
  principal: (features, width) => principal(features, width),
  left_out: (features, width, classes, count, k) => parse(left_out(features, width, classes, count, k)),

  teach: (features, classes, names) => parse(need(encoder, "network").teach(features, classes, names)),
  probabilities: (features) => need(encoder, "network").probabilities(features),
  classifier: () => new Blob([need(encoder, "network").classifier()], { type: "application/octet-stream" }),

  // Takes a while for large pictures, and is asked for once nothing else is.
  smooth: () => ({ rgba: need(view, "reconstruction").smooth(), psnr: view.smooth_psnr() }),

  cosines: (cell) => ({
    predicted: need(view, "reconstruction").cosines("predicted", cell),
    teacher: view.cosines("teacher", cell),
  }),

  images_new() {
    drop(images);
    images = new Images();
  },

  images_classes: () => images.classes(),

  images_add: async (name, file) => images.add(name, await bytesOf(file, LARGEST_TRAINING_FILE)),

  checkpoint_new() {
    drop(checkpoint);
    checkpoint = new Checkpoint();
  },

  checkpoint_add: async (name, file) => checkpoint.add(name, await bytesOf(file)),
  checkpoint_describe: () => parse(checkpoint.describe()),

  checkpoint_drop() {
    drop(checkpoint);
    checkpoint = null;
  },

  // Starts with the images added, or goes on with the checkpoint where one is open, with what `settings` changes of it;
  // both are used up by that.
  async training_start(settings) {
    drop(training);
    training = null;
    const [data, from] = [need(images, "picture to train on"), checkpoint];
    images = checkpoint = null;
    training = from ? await Training.resume(from, data, JSON.stringify(settings)) : await Training.start(JSON.stringify(settings), data);
    return started();
  },

  async training_advance() {
    const brought = parse(await need(training, "run").advance());
    return { ...brought, step: training.step, submitted: training.submitted };
  },

  // `budget` seconds decide, the first time, how many pictures are looked at.
  training_neighbours: async (budget) => parse(await need(training, "run").neighbours(budget)),

  training_pause: () => need(training, "run").pause(),

  async training_preview(most) {
    const count = await need(training, "run").preview(most);
    const shown = [];
    for (let i = 0; i < count; i++) {
      const one = training.preview_view(i);
      shown.push({
        ...shape,
        original: one.original(),
        masked: one.masked(),
        reconstruction: one.reconstruction(true, true),
        predicted: one.features("predicted"),
        teacher: one.features("teacher"),
        psnr: one.psnr(true),
      });
      one.free();
    }
    return shown;
  },

  // The state as an archive, `saved` the step it is after; and what was measured and said on the way to it.
  async training_keep() {
    const blob = new Blob([await need(training, "run").save()], { type: "application/x-tar" });
    const news = parse(training.news());
    const { saved_step: saved, step, submitted } = training;
    return { ...news, blob, saved, name: training.save_name(), step, submitted };
  },
};

// The buffers in `value`, which are handed over instead of copied.
function buffers(value, found = []) {
  if (ArrayBuffer.isView(value)) found.push(value.buffer);
  else if (value && typeof value === "object") Object.values(value).forEach((inner) => buffers(inner, found));
  return found;
}

function crash(error) {
  postMessage({ crash: lastWords || String(error?.message ?? error) });
}

async function answer({ id, call, args }) {
  try {
    ready ??= program().then((module_or_path) => init({ module_or_path }));
    await ready;
    const ok = await calls[call](...args);
    postMessage({ id, ok }, buffers(ok));
  } catch (error) {
    postMessage({ id, error: String(error?.message ?? error) });
    if (error instanceof WebAssembly.RuntimeError) crash(error);
  }
}

let last = Promise.resolve();
addEventListener("message", ({ data }) => {
  last = last.then(() => answer(data));
});
addEventListener("error", ({ error, message }) => crash(error ?? message));
addEventListener("unhandledrejection", ({ reason }) => crash(reason));
