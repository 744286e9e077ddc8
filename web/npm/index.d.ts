/** Bytes of a file: fetched from an address, or at hand. */
export type Bytes = string | URL | Blob | ArrayBuffer | Uint8Array;

/** A picture: an image file (JPEG, PNG, WebP, GIF, BMP, TIFF), or pixels as a canvas has them. */
export type Picture = Bytes | ImageData;

/** Loads the library; the other functions do so by themselves. `wasm` is its file, where a bundler puts it elsewhere. */
export function init(wasm?: string | URL | Request | Response | Promise<Response> | BufferSource | WebAssembly.Module): Promise<unknown>;

/** The GPU that everything runs on, in words. Fails where the browser offers none. */
export function adapter(): Promise<string>;

export interface LoadOptions {
  /** `config.json` of a Hugging Face checkpoint. */
  config?: Bytes;
  /** `preprocessor_config.json` of one. */
  preprocessor?: Bytes;
  /** The encoder's attention heads, where the file does not say. */
  heads?: number;
  /** Whether the decoder predicts plain pixels, as in MAE's `mae_visualize` files. */
  rawPixels?: boolean;
}

/**
 * Opens weights: this program's (`bootmae export`, a checkpoint's archive), or a checkpoint that BootMAE, MAE, timm or Transformers
 * wrote. The encoder is read at once, decoders when they are first needed.
 */
export function load(weights: Bytes, options?: LoadOptions): Promise<Model>;

export interface Description {
  image_height: number;
  image_width: number;
  /** Values of a feature. */
  width: number;
  /** Pictures that pass through the network together. */
  batch: number;
  parameters: number;
  /** Steps trained, where the file says. */
  step: number;
}

export interface ReconstructOptions {
  /** How patches are hidden, or an entry for each patch in raster order, 1 where hidden. Default "random". */
  mask?: "random" | "block" | ArrayLike<number>;
  /** The share of hidden patches. Default 0.75. */
  share?: number;
  /** Which mask is drawn. Default 0. */
  seed?: number;
  /** Whether hidden patches are drawn with their own mean and contrast, that is with part of the answer. Default false. */
  ownStatistics?: boolean;
  /** Whether visible patches are the picture's, or transparent. Default true. */
  paste?: boolean;
}

export interface Reconstruction {
  rows: number;
  columns: number;
  /** An entry for each patch in raster order, 1 where hidden. */
  hidden: Uint8Array;
  original: ImageData;
  masked: ImageData;
  reconstruction: ImageData;
  /** Hidden patches filled in smoothly from the visible ones, without the network. */
  smooth: ImageData;
  /** Peak signal-to-noise ratio of the hidden patches in decibels, and of the smooth fill-in. */
  psnr: number;
  smoothPsnr: number;
}

export interface Model {
  describe(): Promise<Description>;
  /** Features as `bootmae embed` makes them: the mean of the patch tokens after the last block. One call at a time. */
  embed(image: Picture): Promise<Float32Array>;
  embed(images: Picture[]): Promise<Float32Array[]>;
  /** What the network makes of the visible patches. Fails for weights without a decoder. */
  reconstruct(image: Picture, options?: ReconstructOptions): Promise<Reconstruction>;
  /** Gives its memory back. */
  free(): void;
}

export interface Progress {
  step: number;
  steps: number;
  /** Losses and rates of the step, by the names of docs/run-folder.md; null where training had to go back. */
  metrics: Record<string, number | null> | null;
  events: string[];
}

export interface TrainOptions {
  /** As in a configuration file: `{ model: { preset: "nano" }, training: { steps: 200, batch_size: 8 } }`. */
  settings?: { model?: Record<string, unknown>; training?: Record<string, unknown> };
  /** Told of every step; waited for. */
  onprogress?: (progress: Progress) => void | Promise<void>;
  /** Ends the run early, with its state saved. */
  signal?: AbortSignal;
}

export interface Trained {
  step: number;
  steps: number;
  /** A file name for the checkpoint. */
  name: string;
  /** A tar archive, which `load` and `bootmae pretrain --resume` take. */
  checkpoint: Uint8Array;
}

/** Pretrains a network on image files. */
export function train(images: Iterable<Bytes>, options?: TrainOptions): Promise<Trained>;
