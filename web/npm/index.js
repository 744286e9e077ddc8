// The package's interface: see index.d.ts. Everything runs where it is called, in a page or in a worker; a worker keeps the page
// responsive while pictures are decoded.

import start, {
  adapter_info, Encoder as HeldEncoder, Images, Network as HeldNetwork, Photo, Training, WeightsFile,
} from "./pkg/bootmae.js";

let started;

export function init(wasm) {
  started ??= start(wasm === undefined ? undefined : { module_or_path: wasm });
  return started;
}

export async function adapter() {
  await init();
  return adapter_info();
}

async function bytesOf(source) {
  if (typeof source === "string" || source instanceof URL) {
    const response = await fetch(source);
    if (!response.ok) throw new Error(`${source}: the server answered ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  }
  if (source instanceof Uint8Array) return source;
  if (source instanceof ArrayBuffer) return new Uint8Array(source);
  if (typeof source?.arrayBuffer === "function") return new Uint8Array(await source.arrayBuffer());
  throw new TypeError("expected an address, a Blob, an ArrayBuffer or a Uint8Array");
}

async function photoOf(image) {
  if (image?.data && image.width && image.height) {
    // An ImageData, or what is like one.
    return Photo.from_rgba(new Uint8Array(image.data.buffer, image.data.byteOffset, image.data.byteLength), image.width, image.height);
  }
  return Photo.decode(await bytesOf(image));
}

const json = async (source) => (source === undefined ? undefined : bytesOf(source));

// A file in memory, as the library reads it.
class Source {
  constructor(bytes) {
    this.bytes = bytes;
    this.size = bytes.length;
  }

  read(offset, length) {
    return this.bytes.subarray(offset, offset + length);
  }
}

class Model {
  #open;
  #encoder = null;
  #network = null;

  constructor(open) {
    this.#open = open;
  }

  async #encoded() {
    return (this.#encoder ??= await HeldEncoder.open(await this.#open()));
  }

  async #reconstructing() {
    return (this.#network ??= await HeldNetwork.open(await this.#open(), this.raw ?? false));
  }

  async describe() {
    return JSON.parse((await this.#encoded()).describe());
  }

  async embed(images) {
    const several = Array.isArray(images);
    const encoder = await this.#encoded();
    for (const image of several ? images : [images]) {
      const photo = await photoOf(image);
      encoder.look(photo);
      photo.free();
    }
    const values = await encoder.run();
    if (!several) return values;
    const width = values.length / Math.max(1, images.length);
    return images.map((_, i) => values.slice(i * width, (i + 1) * width));
  }

  async reconstruct(image, { mask = "random", share = 0.75, seed = 0, ownStatistics = false, paste = true } = {}) {
    const network = await this.#reconstructing();
    const { image_width: width, image_height: height, patches, rows, columns } = JSON.parse(network.describe());
    const photo = await photoOf(image);
    await network.set_photo(photo);
    photo.free();
    const count = Math.min(patches - 1, Math.max(1, Math.round(share * patches)));
    const hidden = typeof mask === "string" ? network.mask(mask, count, seed) : Uint8Array.from(mask);
    const view = await network.reconstruct(hidden);
    const picture = (rgba) => new ImageData(new Uint8ClampedArray(rgba), width, height);
    const made = {
      rows,
      columns,
      hidden: Uint8Array.from(hidden),
      original: picture(view.original()),
      masked: picture(view.masked()),
      reconstruction: picture(view.reconstruction(ownStatistics, paste)),
      smooth: picture(view.smooth()),
      psnr: view.psnr(ownStatistics),
      smoothPsnr: view.smooth_psnr(),
    };
    view.free();
    return made;
  }

  free() {
    this.#encoder?.free();
    this.#network?.free();
    [this.#encoder, this.#network] = [null, null];
  }
}

export async function load(weights, { config, preprocessor, heads, rawPixels = false } = {}) {
  await init();
  const [bytes, said, processor] = await Promise.all([bytesOf(weights), json(config), json(preprocessor)]);
  const open = async () => WeightsFile.open(new Source(bytes), said, processor, heads);
  const model = new Model(open);
  model.raw = rawPixels;
  await model.describe(); // refuses what is no network
  return model;
}

export async function train(images, { settings = {}, onprogress, signal } = {}) {
  await init();
  const held = new Images();
  const names = new Set();
  for (const [i, image] of [...images].entries()) {
    const name = image?.name ?? `image-${i}.jpg`;
    held.add(names.has(name) ? `${i}-${name}` : name, await bytesOf(image));
    names.add(name);
  }
  const training = await Training.start(JSON.stringify(settings), held);
  try {
    while (training.step < training.steps) {
      if (signal?.aborted) {
        training.pause();
        break;
      }
      const { metrics, events, ended } = JSON.parse(await training.advance());
      if (ended) throw new Error(`training ended after step ${training.step}: ${ended.reason}`);
      if (metrics || events.length) await onprogress?.({ step: training.step, steps: training.steps, metrics, events });
    }
    const checkpoint = await training.save();
    return { step: training.saved_step, steps: training.steps, name: training.save_name(), checkpoint };
  } finally {
    training.free();
  }
}
