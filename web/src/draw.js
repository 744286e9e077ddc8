// Pictures on 2D canvases. A canvas has the picture's own size; the style sheet scales it up without smoothing. So small
// a canvas is best kept in main memory, which is also what `willReadFrequently` asks for.

// The heat map's colours from −1 to 1: dark violet, magenta, orange, pale yellow.
const HEAT = [[24, 15, 61], [114, 31, 129], [241, 96, 93], [252, 253, 191]];

export const surface = (canvas) => canvas.getContext("2d", { willReadFrequently: true });

export function paint(canvas, rgba, width, height) {
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const context = surface(canvas);
  if (rgba.length === 4 * width * height) {
    context.putImageData(new ImageData(new Uint8ClampedArray(rgba.buffer, rgba.byteOffset, rgba.length), width, height), 0, 0);
  } else {
    context.clearRect(0, 0, width, height);
  }
}

// `rgba` with the hidden patches transparent.
export function masked(rgba, width, height, hidden, rows, columns) {
  const picture = new Uint8ClampedArray(rgba);
  for (let y = 0; y < height; y++) {
    const row = Math.floor((y * rows) / height);
    for (let x = 0; x < width; x++) {
      if (hidden[row * columns + Math.floor((x * columns) / width)]) picture[4 * (y * width + x) + 3] = 0;
    }
  }
  return picture;
}

// The colours of values from −1 to 1, RGBA; no value is transparent.
export function heat(values) {
  const colours = new Uint8ClampedArray(4 * values.length);
  values.forEach((value, i) => {
    if (!Number.isFinite(value)) return;
    const place = ((Math.min(1, Math.max(-1, value)) + 1) / 2) * (HEAT.length - 1);
    const low = Math.min(Math.floor(place), HEAT.length - 2);
    const colour = HEAT[low].map((from, c) => from + (place - low) * (HEAT[low + 1][c] - from));
    colours.set([...colour, 255], 4 * i);
  });
  return colours;
}

// Keeps an overlay canvas at the resolution of the screen and calls `redraw` whenever that changes.
export function sharp(overlay, redraw) {
  new ResizeObserver(() => {
    const { width, height } = overlay.getBoundingClientRect();
    const scale = window.devicePixelRatio || 1;
    overlay.width = Math.max(1, Math.round(width * scale));
    overlay.height = Math.max(1, Math.round(height * scale));
    redraw();
  }).observe(overlay);
}

// The edges of cell `cell` on a canvas of that grid: x, y, width, height.
export function cellBox({ width, height }, rows, columns, cell) {
  const [row, column] = [Math.floor(cell / columns), cell % columns];
  const edge = (i, of, size) => Math.round((i * size) / of);
  const [x, y] = [edge(column, columns, width), edge(row, rows, height)];
  return [x, y, edge(column + 1, columns, width) - x, edge(row + 1, rows, height) - y];
}

// A frame around a cell that shows on every colour: dark outside, light inside.
export function outline(context, [x, y, width, height]) {
  const line = Math.max(2, Math.round(context.canvas.width / 120));
  context.lineWidth = 2 * line;
  context.strokeStyle = "#000";
  context.strokeRect(x + line, y + line, width - 2 * line, height - 2 * line);
  context.lineWidth = line;
  context.strokeStyle = "#fff";
  context.strokeRect(x + line, y + line, width - 2 * line, height - 2 * line);
}

// The cell under a pointer event on `element`; outside it, the nearest.
export function cellAt(element, event, rows, columns) {
  const box = element.getBoundingClientRect();
  const place = (value, of) => Math.min(of - 1, Math.max(0, Math.floor(value * of)));
  return place((event.clientY - box.top) / box.height, rows) * columns + place((event.clientX - box.left) / box.width, columns);
}

// The cell that an arrow key, Home or End leads to; null for other keys.
export function cellByKey(key, cell, rows, columns) {
  const [row, column] = [Math.floor(cell / columns), cell % columns];
  switch (key) {
    case "ArrowLeft": return row * columns + Math.max(0, column - 1);
    case "ArrowRight": return row * columns + Math.min(columns - 1, column + 1);
    case "ArrowUp": return Math.max(0, row - 1) * columns + column;
    case "ArrowDown": return Math.min(rows - 1, row + 1) * columns + column;
    case "Home": return row * columns;
    case "End": return row * columns + columns - 1;
    default: return null;
  }
}

export const cellName = (cell, columns) => `row ${Math.floor(cell / columns) + 1}, column ${(cell % columns) + 1}`;

// One PNG of titled canvases side by side, each at least 256 pixels wide.
export function sheet(panels) {
  const GAP = 16;
  const TITLE = 28;
  const [width, height] = [panels[0].canvas.width, panels[0].canvas.height];
  const scale = Math.max(1, Math.ceil(256 / width));
  const canvas = document.createElement("canvas");
  canvas.width = GAP + panels.length * (scale * width + GAP);
  canvas.height = TITLE + scale * height + GAP;
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.font = "16px system-ui, sans-serif";
  panels.forEach(({ title, canvas: picture }, i) => {
    const x = GAP + i * (scale * width + GAP);
    context.fillStyle = "#1b2330";
    context.fillText(title, x, TITLE - 9);
    context.fillStyle = "#c3c8d0";
    context.fillRect(x, TITLE, scale * width, scale * height);
    context.drawImage(picture, x, TITLE, scale * width, scale * height);
  });
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
