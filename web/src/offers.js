// The runs that the browser kept and no open tab works on, each to be continued or discarded.

import { ask } from "./ask.js";
import { words } from "./kept.js";

const element = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

// A time as a visitor reads it: the day only where it is not today.
export function when(time) {
  const date = new Date(time);
  const clock = date.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  return date.toDateString() === new Date().toDateString() ? clock : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "long" })}, ${clock}`;
}

export class Offers {
  #kept;
  #onchange;
  #resume;
  #records = [];
  #current = null;
  #enabled = false;

  // `resume(record)` goes on with a run; `onchange()` is called when there are others.
  constructor(kept, { onchange, resume }) {
    [this.#kept, this.#onchange, this.#resume] = [kept, onchange, resume];
  }

  get any() {
    return this.#records.length > 0;
  }

  enable(enabled) {
    this.#enabled = enabled;
    for (const button of element("offers").querySelectorAll("button")) button.disabled = !enabled;
  }

  // Looks again for what is kept; `current` is the run of this tab, which is not offered.
  async refresh(current = this.#current) {
    this.#current = current;
    try {
      const all = await this.#kept.runs();
      this.#records = all.filter(({ id }) => id !== this.#current);
    } catch (error) {
      element("offers-error").textContent = `The runs that this browser keeps could not be read: ${words(error)}.`;
    }
    element("offers").replaceChildren(...this.#records.map((record) => this.#row(record)));
    element("offers-card").hidden = !this.any && element("offers-error").textContent === "";
    this.#onchange();
  }

  #row(record) {
    const { step, steps, savedAt, bytes, pictures, settings } = record;
    const row = document.createElement("li");
    const text = document.createElement("p");
    const from = pictures?.title ? `, on ${pictures.title}` : "";
    text.textContent = `A run of ${whole.format(steps)} steps${settings?.kind === "mae" ? " of MAE" : ""}${from}: ${(bytes / 1e6).toFixed(1)} MB.`;
    const buttons = document.createElement("div");
    buttons.className = "row";
    buttons.append(
      this.#button(`Continue from step ${step} (saved ${when(savedAt)})`, step < steps ? "primary" : "", () => this.#resume(record)),
      this.#button("Discard", "", () => this.#discard(record)),
    );
    row.append(text, buttons);
    return row;
  }

  #button(text, className, work) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: text, className });
    button.disabled = !this.#enabled;
    button.addEventListener("click", async () => {
      element("offers-error").textContent = "";
      this.enable(false);
      try {
        await work();
      } catch (error) {
        element("offers-error").textContent = words(error);
      }
      await this.refresh();
    });
    return button;
  }

  async #discard({ id, step, steps }) {
    const text = `The run of ${whole.format(steps)} steps, kept after step ${whole.format(step)}, cannot be got back.`;
    if (await ask("Discard this run?", text, [["discard", "Discard it"]])) await this.#kept.discard(id);
  }
}
