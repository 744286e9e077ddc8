// When pictures of a run are drawn: every so many steps, but never so often that they slow the run down much.

const PREVIEWS = 4;
const LEAST_MS_BETWEEN_PREVIEWS = 2000;

export class Previews {
  #engine;
  #progress;
  #last = { step: 0, at: 0, took: 0 };

  constructor(engine, progress) {
    [this.#engine, this.#progress] = [engine, progress];
  }

  // Begins with a run after `step` steps.
  begin(step) {
    this.#last = { step, at: 0, took: 0 };
  }

  due(reached) {
    const every = document.getElementById("preview_every").valueAsNumber || 10;
    const { step, at, took } = this.#last;
    const pause = Math.max(LEAST_MS_BETWEEN_PREVIEWS, 5 * took);
    return Math.abs(reached - step) >= every && performance.now() - at >= pause;
  }

  async draw(step) {
    const began = performance.now();
    try {
      this.#progress.previews(await this.#engine.call("training_preview", [PREVIEWS]), step);
    } catch (error) {
      // A lost GPU is the next step's to mend.
      if (this.#engine.dead) throw error;
      this.#progress.log(`No pictures of step ${step}: ${error.message}`);
    }
    const at = performance.now();
    this.#last = { step, at, took: at - began };
  }
}
