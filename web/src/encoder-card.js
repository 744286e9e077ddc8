// Which network Explore and Teach take features of, in words, and the choice of another one.

import { chosen, picker, shownName, weightsAmong } from "./files.js";

const element = (id) => document.getElementById(id);

export class EncoderCard {
  #encoder;
  #headless = null; // {source, title} of a file that does not say how many attention heads its network has

  constructor(encoder) {
    this.#encoder = encoder;
    picker(element("choose-encoder"), element("encoder-file"), (files) => this.takeFiles(chosen(files)));
    element("page-encoder").addEventListener("click", () => this.#choose(null));
    element("encoder-heads").addEventListener("change", () => {
      const heads = element("encoder-heads").valueAsNumber;
      if (Number.isInteger(heads) && heads > 0) this.#choose({ ...this.#headless, source: { ...this.#headless.source, heads } });
    });
    encoder.addEventListener("change", () => this.#show());
    this.#show();
  }

  async takeFiles(files) {
    const weights = weightsAmong(files);
    if (weights) await this.#choose({ source: weights.source, title: shownName(weights.name), own: true });
    else element("encoder-error").textContent = `${shownName(files[0].name)} is no file of weights: .safetensors, .tar, .pth, .pt, .bin or .ckpt.`;
  }

  async #choose(weights) {
    element("encoder-error").textContent = "";
    element("encoder-heads-line").hidden = true;
    for (const note of document.querySelectorAll("[data-encoder-note]")) note.textContent = "Reading the network…";
    try {
      await this.#encoder.choose(weights);
    } catch (error) {
      element("encoder-error").textContent = `${weights.title}: ${error.message.replace("give --heads N", "give their number below")}`;
      if (/attention heads/.test(error.message)) {
        this.#headless = weights;
        element("encoder-heads-line").hidden = false;
      }
    }
    this.#show();
  }

  #show() {
    const { weights } = this.#encoder;
    const words = weights ? `Features are the encoder's of: ${weights.title}.` : "There is no network yet.";
    for (const note of document.querySelectorAll("[data-encoder-note]")) note.textContent = words;
    element("page-encoder").hidden = !weights?.own;
  }
}
