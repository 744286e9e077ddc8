// The Train section: a run from its start until it is over, paused or cannot go on. What its controls show follows from
// phase.js. The newest good state of the run is kept in this page, and in the browser's storage where that has room.

import { ask } from "./ask.js";
import { Checkpoint } from "./checkpoint.js";
import { sayEnd } from "./endings.js";
import { chosen, download, picker } from "./files.js";
import { Keeper } from "./keeper.js";
import { Neighbours } from "./neighbours.js";
import { Offers } from "./offers.js";
import { controls, isActive } from "./phase.js";
import { counted, Pictures } from "./pictures.js";
import { Previews } from "./previews.js";
import { Progress } from "./progress.js";
import { Settings } from "./settings.js";
import { reworded } from "./wording.js";

// Bytes of the GPU's memory from which on it is asked whether a run is meant.
const LARGE = 2 * 2 ** 30;

const element = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const gigabytes = (bytes) => (bytes < 1e9 ? `${Math.max(1, Math.round(bytes / 1e6))} MB` : `${(bytes / 1e9).toFixed(1)} GB`);
const hidden = () => document.visibilityState === "hidden";

// `state` is the page's state, of which `method` is kept here, and `saved()` writes it to the address; `kept` is the
// browser's storage; `setState(state, text)` tells the page what goes on; `use(blob, title)` hands a
// network to Reconstruct.
export class Train {
  #engine;
  #state;
  #saved;
  #kept;
  #setState;
  #use;
  #settings;
  #pictures;
  #offers;
  #progress = new Progress();
  #neighbours;
  #previews;
  #phase = "idle";
  #step = 0;
  #submitted = 0; // steps done, and the one under way
  #steps = 0;
  #keeper;
  #checkpoint;
  #busy = false;
  #pace = null; // seconds a step, smoothed
  #wake = null;
  #live = null; // {files, changes} of the run that the thread holds still; null if it holds none that can go on
  #persistence = null;
  #focusDue = false;
  #weighing = 0;
  #memory = null; // bytes that a run with these settings takes

  constructor({ engine, state, saved, kept, setState, use }) {
    [this.#engine, this.#state, this.#saved, this.#kept, this.#setState, this.#use] = [engine, state, saved, kept, setState, use];
    this.#neighbours = new Neighbours(engine, this.#progress.neighbours);
    this.#previews = new Previews(engine, this.#progress);
    this.#settings = new Settings(element("settings"), () => {
      this.#methodChanged();
      this.#controls();
      this.#weigh();
    });
    this.takeMethod();
    this.#pictures = new Pictures({ engine, kept, onchange: () => this.#picturesChanged() });
    this.#offers = new Offers(kept, { onchange: () => this.#controls(), resume: (record) => this.#resumeKept(record) });
    this.#checkpoint = new Checkpoint(engine);
    this.#keeper = new Keeper({ engine, kept, note: element("keep-note") });
    this.#listen();
    this.#controls();
    this.#weigh();
  }

  #listen() {
    picker(element("open-checkpoint"), element("checkpoint-input"), (files) => this.openCheckpoint(chosen(files)));
    element("forget-checkpoint").addEventListener("click", () => this.#forgetCheckpoint());
    element("start").addEventListener("click", () => this.#start());
    element("continue").addEventListener("click", () => this.#continue());
    element("pause").addEventListener("click", () => this.#togglePause());
    element("stop").addEventListener("click", () => this.#stop());
    element("save").addEventListener("click", () => this.#withNetwork(() => this.#save()));
    element("use").addEventListener("click", () => this.#withNetwork(() => this.#useNetwork()));
    this.#engine.addEventListener("restart", () => this.#controls());
    document.addEventListener("visibilitychange", () => this.#visibility());
    addEventListener("beforeunload", (event) => {
      if (this.#step > this.#keeper.safe) event.preventDefault();
    });
  }

  // Looks for what the browser kept from before.
  async restore() {
    await this.#offers.refresh();
    await this.#pictures.restore();
  }

  // Takes the method that the address names.
  takeMethod() {
    const { method } = this.#state;
    if (method && method !== this.#settings.method && !isActive(this.#phase) && !this.#checkpoint?.opened) this.#settings.fill({ kind: method, masking: "" });
    this.#methodChanged();
  }

  // The address names MAE; without a name it is what was chosen last, or BootMAE.
  #methodChanged() {
    const { method } = this.#settings;
    if ((this.#state.method ?? "bootmae") !== method) {
      this.#state.method = method;
      this.#saved();
    }
    if (this.#phase === "idle") this.#progress.shape(method === "bootmae");
  }

  // A run that is about to start takes the pictures that are there.
  takeFiles(files) {
    if (this.#phase !== "starting") return this.#pictures.take(files);
  }

  async #picturesChanged() {
    this.#controls();
    if (isActive(this.#phase)) return;
    const { any, busy, unreadable, classes } = this.#pictures;
    if (this.#phase === "idle") this.#neighbours.offer(classes);
    if (this.#checkpoint.opened) this.#note(any ? `Ready to continue from step ${this.#checkpoint.opened.step}.` : "Choose the pictures of this run, then continue.");
    else if (this.#phase === "idle" && any) this.#note(busy ? "Reading the pictures…" : unreadable ? "Choose pictures to begin." : "Ready to start.");
    const record = this.#checkpoint.opened ? this.#checkpoint.opened.record?.pictures : this.#keeper.run?.pictures;
    this.#complain("data-differs", any ? await this.#pictures.differs(record) : "");
  }

  // Says how much memory a run with these settings takes, or what is wrong with them.
  async #weigh() {
    const turn = ++this.#weighing;
    let [bytes, error] = [null, null];
    try {
      bytes = await this.#engine.call("memory_of", [this.#settings.read()]);
    } catch (reason) {
      error = reason;
    }
    if (turn !== this.#weighing || this.#engine.dead) return;
    this.#memory = bytes;
    this.#settings.mark(null);
    const note = element("memory-note");
    note.classList.toggle("error", error !== null || bytes > LARGE);
    if (error) {
      const { text, about } = reworded(error.message, element("settings"));
      note.textContent = text;
      this.#settings.mark(about);
    } else note.textContent = `Takes about ${gigabytes(bytes)} of GPU memory.`;
  }

  // --- checkpoints

  async openCheckpoint(files) {
    if (isActive(this.#phase)) this.#checkpoint.complain("A run is going on: stop it before opening a checkpoint.");
    else await this.#open(files);
  }

  async #open(files, record) {
    const good = await this.#checkpoint.open(files, record);
    if (good) {
      const { steps, config } = this.#checkpoint.opened;
      const rate = String(config.training.peak_learning_rate ?? "");
      this.#settings.fill({ ...record?.settings, kind: config.model.kind, steps: String(steps), peak_learning_rate: rate });
      this.#methodChanged();
    }
    this.#picturesChanged();
    return good;
  }

  #forgetCheckpoint() {
    this.#checkpoint.close();
    this.#picturesChanged();
  }

  // Goes on with a run that the browser kept, once its pictures are there.
  async #resumeKept(record) {
    const { state } = await this.#kept.claim(record.id);
    if (!state) throw new Error("The state of this run is not kept any more.");
    if (!(await this.#open([{ name: `bootmae-step-${record.step}.tar`, file: state }], record))) return;
    const { pictures } = record;
    const there = this.#pictures.any && (await this.#pictures.differs(pictures)) === "";
    if (there || (await this.#pictures.reopen(pictures))) await this.#continue();
    else {
      const from = pictures?.title ? ` (${pictures.title})` : "";
      this.#note(`Choose the ${counted(pictures?.files ?? 0, "file")} again that the run was trained on${from}, then continue.`);
    }
  }

  // --- the run

  async #start() {
    if (this.#shownControls().start.asks) {
      const text = `The run of this tab (${whole.format(this.#keeper.step)} of ${whole.format(this.#steps)} steps) is discarded when the new one starts at step 0.`;
      const choices = [["continue", `Continue from step ${this.#keeper.step}`], ["discard", "Discard it and start"]];
      const resumable = this.#shownControls().continue.enabled;
      const answer = await ask("Start a new run?", text, resumable ? choices : choices.slice(1));
      if (answer === "continue") return this.#continue();
      if (answer !== "discard") return;
    }
    if (!this.#shownControls().start.enabled) return;
    if (this.#memory > LARGE) {
      const text = `This network and batch take about ${gigabytes(this.#memory)} of GPU memory. A step may take long, and the browser may give up. Smaller pictures, larger patches or a smaller batch take less.`;
      if (!(await ask("Start so large a run?", text, [["start", "Start it"]]))) return;
    }
    await this.#begin(null);
  }

  async #continue() {
    if (!this.#shownControls().continue.enabled) return;
    if (this.#checkpoint.opened && this.#keeper.step > this.#keeper.safe) {
      const text = `The run of this tab is not kept after step ${this.#keeper.safe}, and is discarded.`;
      if (!(await ask("Go on with the checkpoint?", text, [["discard", "Discard it and go on"]]))) return;
    }
    const { run, good } = this.#keeper;
    if (!this.#checkpoint.opened && this.#live?.files === this.#pictures.files && this.#live.changes === this.#wishedChanges()) {
      this.#goOn();
      return;
    }
    await this.#begin(this.#checkpoint.opened ?? { files: [{ name: good.name, file: good.blob }], record: { ...run, curves: this.#progress.curves } });
  }

  // Goes on with the run that the thread holds, as it is.
  #goOn() {
    this.#phase = "running";
    this.#setState("running");
    this.#complain("train-error", "");
    this.#note("Training.");
    this.#progress.log(`Training goes on after step ${this.#step}.`);
    this.#controls();
    this.#go();
  }

  #wishedChanges() {
    try {
      return JSON.stringify(this.#settings.changes());
    } catch {
      return null; // refused, in words, where the run starts anew
    }
  }

  // Starts a run: a new one, or from a checkpoint. If that fails, everything is as it was before.
  async #begin(from) {
    this.#live = null;
    const before = { phase: this.#phase, step: this.#step, steps: this.#steps };
    this.#phase = "starting";
    this.#setState("running");
    this.#complain("train-error", "");
    this.#note("Starting…");
    this.#controls();
    try {
      const settings = from ? this.#settings.changes() : this.#settings.read();
      await this.#pictures.ready();
      if (from) await this.#checkpoint.hand(from.files);
      this.#note("Preparing the GPU…");
      const [pictures, { classes }] = [await this.#pictures.record(), this.#pictures];
      const started = this.#engine.call("training_start", [settings]);
      this.#pictures.usedUp();
      this.#began(await started, from, pictures, classes);
    } catch (error) {
      [this.#phase, this.#step, this.#steps] = [before.phase, before.step, before.steps];
      const still = this.#keeper.step ? ` The run of before is still here, after step ${this.#keeper.step}.` : "";
      this.#note(`The run could not start.${still}`);
      const { text, about } = reworded(error.message, element("settings"));
      this.#settings.mark(about);
      this.#complain("train-error", text);
      this.#progress.log(error.message);
      this.#setState("failed");
      this.#controls();
      return;
    }
    this.#go();
  }

  #began(run, from, pictures, classes) {
    const replaced = from === null ? this.#keeper.run : null;
    const kept = { id: from?.record?.id ?? crypto.randomUUID(), settings: this.#settings.values, pictures };
    this.#keeper.begin(kept, run.step, from?.files);
    [this.#step, this.#submitted, this.#steps, this.#pace] = [run.step, run.submitted, run.steps, null];
    this.#previews.begin(run.step);
    this.#checkpoint.close();
    this.#complain("data-differs", "");
    const { kind, feature_branch: teacher } = run.config.model;
    this.#progress.begin(run.steps, from?.record?.curves);
    this.#progress.shape(teacher);
    this.#neighbours.begin(classes, this.#settings.neighboursEvery);
    const memory = run.gpu_bytes ? `, ${(run.gpu_bytes / 2 ** 20).toFixed(0)} MiB of GPU memory` : "";
    const rate = `peak learning rate ${run.config.training.peak_learning_rate}`;
    this.#progress.log(`${from ? `Resumed after step ${run.step}` : "Started"}: ${kind === "mae" ? "MAE" : "BootMAE"}, ${(run.parameters / 1e6).toFixed(1)} million parameters${memory}, ${rate}.`);
    this.#phase = "running";
    this.#live = { files: this.#pictures.files, changes: this.#wishedChanges() };
    // Asked while a run begins, so that a browser which asks the visitor has a reason to show, and once.
    this.#persistence ??= navigator.storage?.persist?.().catch(() => {});
    if (replaced) this.#kept.discard(replaced.id).catch(() => {});
    this.#offers.refresh(kept.id);
    this.#controls();
  }

  async #go() {
    let ended = null;
    try {
      await this.#engine.call("training_pause");
      await this.#previews.draw(this.#step);
      await this.#measure();
      while (this.#phase === "running" || this.#phase === "paused") {
        if (this.#waits) {
          await this.#keep();
          if (this.#phase === "paused") this.#note(`Paused after step ${this.#step}.`);
          if (this.#waits) await new Promise((resolve) => (this.#wake = resolve));
          this.#pace = null;
          await this.#engine.call("training_pause");
        } else if (this.#step >= this.#steps) {
          this.#phase = "done";
        } else {
          ended = await this.#advance();
          if (ended) break;
          if (this.#keeper.due) await this.#keep();
          if (this.#previews.due(this.#step)) await this.#previews.draw(this.#step);
        }
      }
      if (this.#phase === "done") {
        await this.#previews.draw(this.#step);
        await this.#measure();
      }
      await this.#keep();
    } catch (error) {
      // The thread is gone, or what should not fail did: the state kept last is there still.
      ended = { kind: this.#engine.dead ? "crash" : "other", reason: error.message };
    }
    this.#rest(ended);
  }

  get #waits() {
    return this.#phase === "paused" || (this.#phase === "running" && hidden());
  }

  // Takes one step; resolves to why the run cannot go on, if it cannot.
  async #advance() {
    const began = performance.now();
    const { metrics, events, step, submitted, ended } = await this.#engine.call("training_advance");
    const seconds = (performance.now() - began) / 1000;
    this.#pace = this.#pace === null ? seconds : 0.9 * this.#pace + 0.1 * seconds;
    this.#took(step, submitted, metrics ? [metrics] : [], events);
    if (metrics && this.#neighbours.due(submitted, seconds, this.#pace)) await this.#measure();
    if (this.#phase === "running" && !hidden()) this.#note("Training.");
    return ended;
  }

  #took(step, submitted, metrics, events) {
    [this.#step, this.#submitted] = [step, submitted];
    this.#progress.steps(step, this.#steps, this.#pace);
    metrics.forEach((one) => this.#progress.metrics(one));
    events.forEach((event) => this.#progress.log(event));
  }

  // A run has come to rest. `ended` says why, unless the visitor stopped it or it is complete.
  #rest(ended) {
    const reached = this.#step;
    // What lies behind the state that is kept is gone, and leaving the page loses nothing more.
    this.#step = this.#keeper.step;
    this.#progress.steps(this.#step, this.#steps, this.#pace);
    if (ended) {
      this.#live = null;
      this.#phase = ended.kind === "diverged" ? "diverged" : "failed";
      const text = sayEnd(ended, { step: reached, good: this.#step, rate: this.#settings.peakRate });
      this.#note(text.note);
      this.#complain("train-error", text.error);
      this.#progress.log(ended.reason);
    } else if (this.#phase === "done") {
      this.#note(`Done: ${whole.format(this.#steps)} steps. Save the checkpoint, use the network in Reconstruct, or raise Steps to go on.`);
      this.#progress.log("The run is complete.");
    } else {
      this.#phase = "stopped";
      this.#note(`Stopped after step ${this.#step} of ${whole.format(this.#steps)}. Continue as it is, or with other steps or another peak learning rate.`);
      this.#progress.log(`Stopped after step ${this.#step}.`);
    }
    this.#setState(ended ? "failed" : "done");
    this.#controls();
  }

  // --- the state kept

  // Takes the state after the last step and keeps it, unless it is kept already.
  async #keep() {
    if (this.#keeper.has(this.#step)) return;
    const { step, submitted, metrics, events } = await this.#keeper.take();
    this.#took(step, submitted, metrics, events);
    await this.#keeper.store({ steps: this.#steps, curves: this.#progress.curves });
  }

  // --- what the network looks like

  // Finds out how well the classes are told apart, where that is not known of this state.
  async #measure() {
    if (!this.#neighbours.lacks(this.#submitted)) return;
    try {
      const line = await this.#neighbours.measure();
      if (line) this.#progress.log(line);
    } catch (error) {
      if (this.#engine.dead) throw error;
      this.#progress.log(`Nearest neighbours after step ${this.#submitted} are not known: ${error.message}`);
    }
  }

  // --- controls

  #togglePause() {
    this.#phase = this.#phase === "paused" ? "running" : "paused";
    this.#note(this.#phase === "paused" ? "Pausing after this step…" : "Training.");
    this.#wakeUp();
    this.#controls();
  }

  #wakeUp() {
    this.#wake?.();
    this.#wake = null;
  }

  #stop() {
    this.#phase = "stopping";
    this.#note("Stopping after this step…");
    this.#wakeUp();
    this.#controls();
  }

  #visibility() {
    if (!hidden() && !isActive(this.#phase)) this.#offers.refresh(this.#keeper.run?.id);
    if (this.#phase !== "running") return;
    if (hidden()) {
      this.#note("Paused while this tab is hidden.");
      this.#progress.log(`Paused at step ${this.#step}: the tab is hidden.`);
    } else {
      this.#note("Training.");
      this.#progress.log("The tab is visible again; training goes on.");
    }
    this.#setState(hidden() ? "paused" : "running");
    this.#wakeUp();
  }

  async #save() {
    const { name, blob } = this.#keeper.good;
    download(name, blob);
    this.#keeper.saved();
    this.#progress.log(`Saved ${name} (${(blob.size / 1e6).toFixed(1)} MB).`);
  }

  async #useNetwork() {
    await this.#use(this.#keeper.good.blob, `The run of this page after step ${this.#keeper.step}`);
  }

  // Does `work` with the newest state, which is taken first where the run goes on.
  async #withNetwork(work) {
    this.#complain("train-error", "");
    this.#busy = true;
    this.#controls();
    try {
      if (isActive(this.#phase)) await this.#keep();
      if (!this.#keeper.good) throw new Error("There is no state to save.");
      await work();
    } catch (error) {
      this.#complain("train-error", error.message);
    }
    this.#busy = false;
    this.#controls();
  }

  // The thread is gone: what it held of pictures has to be handed over again.
  lost() {
    this.#live = null;
    this.#pictures.usedUp();
    this.#wakeUp();
    this.#controls();
  }

  #shownControls() {
    return controls({
      phase: this.#phase,
      pictures: this.#pictures.any && !this.#pictures.unreadable,
      good: this.#keeper.step,
      opened: this.#checkpoint.opened?.step ?? null,
      steps: this.#settings.steps || this.#steps,
      offered: this.#offers.any,
      busy: this.#busy,
      dead: this.#engine.dead !== null,
    });
  }

  #controls() {
    const { fields, offers, choose, ...buttons } = this.#shownControls();
    const focused = document.activeElement;
    for (const [name, { shown = true, enabled, text, primary }] of Object.entries(buttons)) {
      const button = element(name);
      button.hidden = !shown;
      button.disabled = !enabled;
      if (text !== undefined) button.textContent = text;
      if (primary !== undefined) button.classList.toggle("primary", primary);
    }
    // A control that can no longer be used hands the focus to the next one that can, as soon as there is one.
    this.#focusDue ||= focused?.parentElement === element("run-buttons") && (focused.disabled || focused.hidden);
    if (this.#focusDue) {
      const next = element("run-buttons").querySelector("button:enabled:not([hidden])");
      const free = focused === document.body || focused.disabled || focused.hidden;
      if (next && free) next.focus();
      this.#focusDue = !next && free;
    }
    this.#settings.enable(fields);
    this.#offers.enable(offers.enabled);
    for (const id of ["data-shipped", "data-folder", "data-files"]) element(id).disabled = !choose.enabled;
    element("forget-checkpoint").hidden = this.#checkpoint.opened === null;
    element("forget-checkpoint").disabled = isActive(this.#phase);
    element("open-checkpoint").disabled = isActive(this.#phase);
  }

  #note(text) {
    const note = element("train-note");
    if (note.textContent !== text) note.textContent = text;
  }

  #complain(id, text) {
    element(id).textContent = text;
  }
}
