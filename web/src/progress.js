// What a run shows: numbers, curves, previews of its pictures, and its events.

import { Chart } from "./chart.js";
import { paint } from "./draw.js";

const LONGEST_LOG = 200;
const PANELS = [
  ["original", "Original"],
  ["masked", "Masked"],
  ["reconstruction", "Reconstruction"],
  ["predicted", "Predicted"],
  ["teacher", "Teacher's"],
];

const element = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");

const shown = {
  images_per_s: (value) => value.toPrecision(3),
  learning_rate: (value) => (value === 0 ? "0" : value.toExponential(2).replace("-", "−")),
  feature_weight: (value) => value.toFixed(3),
  ema_decay: (value) => value.toFixed(5),
  gradient_norm: (value) => value.toPrecision(3),
  teacher_spread: (value) => value.toFixed(3),
};

function duration(seconds) {
  if (!Number.isFinite(seconds)) return "–";
  const [hours, minutes] = [Math.floor(seconds / 3600), Math.floor((seconds % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.ceil(seconds)} s`;
}

function set(name, text) {
  document.querySelector(`[data-metric="${name}"]`).textContent = text;
}

export class Progress {
  #charts = {
    pixel: new Chart(document.querySelector('[data-chart="pixel"]'), "Pixel loss"),
    feature: new Chart(document.querySelector('[data-chart="feature"]'), "Feature loss"),
    neighbours: new Chart(document.querySelector('[data-chart="neighbours"]'), "Pictures told right in per cent"),
  };

  // The curve of what nearest neighbours tell.
  get neighbours() {
    return this.#charts.neighbours;
  }

  // Shows what a run has: with a teacher features beside pixels, otherwise pixels alone.
  shape(teacher) {
    for (const part of document.querySelectorAll("[data-needs]")) part.hidden = teacher !== (part.dataset.needs === "teacher");
  }

  // Begins a run of so many steps; `curves` are those of its steps before.
  begin(steps, curves) {
    for (const [name, chart] of Object.entries(this.#charts)) chart.show(curves?.[name] ?? [], steps);
    for (const cell of document.querySelectorAll("[data-metric]")) cell.textContent = "–";
    for (const name of ["pixel", "feature"]) element(`${name}-now`).textContent = "";
    element("previews").replaceChildren();
  }

  // The curves so far, to be kept with the run.
  get curves() {
    return Object.fromEntries(Object.entries(this.#charts).map(([name, chart]) => [name, chart.points]));
  }

  // How far the run is; `pace` is the seconds that a step takes.
  steps(step, steps, pace) {
    set("step", `${whole.format(step)} of ${whole.format(steps)}`);
    set("time_left", duration((steps - step) * pace));
    element("train-progress").value = step / steps;
  }

  // What a step measured. JSON has no number that is not finite: such a one is null here.
  metrics(metrics) {
    for (const [name, format] of Object.entries(shown)) {
      set(name, Number.isFinite(metrics[name]) ? format(metrics[name]) : "–");
    }
    // Only what the run reports: MAE has no feature loss.
    for (const name of ["pixel", "feature"].filter((name) => `loss_${name}` in metrics)) {
      const loss = metrics[`loss_${name}`];
      this.#charts[name].push(metrics.step, loss);
      element(`${name}-now`).textContent = Number.isFinite(loss) ? loss.toPrecision(4) : "not finite";
    }
  }

  previews(pictures, step) {
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
        canvas.setAttribute("aria-label", `${title}${features ? " features" : ""} of picture ${i + 1} after step ${step}`);
      }
    });
  }

  log(text) {
    const log = element("log");
    log.append(textNode("p", `${new Date().toLocaleTimeString("en-GB")}  ${text}`));
    while (log.children.length > LONGEST_LOG) log.firstChild.remove();
    log.scrollTop = log.scrollHeight;
  }
}

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
