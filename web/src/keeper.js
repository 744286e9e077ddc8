// The newest good state of this tab's run: in the page, so that it outlives the computing thread, and in the browser's
// storage, so that it outlives the page.

import { words } from "./kept.js";
import { when } from "./offers.js";

const KEEP_EVERY_MS = 30_000;
const KEEP_SHARE = 20; // a state is taken for at most one part in so many of the time

export class Keeper {
  #engine;
  #kept;
  #note;
  #at = 0;
  #took = 0;
  run = null; // {id, settings, pictures}
  good = null; // {step, name, blob}: the state
  safe = 0; // the last step that outlives the page, in the browser's storage or as a file

  // `note` is the element that says what is kept.
  constructor({ engine, kept, note }) {
    [this.#engine, this.#kept, this.#note] = [engine, kept, note];
    this.#say();
  }

  // The step of the state, 0 without one.
  get step() {
    return this.good?.step ?? 0;
  }

  // Begins with a run after `step` steps, whose state is in `files` if they are one archive.
  begin(run, step, files) {
    this.run = run;
    this.good = files?.length === 1 ? { step, name: files[0].name, blob: files[0].file } : null;
    this.safe = step;
    [this.#at, this.#took] = [performance.now(), 0];
    this.#say(this.#kept.missing, null);
  }

  get due() {
    return performance.now() - this.#at >= Math.max(KEEP_EVERY_MS, KEEP_SHARE * this.#took);
  }

  has(step) {
    return this.good?.step === step && this.safe >= step;
  }

  // Takes the state after the last step, of a run that is over the last good one. Resolves to what was measured and said
  // on the way: `{step, metrics, events}`.
  async take() {
    const began = performance.now();
    const { saved, name, blob, ...news } = await this.#engine.call("training_keep");
    this.good = { step: saved, name, blob };
    [this.#at, this.#took] = [performance.now(), performance.now() - began];
    return news;
  }

  // Puts the state into the browser's storage with `more` of the run.
  async store(more) {
    if (this.step === 0) return;
    const { step, blob } = this.good;
    let failure = this.#kept.missing;
    try {
      if (failure === null) {
        await this.#kept.keepRun({ ...this.run, ...more, step }, blob);
        this.safe = step;
      }
    } catch (error) {
      failure = words(error);
    }
    this.#say(failure, step);
  }

  // The state was saved as a file.
  saved() {
    this.safe = Math.max(this.safe, this.step);
  }

  #say(failure = this.#kept.missing, step = null) {
    this.#note.classList.toggle("error", failure !== null);
    if (failure !== null) this.#note.textContent = `Not kept in this browser: ${failure}. Save the checkpoint before you leave the page.`;
    else if (step !== null) this.#note.textContent = `Step ${step} is kept in this browser since ${when(Date.now())}, and can go on after a reload.`;
    else this.#note.textContent = `A run is kept in this browser every ${KEEP_EVERY_MS / 1000} seconds and when it stops, and can go on after a reload.`;
  }
}
