// A map of pictures: each drawn where its features put it, in the colour of its class. Pointing at one names it, a click or Enter
// chooses it; arrow keys go to the next one in their direction.

import { sharp } from "./draw.js";

// Ten colours that colour-blind people tell apart as well as ten can be, on light and on dark (after Okabe and Ito).
export const COLOURS = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#8a6d00", "#7a4fd0", "#b3192b", "#6b7280"];
const LEAST = 10; // pixels of the screen that a picture takes, at least and at most
const MOST = 56;
const PADDING = 0.04;

export const colourOf = (number) => COLOURS[number % COLOURS.length];

export class PictureMap {
  #frame;
  #canvas;
  #items = []; // {view: ImageBitmap, colour}
  #places = new Float32Array();
  #boxes = null;
  #pointed = null;
  #chosen = null;
  #onpoint;
  #onchoose;

  // `onpoint(number or null)` is told what is pointed at, `onchoose(number)` what is chosen.
  constructor(frame, { onpoint, onchoose }) {
    [this.#frame, this.#onpoint, this.#onchoose] = [frame, onpoint, onchoose];
    this.#canvas = frame.querySelector("canvas");
    sharp(this.#canvas, () => this.#draw());
    frame.addEventListener("pointermove", (event) => this.#point(this.#at(event)));
    frame.addEventListener("pointerleave", () => this.#point(null));
    frame.addEventListener("click", (event) => {
      const at = this.#at(event);
      if (at !== null) this.#onchoose(at);
    });
    frame.addEventListener("keydown", (event) => this.#key(event));
    frame.addEventListener("focus", () => frame.matches(":focus-visible") && this.#point(this.#chosen ?? (this.#items.length ? 0 : null)));
    frame.addEventListener("blur", () => this.#point(null));
  }

  // `items` are `{view, colour}`, `places` their coordinates `[items, 2]` in any unit.
  show(items, places) {
    [this.#items, this.#places] = [items, places];
    if (this.#chosen >= items.length) this.#chosen = null;
    this.#pointed = null;
    this.#draw();
  }

  choose(number) {
    this.#chosen = number;
    this.#draw();
  }

  #point(number) {
    if (this.#pointed === number) return;
    this.#pointed = number;
    this.#onpoint(number);
    this.#draw();
  }

  // Where pictures are on the canvas: their middles, and the side of each.
  #layout() {
    const { width, height } = this.#canvas;
    const scale = window.devicePixelRatio || 1;
    const count = this.#items.length;
    const side = scale * Math.min(MOST, Math.max(LEAST, 0.6 * Math.sqrt((width * height) / scale ** 2 / Math.max(1, count))));
    const axis = (c, room) => {
      const values = Array.from({ length: count }, (_, i) => this.#places[2 * i + c]);
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const [from, span] = [PADDING * room + side / 2, room * (1 - 2 * PADDING) - side];
      return values.map((value) => from + span * (high > low ? (value - low) / (high - low) : 0.5));
    };
    const [x, y] = [axis(0, width), axis(1, height)];
    return { side, x, y };
  }

  #draw() {
    const context = this.#canvas.getContext("2d");
    const { width, height } = this.#canvas;
    context.clearRect(0, 0, width, height);
    this.#boxes = null;
    if (this.#items.length === 0) return;
    const { side, x, y } = (this.#boxes = this.#layout());
    const line = Math.max(1, Math.round(side / 14));
    const one = (i, size, marked) => {
      const { view, colour } = this.#items[i];
      const [left, top] = [Math.round(x[i] - size / 2), Math.round(y[i] - size / 2)];
      if (marked) {
        context.fillStyle = "#000";
        context.fillRect(left - 3 * line, top - 3 * line, size + 6 * line, size + 6 * line);
        context.fillStyle = "#fff";
        context.fillRect(left - 2 * line, top - 2 * line, size + 4 * line, size + 4 * line);
      }
      if (colour) {
        context.fillStyle = colour;
        context.fillRect(left - line, top - line, size + 2 * line, size + 2 * line);
      }
      context.drawImage(view, left, top, size, size);
    };
    this.#items.forEach((_, i) => one(i, side, false));
    for (const i of new Set([this.#chosen, this.#pointed])) if (i !== null) one(i, 1.5 * side, true);
  }

  // The picture under the pointer; of several the one drawn last.
  #at(event) {
    if (!this.#boxes) return null;
    const box = this.#canvas.getBoundingClientRect();
    const place = [(event.clientX - box.left) / box.width * this.#canvas.width, (event.clientY - box.top) / box.height * this.#canvas.height];
    const { side, x, y } = this.#boxes;
    for (let i = this.#items.length - 1; i >= 0; i--) {
      if (Math.abs(x[i] - place[0]) <= side / 2 && Math.abs(y[i] - place[1]) <= side / 2) return i;
    }
    return null;
  }

  #key(event) {
    if (this.#items.length === 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    const from = this.#pointed ?? this.#chosen ?? 0;
    if (way) this.#point(this.#next(from, way));
    else if (event.key === "Enter" || event.key === " ") this.#onchoose(from);
    else if (event.key === "Escape") this.#point(null);
    else return;
    event.preventDefault();
  }

  // The nearest picture that lies more in this direction than beside it; the same where there is none.
  #next(from, [across, down]) {
    const { x, y } = this.#boxes ?? this.#layout();
    let [best, least] = [from, Infinity];
    for (let i = 0; i < x.length; i++) {
      const [dx, dy] = [x[i] - x[from], y[i] - y[from]];
      const [along, beside] = [dx * across + dy * down, Math.abs(dx * down) + Math.abs(dy * across)];
      if (i !== from && along > 0 && along >= beside && along + 2 * beside < least) [best, least] = [i, along + 2 * beside];
    }
    return best;
  }
}
