// A checkpoint to go on from: files that the visitor opened, or a state that the browser kept.

const NONE = "Go on with a saved run: open its .tar, or all files of its folder.";

const element = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

export class Checkpoint {
  #engine;
  // What is open: `{step, steps, config, files, record}`, `record` of the run if the browser kept it; null if nothing is.
  opened = null;

  constructor(engine) {
    this.#engine = engine;
  }

  // Reads what a checkpoint says of itself; false, with the reason on the page, if it is none.
  async open(files, record = null) {
    this.complain("");
    try {
      await this.hand(files);
      const { step, steps, config } = await this.#engine.call("checkpoint_describe");
      await this.#engine.call("checkpoint_drop");
      this.opened = { step, steps, config, files, record };
      element("checkpoint-note").textContent =
        `A run of ${whole.format(steps)} steps${config.model.kind === "mae" ? " of MAE" : ""}, saved after ${whole.format(step)}. Steps and peak learning rate may be changed; ` +
        `its other settings stay.${record ? "" : " Choose the pictures that it was trained on."}`;
      return true;
    } catch (error) {
      this.close();
      this.complain(error.message);
      return false;
    }
  }

  // Hands a checkpoint's files to the thread, where the next run goes on from them.
  async hand(files) {
    await this.#engine.call("checkpoint_new");
    for (const { name, file } of files) await this.#engine.call("checkpoint_add", [name, file]);
  }

  close() {
    this.opened = null;
    element("checkpoint-note").textContent = NONE;
  }

  complain(text) {
    element("checkpoint-error").textContent = text;
  }
}
