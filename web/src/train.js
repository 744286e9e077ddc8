// The Train section: pictures, settings, and one step after the other until the run is over, paused or cannot go on.

import { Chart } from "./chart.js";
import { paint } from "./draw.js";
import { chosen, download, picker, shownName } from "./files.js";

// What the presets set, shown where a field is left empty.
const PRESETS = {
  nano: { image_size: 32, patch_size: 4, width: 128, depth: 6, heads: 4, peak_learning_rate: 0.001 },
  tiny: { image_size: 32, patch_size: 4, width: 192, depth: 12, heads: 3, peak_learning_rate: 0.001 },
};
const MODEL = ["image_size", "patch_size", "width", "depth", "heads"];
const TRAINING = ["steps", "batch_size", "peak_learning_rate", "seed", "save_every_steps"];
const PREVIEWS = 4;
const LEAST_MS_BETWEEN_PREVIEWS = 2000;
const LONGEST_LOG = 200;
const LONGEST_LIST = 200;
const PANELS = [
  ["original", "Original"],
  ["masked", "Masked"],
  ["reconstruction", "Reconstruction"],
  ["predicted", "Predicted"],
  ["teacher", "Teacher's"],
];

const element = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.ceil(seconds)} s`;
}

const shown = {
  images_per_s: (value) => value.toPrecision(3),
  learning_rate: (value) => (value === 0 ? "0" : value.toExponential(2).replace("-", "−")),
  feature_weight: (value) => value.toFixed(3),
  ema_decay: (value) => value.toFixed(5),
  gradient_norm: (value) => (value === null ? "–" : value.toPrecision(3)), // no finite number where half precision overflowed
  teacher_spread: (value) => value.toFixed(3),
};

// `setState(state, text)` tells the page what goes on; `use(blob, title)` hands weights to Reconstruct.
export class Train {
  #engine;
  #setState;
  #use;
  #files = []; // {name, file} of what was chosen
  #title = "";
  #count = 0; // images that the thread holds, 0 once a run has taken them
  #reading = 0;
  #readingDone = Promise.resolve();
  #checkpoint = null;
  #phase = "idle"; // idle, starting, running, paused, stopped, done, failed
  #step = 0;
  #steps = 0;
  #savedStep = 0;
  #pace = null; // seconds a step, smoothed
  #previewed = { step: 0, at: 0, took: 0 };
  #wake = null;
  #loop = Promise.resolve();
  #charts;

  constructor({ engine, setState, use }) {
    [this.#engine, this.#setState, this.#use] = [engine, setState, use];
    this.#charts = {
      pixel: new Chart(document.querySelector('[data-chart="pixel"]'), "Pixel loss"),
      feature: new Chart(document.querySelector('[data-chart="feature"]'), "Feature loss"),
    };
    this.#listen();
    this.#showPreset();
    this.#buttons();
  }

  #listen() {
    element("data-shipped").addEventListener("click", () => this.#takeShipped());
    picker(element("data-folder"), element("folder-input"), (files) => this.takeFiles(chosen(files)));
    picker(element("data-files"), element("files-input"), (files) => this.takeFiles(chosen(files)));
    picker(element("open-checkpoint"), element("checkpoint-input"), (files) => this.openCheckpoint(chosen(files)));
    element("forget-checkpoint").addEventListener("click", () => this.#forgetCheckpoint());
    element("preset").addEventListener("change", () => this.#showPreset());
    element("settings").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#start();
    });
    element("pause").addEventListener("click", () => this.#togglePause());
    element("stop").addEventListener("click", () => this.#stop());
    element("save").addEventListener("click", () => this.#save());
    element("use").addEventListener("click", () => this.#useWeights());
    document.addEventListener("visibilitychange", () => this.#visibility());
    addEventListener("beforeunload", (event) => {
      if (this.#step > this.#savedStep) event.preventDefault();
    });
  }

  get #active() {
    return ["starting", "running", "paused"].includes(this.#phase);
  }

  // --- pictures

  async #takeShipped() {
    try {
      const response = await fetch("photos/index.json");
      if (!response.ok) throw new Error(`the server answered ${response.status}`);
      const listed = (await response.json()).filter(({ held_out }) => !held_out);
      // Fetched when their turn comes.
      const get = (file) => async () => {
        const answer = await fetch(`photos/${file}`);
        if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
        return answer.blob();
      };
      await this.takeFiles(listed.map(({ file }) => ({ name: file, get: get(file) })), "the shipped photos");
    } catch (error) {
      element("data-note").textContent = `The shipped photos could not be loaded: ${error.message}`;
    }
  }

  // Takes files as the pictures to train on, in place of the ones before.
  takeFiles(files, title) {
    this.#files = files;
    this.#title = title;
    this.#readingDone = this.#read();
    return this.#readingDone;
  }

  // Hands the files to the thread, one by one; what it cannot read is listed by name.
  async #read() {
    const turn = ++this.#reading;
    const skipped = [];
    this.#count = 0;
    this.#skipped([]);
    this.#buttons();
    try {
      await this.#engine.call("images_new");
      for (const [i, { name, file, get }] of this.#files.entries()) {
        if (turn !== this.#reading) return;
        element("data-note").textContent = `Reading ${i + 1} of ${this.#files.length} files…`;
        try {
          this.#count += await this.#engine.call("images_add", [name, file ?? (await get())]);
        } catch (error) {
          if (this.#engine.dead) throw error;
          skipped.push({ name, reason: error.message });
        }
      }
      if (turn !== this.#reading) return;
      const images = this.#count === 1 ? "1 picture" : `${whole.format(this.#count)} pictures`;
      const from = this.#title ? ` (${this.#title})` : "";
      const left = skipped.length ? ` ${whole.format(skipped.length)} ${skipped.length === 1 ? "file was" : "files were"} skipped.` : "";
      element("data-note").textContent = `${this.#count ? images : "No picture"} to train on${from}.${left}`;
      if (!this.#active && this.#count) element("train-note").textContent = "Ready to start.";
    } catch (error) {
      this.#count = 0;
      element("data-note").textContent = `The pictures could not be read: ${error.message}`;
    }
    this.#skipped(skipped);
    this.#buttons();
  }

  #skipped(skipped) {
    element("skipped").hidden = skipped.length === 0;
    element("skipped-summary").textContent = `Skipped: ${skipped.length}`;
    const lines = skipped.slice(0, LONGEST_LIST).map(({ name, reason }) => `${shownName(name)}: ${reason}`);
    if (skipped.length > LONGEST_LIST) lines.push(`and ${whole.format(skipped.length - LONGEST_LIST)} more`);
    element("skipped-list").replaceChildren(...lines.map((line) => textNode("li", line)));
  }

  // --- settings and checkpoints

  #showPreset() {
    for (const [name, value] of Object.entries(PRESETS[element("preset").value])) element(name).placeholder = String(value);
  }

  #settings() {
    const form = element("settings").elements;
    const unreadable = [...form].find((field) => field.validity?.badInput);
    if (unreadable) throw new Error(`${unreadable.labels[0].textContent}: this is not a number.`);
    const given = (names) => {
      const set = names.map((name) => [name, form[name].valueAsNumber]).filter(([, value]) => !Number.isNaN(value));
      return Object.fromEntries(set);
    };
    return {
      model: { preset: form.preset.value, masking: form.masking.value, ...given(MODEL) },
      training: given(TRAINING),
    };
  }

  async openCheckpoint(files) {
    this.#complain("checkpoint-error", "");
    try {
      await this.#engine.call("checkpoint_new");
      for (const { name, file } of files) await this.#engine.call("checkpoint_add", [name, file]);
      this.#checkpoint = await this.#engine.call("checkpoint_describe");
      const { step, steps } = this.#checkpoint;
      element("checkpoint-note").textContent =
        `A run of ${whole.format(steps)} steps, saved after ${whole.format(step)}. Its own settings apply. Choose the pictures that it was trained on.`;
      this.#buttons();
    } catch (error) {
      await this.#forgetCheckpoint();
      this.#complain("checkpoint-error", error.message);
    }
  }

  async #forgetCheckpoint() {
    this.#checkpoint = null;
    element("checkpoint-note").textContent = "Go on with a saved run: open its .tar, or all files of its folder.";
    this.#buttons();
    await this.#engine.call("checkpoint_drop").catch(() => {});
  }

  // --- the run

  async #start() {
    if (this.#active || this.#files.length === 0) return;
    this.#phase = "starting";
    this.#step = this.#savedStep = 0;
    this.#setState("running");
    this.#complain("train-error", "");
    this.#note("Starting…");
    this.#buttons();
    try {
      await this.#readingDone;
      // The run before this one used up the pictures.
      if (this.#count === 0) await (this.#readingDone = this.#read());
      if (this.#count === 0) throw new Error("None of the files is a picture to train on.");
      this.#note("Preparing the GPU…");
      const resumed = this.#checkpoint !== null;
      const run = await this.#engine.call("training_start", [this.#settings()]);
      [this.#step, this.#savedStep, this.#steps] = [run.step, run.step, run.steps];
      this.#pace = null;
      this.#previewed = { step: run.step, at: 0, took: 0 };
      for (const chart of Object.values(this.#charts)) chart.clear(run.steps);
      for (const cell of document.querySelectorAll("[data-metric]")) cell.textContent = "–";
      element("previews").replaceChildren();
      const memory = run.gpu_bytes ? `, ${(run.gpu_bytes / 2 ** 20).toFixed(0)} MiB of GPU memory` : "";
      this.#log(`${resumed ? `Resumed after step ${run.step}` : "Started"}: ${(run.parameters / 1e6).toFixed(1)} million parameters${memory}.`);
      this.#phase = "running";
    } catch (error) {
      this.#fail(error);
      return;
    } finally {
      this.#count = 0;
      this.#checkpoint = null;
      element("forget-checkpoint").hidden = true;
      this.#buttons();
    }
    this.#loop = this.#run();
  }

  async #run() {
    try {
      await this.#preview();
      while (this.#phase === "running" || this.#phase === "paused") {
        if (this.#phase === "paused" || hidden()) {
          await new Promise((resolve) => (this.#wake = resolve));
          this.#pace = null;
          continue;
        }
        if (this.#step >= this.#steps) {
          this.#phase = "done";
          break;
        }
        const began = performance.now();
        const { metrics, events, step } = await this.#engine.call("training_advance");
        this.#took((performance.now() - began) / 1000);
        this.#step = step;
        this.#show(metrics);
        for (const event of events) this.#log(event);
        if (this.#previewDue()) await this.#preview();
      }
      if (this.#phase === "done") {
        await this.#preview();
        this.#note(`Done: ${whole.format(this.#steps)} steps. Save the checkpoint, or use the network in Reconstruct.`);
        this.#log("The run is complete.");
      }
      this.#setState("done");
    } catch (error) {
      this.#fail(error);
    }
    this.#buttons();
  }

  #took(seconds) {
    this.#pace = this.#pace === null ? seconds : 0.9 * this.#pace + 0.1 * seconds;
  }

  #show(metrics) {
    const set = (name, text) => (document.querySelector(`[data-metric="${name}"]`).textContent = text);
    set("step", `${whole.format(this.#step)} of ${whole.format(this.#steps)}`);
    set("time_left", duration((this.#steps - this.#step) * this.#pace));
    for (const [name, format] of Object.entries(shown)) {
      const value = metrics[name];
      set(name, Number.isFinite(value) ? format(value) : "–");
    }
    this.#charts.pixel.push(metrics.step, metrics.loss_pixel);
    this.#charts.feature.push(metrics.step, metrics.loss_feature);
    const loss = (value) => (Number.isFinite(value) ? value.toPrecision(4) : "not finite");
    element("pixel-now").textContent = loss(metrics.loss_pixel);
    element("feature-now").textContent = loss(metrics.loss_feature);
    element("train-progress").value = this.#step / this.#steps;
    if (this.#phase === "running" && !hidden()) this.#note("Training.");
  }

  // Pictures come every so many steps, but never so often that they slow the run down much.
  #previewDue() {
    const every = element("preview_every").valueAsNumber || 10;
    const { step, at, took } = this.#previewed;
    const pause = Math.max(LEAST_MS_BETWEEN_PREVIEWS, 5 * took);
    return Math.abs(this.#step - step) >= every && performance.now() - at >= pause;
  }

  async #preview() {
    const began = performance.now();
    const pictures = await this.#engine.call("training_preview", [PREVIEWS]);
    const at = performance.now();
    this.#previewed = { step: this.#step, at, took: at - began };
    const rows = element("previews");
    while (rows.children.length > pictures.length) rows.lastChild.remove();
    while (rows.children.length < pictures.length) rows.append(previewRow(rows.children.length));
    pictures.forEach((picture, i) => {
      for (const [name, title] of PANELS) {
        const canvas = rows.children[i].querySelector(`[data-preview="${name}"]`);
        const features = name === "predicted" || name === "teacher";
        const [width, height] = features ? [picture.columns, picture.rows] : [picture.width, picture.height];
        paint(canvas, picture[name], width, height);
        canvas.closest("figure").hidden = picture[name].length === 0;
        canvas.setAttribute("aria-label", `${title}${features ? " features" : ""} of picture ${i + 1} after step ${this.#step}`);
      }
    });
  }

  #togglePause() {
    this.#phase = this.#phase === "paused" ? "running" : "paused";
    this.#note(this.#phase === "paused" ? `Paused after step ${this.#step}.` : "Training.");
    this.#wakeUp();
    this.#buttons();
  }

  #wakeUp() {
    this.#wake?.();
    this.#wake = null;
  }

  async #stop() {
    this.#phase = "stopped";
    this.#wakeUp();
    this.#note("Stopping after this step…");
    this.#buttons();
    await this.#loop;
    if (this.#phase !== "stopped") return;
    this.#note(`Stopped after step ${this.#step}. The network is kept until the next start.`);
    this.#log(`Stopped after step ${this.#step}.`);
  }

  #visibility() {
    if (this.#phase !== "running") return;
    if (hidden()) {
      this.#note("Paused while this tab is hidden.");
      this.#log(`Paused at step ${this.#step}: the tab is hidden.`);
    } else {
      this.#note("Training.");
      this.#log("The tab is visible again; training goes on.");
    }
    this.#setState(hidden() ? "paused" : "running");
    this.#wakeUp();
  }

  async #save() {
    await this.#withNetwork(async () => {
      const step = this.#step;
      const { name, bytes } = await this.#engine.call("training_save");
      download(name, new Blob([bytes]));
      this.#savedStep = step;
      this.#log(`Saved ${name} (${(bytes.length / 1e6).toFixed(1)} MB).`);
    });
  }

  async #useWeights() {
    await this.#withNetwork(async () => {
      const step = this.#step;
      const bytes = await this.#engine.call("training_weights");
      await this.#use(new Blob([bytes]), `The run of this page after step ${step}`);
    });
  }

  async #withNetwork(work) {
    this.#complain("train-error", "");
    for (const id of ["save", "use"]) element(id).disabled = true;
    try {
      await work();
    } catch (error) {
      this.#complain("train-error", error.message);
    }
    this.#buttons();
  }

  // The thread is gone, and the run with it.
  lost() {
    this.#step = this.#savedStep = 0;
    this.#count = 0;
    this.#checkpoint = null;
    if (this.#active) this.#fail(new Error("The run is lost."));
    this.#phase = "idle";
    this.#wakeUp();
    this.#buttons();
  }

  #fail(error) {
    this.#phase = "failed";
    this.#note(this.#step ? `The run ended after step ${this.#step}.` : "The run could not start.");
    this.#complain("train-error", error.message);
    this.#log(error.message);
    this.#setState("failed");
    this.#buttons();
  }

  #buttons() {
    const { dead } = this.#engine;
    const trained = ["running", "paused", "stopped", "done"].includes(this.#phase);
    element("start").disabled = dead || this.#active || this.#files.length === 0;
    element("start").textContent = this.#checkpoint ? `Continue from step ${this.#checkpoint.step}` : "Start";
    element("pause").disabled = !["running", "paused"].includes(this.#phase);
    element("pause").textContent = this.#phase === "paused" ? "Continue" : "Pause";
    element("stop").disabled = !["running", "paused"].includes(this.#phase);
    element("save").disabled = dead || !trained;
    element("use").disabled = dead || !trained;
    element("forget-checkpoint").hidden = !this.#checkpoint;
    for (const field of element("settings").elements) {
      field.disabled = field.id !== "preview_every" && (this.#active || this.#checkpoint !== null);
    }
  }

  #note(text) {
    const note = element("train-note");
    if (note.textContent !== text) note.textContent = text;
  }

  #complain(id, text) {
    element(id).textContent = text;
  }

  #log(text) {
    const log = element("log");
    log.append(textNode("li", `${new Date().toLocaleTimeString("en-GB")}  ${text}`));
    while (log.children.length > LONGEST_LOG) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  }
}

const hidden = () => document.visibilityState === "hidden";

function textNode(name, text) {
  const node = document.createElement(name);
  node.textContent = text;
  return node;
}

function previewRow(i) {
  const row = document.createElement("div");
  row.className = "preview";
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", `Picture ${i + 1}`);
  for (const [name, title] of PANELS) {
    const figure = document.createElement("figure");
    const frame = document.createElement("div");
    const canvas = document.createElement("canvas");
    frame.className = "frame";
    canvas.setAttribute("role", "img");
    canvas.dataset.preview = name;
    frame.append(canvas);
    if (i === 0) figure.append(textNode("figcaption", title));
    figure.append(frame);
    row.append(figure);
  }
  return row;
}
