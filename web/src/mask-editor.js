// The masked picture, on which patches are hidden and shown with pointer or keyboard. A stroke does everywhere what it
// does to its first patch. At least one patch stays hidden and one visible: without both there is nothing to predict.

import { cellAt, cellBox, cellByKey, cellName, masked, outline, paint, sharp, surface } from "./draw.js";

export class MaskEditor {
  #frame;
  #canvas;
  #overlay;
  #announce;
  #onchange;
  #picture = null;
  #cursor = 0;
  #stroke = null;
  #before = null; // the mask before the last stroke

  // `announce(text)` tells what the keyboard did; `onchange(hidden)` gets the mask after each change by hand.
  constructor(frame, { announce, onchange }) {
    this.#frame = frame;
    [this.#canvas, this.#overlay] = frame.querySelectorAll("canvas");
    this.#announce = announce;
    this.#onchange = onchange;
    this.hidden = null;
    this.rows = this.columns = 0;
    frame.addEventListener("pointerdown", (event) => this.#down(event));
    frame.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "lostpointercapture"]) {
      frame.addEventListener(end, () => (this.#stroke = null));
    }
    // The browser took the pointer to scroll the page: what it painted on the way was not meant.
    frame.addEventListener("pointercancel", () => {
      if (this.#stroke) this.undo();
      this.#stroke = null;
    });
    frame.addEventListener("keydown", (event) => this.#key(event));
    frame.addEventListener("focus", () => this.#drawOverlay());
    frame.addEventListener("blur", () => this.#drawOverlay());
    sharp(this.#overlay, () => this.#drawOverlay());
  }

  setPicture(rgba, width, height) {
    this.#picture = { rgba, width, height };
    this.#draw();
  }

  setMask(hidden, rows, columns) {
    if (rows !== this.rows || columns !== this.columns) this.#cursor = 0;
    if (hidden.some((bit, i) => bit !== this.hidden?.[i])) this.#before = null;
    Object.assign(this, { hidden: Uint8Array.from(hidden), rows, columns });
    this.#draw();
    this.#drawOverlay();
  }

  // Takes back the last stroke.
  undo() {
    if (this.#before?.length !== this.hidden?.length) return;
    [this.hidden, this.#before] = [this.#before, null];
    this.#draw();
    this.#drawOverlay();
    this.#onchange(this.hidden);
  }

  get undoable() {
    return this.#before !== null;
  }

  get count() {
    return this.hidden?.reduce((sum, bit) => sum + bit, 0) ?? 0;
  }

  #draw() {
    if (!this.#picture || !this.hidden) return;
    const { rgba, width, height } = this.#picture;
    paint(this.#canvas, masked(rgba, width, height, this.hidden, this.rows, this.columns), width, height);
    this.#canvas.setAttribute("aria-label", `Masked: ${this.count} of ${this.hidden.length} patches are hidden`);
  }

  #drawOverlay() {
    const { width, height } = this.#overlay;
    const context = surface(this.#overlay);
    context.clearRect(0, 0, width, height);
    if (!this.hidden) return;
    context.fillStyle = "rgb(128 128 128 / 45%)";
    for (let column = 1; column < this.columns; column++) context.fillRect(Math.round((column * width) / this.columns), 0, 1, height);
    for (let row = 1; row < this.rows; row++) context.fillRect(0, Math.round((row * height) / this.rows), width, 1);
    if (this.#frame.matches(":focus-visible")) outline(context, cellBox(this.#overlay, this.rows, this.columns, this.#cursor));
  }

  // Hides or shows a patch and returns whether it now is so.
  #set(cell, hide) {
    if (this.hidden[cell] === hide) return true;
    const left = hide ? this.hidden.length - this.count : this.count;
    if (left === 1) {
      this.#announce(hide ? "The last visible patch stays visible." : "The last hidden patch stays hidden.");
      return false;
    }
    this.hidden[cell] = hide;
    this.#draw();
    this.#onchange(this.hidden);
    return true;
  }

  #down(event) {
    if (!this.hidden || event.button !== 0 || this.#stroke) return;
    this.#frame.setPointerCapture(event.pointerId);
    const cell = cellAt(this.#canvas, event, this.rows, this.columns);
    this.#stroke = { pointer: event.pointerId, cell, hide: 1 - this.hidden[cell] };
    this.#before = Uint8Array.from(this.hidden);
    this.#cursor = cell;
    this.#set(cell, this.#stroke.hide);
    this.#drawOverlay();
  }

  // Paints every cell between the last place and this one: a fast pointer skips some.
  #move(event) {
    if (this.#stroke?.pointer !== event.pointerId) return;
    const to = cellAt(this.#canvas, event, this.rows, this.columns);
    const from = this.#stroke.cell;
    const [row, column] = [Math.floor(from / this.columns), from % this.columns];
    const [down, right] = [Math.floor(to / this.columns) - row, (to % this.columns) - column];
    const steps = Math.max(Math.abs(down), Math.abs(right));
    for (let i = 1; i <= steps; i++) {
      const cell = Math.round(row + (down * i) / steps) * this.columns + Math.round(column + (right * i) / steps);
      this.#set(cell, this.#stroke.hide);
    }
    this.#stroke.cell = this.#cursor = to;
  }

  #key(event) {
    if (!this.hidden || event.ctrlKey || event.metaKey || event.altKey) return;
    const state = () => `${cellName(this.#cursor, this.columns)}: ${this.hidden[this.#cursor] ? "hidden" : "visible"}`;
    if (event.key === " " || event.key === "Enter") {
      this.#before = Uint8Array.from(this.hidden);
      if (this.#set(this.#cursor, 1 - this.hidden[this.#cursor])) this.#announce(`${state()}. ${this.count} of ${this.hidden.length} hidden.`);
    } else {
      const cell = cellByKey(event.key, this.#cursor, this.rows, this.columns);
      if (cell === null) return;
      this.#cursor = cell;
      this.#announce(state());
    }
    event.preventDefault();
    this.#drawOverlay();
  }
}
