// A line chart of one quantity over the steps of a run, as SVG. It keeps every point and draws at most some hundred.

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [360, 170];
const [LEFT, RIGHT, TOP, BOTTOM] = [44, 8, 8, 22];
const MOST_DRAWN = 300;

function add(parent, name, attributes, text) {
  const node = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  if (text !== undefined) node.textContent = text;
  parent.append(node);
  return node;
}

// About `wanted` round numbers from `low` to `high`.
export function ticks(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const first = Math.ceil(low / step);
  return Array.from({ length: Math.floor(high / step) - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

// At most `most` points: means over equally many neighbours.
export function thin(points, most) {
  const group = Math.ceil(points.length / most);
  if (group <= 1) return points;
  const means = [];
  for (let i = 0; i < points.length; i += group) {
    const some = points.slice(i, i + group);
    const mean = (key) => some.reduce((sum, point) => sum + point[key], 0) / some.length;
    means.push({ step: mean("step"), value: mean("value") });
  }
  return means;
}

export class Chart {
  #svg;
  #name;
  #points = [];
  #due = false;
  level = null; // chance level, drawn across

  constructor(parent, name) {
    this.#name = name;
    this.#svg = add(parent, "svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
    this.show([], 1);
  }

  // Shows these points of a run of so many steps.
  show(points, steps) {
    this.#points = points;
    this.steps = steps;
    this.#draw();
  }

  // At most as many points as are drawn.
  get points() {
    return thin(this.#points, MOST_DRAWN);
  }

  // A step that comes again, after a run went back to a snapshot, replaces what followed it.
  push(step, value) {
    while (this.#points.length && this.#points.at(-1).step >= step) this.#points.pop();
    if (Number.isFinite(value)) this.#points.push({ step, value });
    if (this.#due) return;
    this.#due = true;
    requestAnimationFrame(() => {
      this.#due = false;
      this.#draw();
    });
  }

  #draw() {
    const points = thin(this.#points, MOST_DRAWN);
    this.#svg.replaceChildren();
    const values = points.map(({ value }) => value);
    if (points.length && this.level !== null) values.push(this.level);
    let [low, high] = points.length ? [Math.min(...values), Math.max(...values)] : [0, 1];
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    [low, high] = [low >= 0 ? Math.max(0, low - room) : low - room, high + room];
    const last = Math.max(this.steps, points.at(-1)?.step ?? 0, 1);
    const x = (step) => LEFT + ((WIDTH - LEFT - RIGHT) * step) / last;
    const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low));
    for (const value of ticks(low, high, 4)) {
      add(this.#svg, "line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) });
      add(this.#svg, "text", { x: LEFT - 6, y: y(value) + 4, "text-anchor": "end" }, points.length ? String(value) : "");
    }
    for (const step of ticks(0, last, 4).filter(Number.isInteger)) {
      add(this.#svg, "text", { x: x(step), y: HEIGHT - 5, "text-anchor": step === 0 ? "start" : step === last ? "end" : "middle" }, String(step));
    }
    if (points.length && this.level !== null) {
      add(this.#svg, "line", { class: "level", x1: LEFT, x2: WIDTH - RIGHT, y1: y(this.level), y2: y(this.level) });
      add(this.#svg, "text", { x: WIDTH - RIGHT, y: y(this.level) - 4, "text-anchor": "end" }, "chance");
    }
    if (points.length) {
      const place = ({ step, value }) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`;
      add(this.#svg, "polyline", { class: "curve", points: points.map(place).join(" ") });
      const end = points.at(-1);
      add(this.#svg, "circle", { class: "end", cx: x(end.step), cy: y(end.value), r: 3 });
    }
    this.#svg.setAttribute("aria-label", this.#words());
  }

  #words() {
    if (this.#points.length === 0) return `${this.#name}: no values yet`;
    const [first, last] = [this.#points[0], this.#points.at(-1)];
    return `${this.#name}: ${first.value.toPrecision(3)} at step ${Math.round(first.step)}, ${last.value.toPrecision(3)} at step ${Math.round(last.step)}`;
  }
}
