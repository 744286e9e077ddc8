// The predicted and the teacher's features, a colour a patch. Over the patch under the pointer or the keyboard's cursor,
// the cosine similarity of every patch to it as a heat map laid over the picture; a click, Enter or Space keeps that
// patch, so that the others' similarities to it can be read. Escape lets go.

import { cellAt, cellBox, cellByKey, cellName, heat, outline, paint, sharp, surface } from "./draw.js";

const MAPS = ["predicted", "teacher"];
const LABELS = { predicted: "Predicted features", teacher: "Teacher's features" };
const TITLES = { predicted: "Predicted", teacher: "Teacher" };

// Similarities so that the least of a map has the darkest colour: all of them may lie close to 1.
function stretched(values) {
  const least = Math.min(...values.filter(Number.isFinite));
  return least < 1 ? values.map((value) => (2 * (value - least)) / (1 - least) - 1) : values;
}

export class FeatureMaps {
  #maps = {};
  #readout;
  #cosines;
  #rows = 0;
  #columns = 0;
  #anchor = null;
  #pointed = null;
  #kept = false;
  #values = null;
  #asking = false;

  // `cosines(cell)` resolves to `{predicted, teacher}`, arrays of a value a patch.
  constructor(root, readout, cosines) {
    this.#readout = readout;
    this.#cosines = cosines;
    for (const name of MAPS) {
      const frame = root.querySelector(`[data-features="${name}"]`);
      const [under, canvas, overlay] = frame.querySelectorAll("canvas");
      this.#maps[name] = { frame, under, canvas, overlay, colours: null };
      frame.addEventListener("pointermove", (event) => this.#point(cellAt(canvas, event, this.#rows, this.#columns)));
      frame.addEventListener("pointerdown", (event) => {
        this.#point(cellAt(canvas, event, this.#rows, this.#columns));
        this.#keep();
      });
      frame.addEventListener("pointerleave", () => this.#leave());
      frame.addEventListener("focus", () => frame.matches(":focus-visible") && this.#point(this.#pointed ?? 0));
      frame.addEventListener("blur", () => this.#leave());
      frame.addEventListener("keydown", (event) => this.#key(event));
      sharp(overlay, () => this.#draw());
    }
  }

  // `original` is the picture, RGBA, `predicted` and `teacher` a colour a patch.
  show({ original, width, height, predicted, teacher, rows, columns }) {
    const same = rows === this.#rows && columns === this.#columns;
    [this.#rows, this.#columns] = [rows, columns];
    Object.entries({ predicted, teacher }).forEach(([name, colours]) => {
      this.#maps[name].colours = colours;
      paint(this.#maps[name].under, original, width, height);
      const known = Array.from({ length: colours.length / 4 }, (_, i) => colours[4 * i + 3]).filter(Boolean).length;
      this.#maps[name].canvas.setAttribute("aria-label", known ? `${LABELS[name]}: a colour for ${known} of ${rows * columns} patches` : `${LABELS[name]}: none`);
    });
    this.#values = null;
    if (!same) this.#release();
    this.#draw();
    this.#ask();
  }

  get #any() {
    return MAPS.some((name) => this.#maps[name].colours?.length);
  }

  #point(cell) {
    if (!this.#any || this.#pointed === cell) return;
    this.#pointed = cell;
    if (!this.#kept) this.#anchor = cell;
    this.#draw();
    this.#ask();
  }

  #keep() {
    if (this.#pointed === null) return;
    this.#kept = !(this.#kept && this.#anchor === this.#pointed);
    this.#anchor = this.#pointed;
    this.#draw();
    this.#ask();
  }

  #release() {
    this.#kept = false;
    this.#anchor = this.#pointed = this.#values = null;
  }

  #leave() {
    if (this.#kept) this.#pointed = this.#anchor;
    else this.#release();
    this.#draw();
  }

  #key(event) {
    if (!this.#any || event.ctrlKey || event.metaKey || event.altKey) return;
    const cell = cellByKey(event.key, this.#pointed ?? 0, this.#rows, this.#columns);
    if (cell !== null) this.#point(cell);
    else if (event.key === " " || event.key === "Enter") this.#keep();
    else if (event.key === "Escape") {
      const at = this.#pointed;
      this.#release();
      this.#point(at ?? 0);
    } else return;
    event.preventDefault();
  }

  // Asks for the newest anchor only, one question at a time.
  async #ask() {
    if (this.#asking) return;
    this.#asking = true;
    try {
      while (this.#anchor !== null && this.#values?.cell !== this.#anchor) {
        const cell = this.#anchor;
        this.#values = { cell, ...(await this.#cosines(cell)) };
        this.#draw();
      }
    } catch {
      // The next reconstruction asks anew.
    }
    this.#asking = false;
  }

  #draw() {
    const values = this.#anchor !== null && this.#values?.cell === this.#anchor ? this.#values : null;
    for (const name of MAPS) {
      const { frame, canvas, overlay, colours } = this.#maps[name];
      if (!colours) continue;
      const alike = values?.[name].some(Number.isFinite);
      paint(canvas, alike ? heat(stretched(values[name])) : colours, this.#columns, this.#rows);
      frame.classList.toggle("laid", Boolean(alike));
      const context = surface(overlay);
      context.clearRect(0, 0, overlay.width, overlay.height);
      for (const cell of new Set([this.#anchor, this.#pointed])) {
        if (cell !== null) outline(context, cellBox(overlay, this.#rows, this.#columns, cell));
      }
    }
    this.#readout.textContent = values ? this.#words(values) : "";
  }

  #words(values) {
    const at = (cell) => cellName(cell, this.#columns);
    const number = (value) => (Number.isFinite(value) ? value.toFixed(2).replace("-", "−") : "no value");
    if (this.#pointed !== null && this.#pointed !== this.#anchor) {
      const both = MAPS.map((name) => `${TITLES[name]}: ${number(values[name][this.#pointed])}.`);
      return `Similarity of ${at(this.#pointed)} to ${at(this.#anchor)}. ${both.join(" ")}`;
    }
    const most = MAPS.map((name) => {
      const others = [...values[name].entries()].filter(([cell, value]) => cell !== this.#anchor && Number.isFinite(value));
      if (others.length === 0) return `${TITLES[name]}: no value here.`;
      const [near, alike] = others.reduce((best, other) => (other[1] > best[1] ? other : best));
      const [far, unlike] = others.reduce((best, other) => (other[1] < best[1] ? other : best));
      return `${TITLES[name]}: most alike ${at(near)} (${number(alike)}), least ${at(far)} (${number(unlike)}).`;
    });
    return `${this.#kept ? "Kept" : "At"} ${at(this.#anchor)}. ${most.join(" ")}`;
  }
}
