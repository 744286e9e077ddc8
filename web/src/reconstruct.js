// The Reconstruct section: a picture, a mask, and what the network makes of them. Every change asks for a redraw; while
// one is computed only the newest wish waits.

import { camera } from "./camera.js";
import { heat, paint, sheet } from "./draw.js";
import { FeatureMaps } from "./feature-maps.js";
import { chosen, download, picker, shownName, weightsAmong } from "./files.js";
import { picturesAmong } from "./collection.js";
import { MaskEditor } from "./mask-editor.js";
import { readable, redrawn } from "./readable.js";
import { LARGEST_SEED, OWN, packMask, unpackMask } from "./url-state.js";

// What the steps of the explanation show.
const STEPS = [
  "Hide: of the original only the visible patches are handed to the network. Paint on the masked picture to hide or show others.",
  "Guess: what the network draws where nothing was visible.",
  "Compare: a smooth fill-in needs no network and is what a guess has to be better than. The error map is bright where the guess is far off.",
];

const element = (id) => document.getElementById(id);
// Bytes from which on the memory that a network takes is worth a word before it is read.
const WORTH_SAYING = 64e6;
const megabytes = (bytes) => whole.format(Math.round(bytes / 1e6));
const whole = new Intl.NumberFormat("en");
const dB = (value) => (Number.isFinite(value) ? `${fixed(value, 1)} dB` : "unknown");
const fixed = (value, digits) => value.toFixed(digits).replace("-", "−");

// The two ways of hiding patches. The method of Train is a field of this name too.
const kinds = () => document.querySelectorAll('#reconstruct [type="radio"][name="kind"]');

// `state` is the page's state and `saved()` writes it to the address; `setState(state, text)` tells the page what goes on.
export class Reconstruct {
  #engine;
  #state;
  #saved;
  #setState;
  #onnetwork;
  #photos = [];
  #network = null;
  #picture = null; // {source, title} of the picture shown
  #weights = null; // {source, title} of the network
  #shipped = null; // the same of the weights that come with the page
  #headless = null; // {source, title} of a file that does not say how many attention heads its network has
  #wanted = null; // the name of the picture that is shown, or that will be once it is read
  #hasPicture = false;
  #painted = null; // the mask painted by hand, or null
  #drawn = null; // the mask drawn last
  #shownBy = null; // the network of the reconstruction shown
  #wish = null;
  #said = ""; // of the reconstruction
  #smooth = null; // decibels of the smooth fill-in, once they are known
  #busy = false;
  #broken = false;
  #newest = 0;
  #last = Promise.resolve();
  #editor;
  #maps;
  #canvases = {};

  // `onnetwork()` is called when another network is shown.
  constructor({ engine, state, saved, setState, onnetwork }) {
    [this.#engine, this.#state, this.#saved, this.#setState, this.#onnetwork] = [engine, state, saved, setState, onnetwork];
    for (const canvas of document.querySelectorAll("#reconstruct [data-panel]")) this.#canvases[canvas.dataset.panel] = canvas;
    const scale = element("heat-scale");
    paint(scale, heat(Float32Array.from({ length: 64 }, (_, i) => (i - 31.5) / 31.5)), 64, 1);
    this.#editor = new MaskEditor(element("mask-editor"), {
      announce: (text) => (element("mask-live").textContent = text),
      onchange: (hidden) => this.#paintedBy(hidden),
    });
    this.#maps = new FeatureMaps(element("features"), element("feature-readout"), (cell) => this.#engine.call("cosines", [cell]));
    this.#listen();
    this.#showControls();
  }

  // {source, title} of the network, null while there is none.
  get weights() {
    return this.#weights;
  }

  #listen() {
    element("page-weights").addEventListener("click", () => this.openWeights(this.#shipped.source, this.#shipped.title));
    picker(element("choose-photo"), element("photo-file"), (files) => this.takeFiles(chosen(files)));
    picker(element("choose-weights"), element("weights-file"), (files) => this.takeFiles(chosen(files)));
    camera({
      button: element("camera"),
      dialog: element("camera-dialog"),
      oncapture: (frame) => this.#takePicture({ source: frame, title: "A picture from the camera" }),
    });
    element("ratio").addEventListener("input", () => this.#draws({ ratio: Number(element("ratio").value) }));
    for (const radio of kinds()) {
      radio.addEventListener("change", () => this.#draws({ kind: radio.value }));
    }
    element("seed").addEventListener("input", () => {
      const seed = element("seed").valueAsNumber;
      if (Number.isInteger(seed) && seed >= 0 && seed <= LARGEST_SEED) this.#draws({ seed });
    });
    element("seed").addEventListener("change", () => (element("seed").value = this.#state.seed));
    element("reshuffle").addEventListener("click", () => this.#draws({ seed: this.#state.seed < LARGEST_SEED ? this.#state.seed + 1 : 0 }));
    element("undo-mask").addEventListener("click", () => {
      this.#editor.undo();
      element("mask-editor").focus();
    });
    for (const step of document.querySelectorAll("#reconstruct .step")) step.addEventListener("click", () => this.#step(step));
    element("drawn-mask").addEventListener("click", () => {
      this.#draws({});
      element("mask-editor").focus();
    });
    for (const name of ["own", "paste"]) {
      element(name).addEventListener("change", () => this.#changed({ [name]: element(name).checked }, "pictures"));
    }
    element("weights-heads").addEventListener("change", () => {
      const heads = element("weights-heads").valueAsNumber;
      const { source, title } = this.#headless;
      if (Number.isInteger(heads) && heads > 0) this.openWeights({ ...source, heads }, title);
    });
    element("raw").addEventListener("change", () => {
      const { source, title } = this.#weights;
      this.openWeights({ ...source, raw: element("raw").checked }, title);
    });
    element("download").addEventListener("click", () => this.#download());
  }

  // Fetches the example photos' list and waits for the weights; what is missing is said and the rest goes on.
  async start(loading) {
    await Promise.all([this.#loadPhotos(), this.loadWeights(loading)]);
  }

  async #loadPhotos() {
    try {
      const response = await fetch("photos/index.json");
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      this.#photos = (await response.json()).filter(({ example }) => example);
    } catch (error) {
      this.#note("photo-error", `The example photos could not be loaded: ${error.message}`);
    }
    element("examples").replaceChildren(...this.#photos.map((photo) => this.#thumbnail(photo)));
    // The visitor may have taken a picture before the list was there.
    if (this.#wanted === null) await this.#restorePhoto();
  }

  #thumbnail(photo) {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const image = document.createElement("img");
    Object.assign(image, { src: `photos/${photo.file}`, alt: photo.title, width: 96, height: 72 });
    button.type = "button";
    button.dataset.photo = nameOf(photo);
    button.setAttribute("aria-pressed", "false");
    button.append(image);
    if (photo.held_out) {
      const badge = document.createElement("span");
      badge.className = "badge";
      badge.textContent = "unseen";
      button.append(badge);
    }
    button.addEventListener("click", () => this.#takeExample(photo));
    item.append(button);
    return item;
  }

  async #restorePhoto() {
    const stranger = this.#state.photo === OWN;
    const named = this.#photos.find((photo) => nameOf(photo) === this.#state.photo);
    const photo = named ?? this.#photos[0];
    if (photo) await this.#takeExample(photo);
    if (this.#state.photo !== OWN && stranger) this.#note("photo-note", "The link was made with a picture that stayed on another computer; this is one of the examples.");
  }

  async #takeExample(photo) {
    const turn = ++this.#newest;
    this.#wanted = nameOf(photo);
    try {
      const response = await fetch(`photos/${photo.file}`);
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      const source = await response.blob();
      if (turn !== this.#newest) return;
      const seen = photo.held_out ? " Never seen in training." : "";
      await this.#takePicture({ source, title: photo.title, credit: `${photo.title}, by ${photo.author} (${photo.licence}).${seen}`, name: nameOf(photo) });
    } catch (error) {
      this.#note("photo-error", `${photo.title} could not be loaded: ${error.message}`);
    }
  }

  // Takes weights, with what lies beside them, or else the first file as a picture: what the visitor chose, dropped or
  // pasted.
  async takeFiles(files) {
    const weights = weightsAmong(files);
    if (weights) return void (await this.openWeights(weights.source, shownName(weights.name)));
    const pictures = picturesAmong(files);
    const { name, file } = pictures[0] ?? files[0];
    const more = pictures.length - 1;
    const others = more > 0 ? ` ${more === 1 ? "Another picture was" : `${whole.format(more)} more were`} dropped with it: Explore shows them all, Train learns from them.` : "";
    await this.#takePicture({ source: file, title: shownName(name), others });
  }

  // Takes a picture that another page hands over; fails where it cannot be read.
  async takeGiven(file) {
    await this.#takePicture({ source: file, title: "A picture of the page around this one" });
    const reason = element("photo-error").textContent;
    if (reason) throw new Error(reason);
  }

  async #takePicture(picture) {
    const turn = ++this.#newest;
    this.#wanted = picture.name ?? OWN;
    this.#note("photo-error", "");
    try {
      let source = picture.source.rgba ? picture.source : await readable(picture.source, picture.title);
      // What was taken after this picture is what the thread is to have.
      if (turn !== this.#newest) return;
      let size = await this.#engine.call("set_photo", [source]).catch((error) => {
        if (source.rgba || !/memory limit/i.test(error.message)) throw error;
        return null;
      });
      if (size === null && turn === this.#newest) {
        // Larger than the library decodes: the browser may make it smaller.
        source = await redrawn(picture.source, picture.title);
        if (turn === this.#newest) size = await this.#engine.call("set_photo", [source]);
      }
      if (turn !== this.#newest) return;
      const { width, height } = size;
      this.#picture = { ...picture, source };
      this.#hasPicture = true;
      const shape = width === height ? "" : " The network sees its middle.";
      this.#note("photo-note", picture.credit ?? `${picture.title}: ${width} × ${height} pixels.${shape}${picture.others ?? ""}`);
      for (const button of element("examples").querySelectorAll("button")) {
        button.setAttribute("aria-pressed", String(button.dataset.photo === picture.name));
      }
      this.#changed({ photo: picture.name ?? OWN }, "all");
    } catch (error) {
      if (turn !== this.#newest) return;
      this.#wanted = this.#picture && (this.#picture.name ?? OWN);
      this.#note("photo-error", `${picture.title}: ${error.message}`);
    }
  }

  // The weights that come with the page, once they are there; `loading` resolves to their file, or to null without any.
  async loadWeights(loading) {
    const progress = element("weights-progress");
    try {
      const file = await loading;
      await this.#last; // the visitor may be opening others
      if (file) this.#shipped = { source: { file }, title: "The weights that come with the page" };
      if (file && !this.#weights) await this.openWeights(this.#shipped.source, this.#shipped.title);
      else if (this.#weights) element("page-weights").hidden = !file;
      else this.#noWeights("This page comes without weights. Open a file of weights here, or train a network in the Train section.");
    } catch (error) {
      if (!this.#weights) this.#noWeights(`The weights could not be loaded: ${error.message}. Open a file of weights here, or train a network in the Train section.`);
    }
    progress.classList.add("idle");
  }

  #noWeights(text) {
    this.#note("weights-note", text);
    this.#note("psnr", "There is no network yet: see Network.");
    this.#setState("ready");
  }

  // Opens the weights of `source`, `{file, config, processor, heads, raw}`: the encoder's attention heads, and whether the
  // decoder predicts plain pixels, where the visitor says so.
  async openWeights(source, title) {
    this.#note("weights-error", "");
    element("heads-line").hidden = true;
    this.#setState("running");
    try {
      await this.#alone(() => this.#open(source, title));
      this.#weights = { source, title };
      element("page-weights").hidden = !this.#shipped || source.file === this.#shipped.source.file;
      this.#onnetwork();
      this.#broken = false;
      this.#ask("all");
      if (!this.#hasPicture) this.#setState("ready");
      return true;
    } catch (error) {
      this.#note("weights-error", `${title}: ${error.message.replace("give --heads N", "give their number below")}`);
      if (/attention heads/.test(error.message)) {
        this.#headless = { source, title };
        element("heads-line").hidden = false;
      }
      if (!this.#network) this.#noWeights("There is no network yet. Open a file of weights here, or train one in the Train section.");
      this.#setState("failed");
      return false;
    }
  }

  async #open(source, title) {
    const bytes = await this.#engine.call("open_weights", [source]);
    const memory = `about ${megabytes(bytes)} MB of this tab's memory and as much of the GPU's`;
    if (bytes > WORTH_SAYING) this.#note("weights-note", `${title}: reading the network takes ${memory}…`);
    this.#network = await this.#engine.call("open_network", [source.raw ?? false]);
    const { image_width, image_height, patch_size, patches, step, parameters, has_features, world, notes } = this.#network;
    const trained = step > 0 ? `, trained for ${whole.format(step)} steps` : "";
    const names = world ? ` A checkpoint with the names of ${world}.` : "";
    this.#note(
      "weights-note",
      `${title}: ${(parameters / 1e6).toFixed(1)} million parameters${trained}. ` +
        `${image_width} × ${image_height} pixels in ${patches} patches of ${patch_size} × ${patch_size}.${names}`,
    );
    // Flags of the program have no meaning here.
    const remarks = notes.map((note) => note.replace(/ \(--[a-z-]+\)|; `--.*$/g, ""));
    element("weights-remarks").replaceChildren(...remarks.map((note) => Object.assign(document.createElement("li"), { textContent: note })));
    element("own-line").hidden = !this.#network.normalised;
    element("raw-line").hidden = !world;
    element("raw").checked = source.raw ?? false;
    element("features").hidden = !has_features;
    this.#painted = unpackMask(this.#state.mask, patches);
    if (!this.#painted) this.#state.mask = null;
    this.#showControls();
  }

  // After the thread was started again.
  async reopen() {
    this.#broken = false;
    if (this.#weights) await this.#alone(() => this.#open(this.#weights.source, this.#weights.title));
    if (this.#picture) await this.#engine.call("set_photo", [this.#picture.source]);
    this.#ask("all");
  }

  // Takes over a state read from the address.
  async restore() {
    this.#painted = this.#network && unpackMask(this.#state.mask, this.#network.patches);
    this.#showControls();
    if (this.#wanted !== this.#state.photo) await this.#restorePhoto();
    else this.#ask("all");
  }

  #changed(change, what) {
    Object.assign(this.#state, change);
    this.#saved();
    this.#showControls();
    this.#ask(what);
  }

  // A change of what the mask is drawn from, which gives up a painted one.
  #draws(change) {
    this.#painted = null;
    this.#changed({ ...change, mask: null }, "all");
  }

  #paintedBy(hidden) {
    // Undone back to the mask that was drawn, it is that.
    const drawn = this.#drawn?.length === hidden.length && this.#drawn.every((bit, i) => bit === hidden[i]);
    this.#painted = drawn ? null : Uint8Array.from(hidden);
    this.#changed({ mask: drawn ? null : packMask(hidden) }, "all");
  }

  #showControls() {
    const { ratio, kind, seed, own, paste } = this.#state;
    const patches = this.#network?.patches;
    const hidden = this.#painted ? this.#painted.reduce((sum, bit) => sum + bit, 0) : patches && this.#drawnCount();
    element("ratio").value = ratio;
    this.#note("ratio-text", `${ratio} %`);
    element("ratio").setAttribute("aria-valuetext", patches ? `${ratio} per cent, ${this.#drawnCount()} of ${patches} patches` : `${ratio} per cent`);
    this.#note("mask-count", patches ? `${hidden} of ${patches} hidden${this.#painted ? ", painted by hand" : ""}` : "");
    for (const radio of kinds()) radio.checked = radio.value === kind;
    if (document.activeElement !== element("seed")) element("seed").value = seed;
    element("own").checked = own;
    element("paste").checked = paste;
    element("drawn-mask").disabled = !this.#painted;
    element("undo-mask").disabled = !this.#painted || !this.#editor.undoable;
  }

  // Shows the panels of one step alone, or all of them again.
  #step(button) {
    const was = button.getAttribute("aria-pressed") === "true";
    for (const other of document.querySelectorAll("#reconstruct .step")) other.setAttribute("aria-pressed", String(other === button && !was));
    element("panels").dataset.step = was ? "" : button.dataset.step;
    const note = element("step-note");
    note.hidden = was;
    note.textContent = was ? "" : STEPS[Number(button.dataset.step) - 1];
  }

  #drawnCount() {
    const { patches } = this.#network;
    return Math.min(patches - 1, Math.max(1, Math.round((patches * this.#state.ratio) / 100)));
  }

  // Runs `work` when what ran before it has ended: a mask and its reconstruction belong to one network.
  #alone(work) {
    const done = this.#last.then(work);
    this.#last = done.catch(() => {});
    return done;
  }

  // `what`: "all" for another picture, mask or network; "pictures" if only the switches changed.
  async #ask(what) {
    this.#wish = this.#wish === "all" ? "all" : what;
    if (this.#busy || !this.#network || !this.#hasPicture) return;
    this.#busy = true;
    element("panels").setAttribute("aria-busy", "true");
    this.#setState("running");
    try {
      while (this.#wish) {
        const wish = this.#wish;
        this.#wish = null;
        await this.#alone(() => this.#compute(wish));
        if (!this.#wish && this.#smooth === null) await this.#alone(() => this.#fillIn());
      }
      this.#note("draw-error", "");
      this.#setState("done");
    } catch (error) {
      // A lost GPU takes the network with it: the next change, and only that, opens it again.
      this.#broken = true;
      this.#wish = null;
      this.#note("draw-error", `Could not reconstruct: ${error.message} The next change tries again.`);
      this.#setState("failed");
    }
    this.#busy = false;
    element("panels").setAttribute("aria-busy", "false");
  }

  async #compute(wish) {
    if (this.#broken) {
      await this.#open(this.#weights.source, this.#weights.title);
      this.#broken = false;
      wish = "all";
    }
    const { kind, seed, own, paste } = this.#state;
    const { rows, columns } = this.#network;
    let result;
    // A network opened meanwhile has reconstructed nothing yet.
    if (wish === "pictures" && this.#shownBy === this.#network) {
      result = await this.#engine.call("pictures", [own, paste]);
    } else {
      const painted = this.#painted;
      const hidden = painted ?? (await this.#engine.call("mask", [kind, this.#drawnCount(), seed]));
      if (!painted) this.#drawn = hidden;
      // Where the mask was painted on meanwhile, the editor is ahead, and stays so.
      if (this.#painted === painted) this.#editor.setMask(hidden, rows, columns);
      result = await this.#engine.call("reconstruct", [hidden, own, paste]);
      this.#smooth = null;
      this.#shownBy = this.#network;
    }
    this.#show(result, own, paste);
  }

  // Shows what needs no network, once the reconstruction is there; a network opened meanwhile has none yet, and draws anew.
  async #fillIn() {
    if (this.#shownBy !== this.#network) return;
    const { rgba, psnr } = await this.#engine.call("smooth");
    const { image_width, image_height } = this.#network;
    paint(this.#canvases.smooth, rgba, image_width, image_height);
    this.#smooth = dB(psnr);
    this.#canvases.smooth.setAttribute("aria-label", `Hidden patches filled in smoothly from the visible ones, without a network: ${this.#smooth}`);
    this.#sayPsnr();
  }

  #sayPsnr() {
    this.#note("psnr", this.#said + (this.#smooth ? ` Filled in smoothly, without any network: ${this.#smooth}.` : ""));
  }

  #show({ width, height, original, reconstruction, error, psnr, cosine, ...features }, own, paste) {
    const put = (name, rgba, words) => {
      paint(this.#canvases[name], rgba, width, height);
      this.#canvases[name].setAttribute("aria-label", words);
    };
    const decibels = dB(psnr);
    const source = own ? "with the hidden patches' own mean and contrast" : "with mean and contrast from the visible neighbours";
    const means = this.#network.normalised ? source : "from the visible patches alone";
    element("waiting").hidden = true;
    put("original", original, `Original: ${this.#picture.title}`);
    put("reconstruction", reconstruction, `Reconstruction ${means}, ${paste ? "with" : "without"} the visible patches: ${decibels}`);
    put("error", error, `Error map of the hidden patches, bright where the reconstruction is far off`);
    this.#editor.setPicture(original, width, height);
    this.#said = `PSNR over the ${this.#editor.count} hidden patches: ${decibels}, ${means}.`;
    this.#sayPsnr();
    this.#note("feature-note", Number.isFinite(cosine) ? `Mean cosine of predicted and teacher's features over the hidden patches, their mean taken out: ${fixed(cosine, 2)}` : "");
    this.#maps.show({ original, width, height, ...features });
    element("download").disabled = false;
  }

  async #download() {
    const titles = { original: "Original", masked: "Masked", reconstruction: "Reconstruction", smooth: "Smooth fill-in", error: "Error" };
    const panels = Object.entries(titles).map(([name, title]) => ({ title, canvas: this.#canvases[name] }));
    download("bootmae-reconstruction.png", await sheet(panels));
  }

  #note(id, text) {
    if (element(id).textContent !== text) element(id).textContent = text;
  }
}

// Shows how far the weights are that come with the page.
export function weightsProgress(bytes, total) {
  const [bar, read] = [element("weights-progress"), (value) => (value / 1e6).toFixed(1)];
  bar.classList.remove("idle");
  bar.value = total ? bytes / total : 0;
  element("weights-note").textContent = `Loading the weights: ${read(bytes)}${total ? ` of ${read(total)}` : ""} MB`;
}

const nameOf = (photo) => photo.file.replace(/\.[a-z]+$/, "");
