// The page's modules that need no browser.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { thin, ticks } from "../src/chart.js";
import { cellByKey, heat } from "../src/draw.js";
import { sayEnd } from "../src/endings.js";
import { adapterName } from "../src/gpu.js";
import { interval, sayFound, sayWhen } from "../src/neighbours.js";
import { controls, isActive } from "../src/phase.js";
import { formatMeasures, formatOperations, formatReport } from "../src/report.js";
import { DEFAULTS, format, packMask, parse, unpackMask } from "../src/url-state.js";

test("a state survives the address", () => {
  const state = { tab: "train", photo: "coffee", ratio: 40, kind: "random", seed: 4294967295, own: true, paste: false, embed: true, method: "mae", mask: "AQAAAAAAAAA" };
  assert.deepEqual(parse(format(state)), state);
  assert.deepEqual(parse(format(DEFAULTS)), { ...DEFAULTS });
});

test("what an address has no right to hold takes its default", () => {
  const hostile = "#tab=admin&photo=../../etc&ratio=4&kind=%3Cimg%3E&seed=-1&own=yes&paste=2&method=vae&mask=%00";
  for (const hash of ["", "#", "#&&&=", hostile, "#ratio=96&seed=4294967296", "#ratio=1e1", "#%ff"]) {
    assert.deepEqual(parse(hash), { ...DEFAULTS }, hash);
  }
});

test("a mask survives packing, and another number of patches refuses it", () => {
  for (const patches of [2, 7, 8, 9, 64, 196]) {
    const hidden = Uint8Array.from({ length: patches }, (_, i) => Number((i * 7) % 3 === 0));
    const text = packMask(hidden);
    assert.match(text, /^[A-Za-z0-9_-]+$/);
    assert.deepEqual(unpackMask(text, patches), hidden);
    assert.equal(unpackMask(text, patches + 8), null);
  }
  for (const text of [null, "", "!", "A", "AAAAAAAAAAA", packMask(new Uint8Array(64).fill(1))]) {
    assert.equal(unpackMask(text, 64), null, String(text));
  }
});

test("keys move within the grid and stop at its edges", () => {
  assert.equal(cellByKey("ArrowRight", 0, 2, 3), 1);
  assert.equal(cellByKey("ArrowRight", 2, 2, 3), 2);
  assert.equal(cellByKey("ArrowDown", 2, 2, 3), 5);
  assert.equal(cellByKey("ArrowUp", 2, 2, 3), 2);
  assert.equal(cellByKey("Home", 5, 2, 3), 3);
  assert.equal(cellByKey("End", 3, 2, 3), 5);
  assert.equal(cellByKey("a", 3, 2, 3), null);
});

test("a similarity that does not exist has no colour", () => {
  const colours = heat(Float32Array.of(-2, 1, NaN));
  assert.deepEqual([...colours], [24, 15, 61, 255, 252, 253, 191, 255, 0, 0, 0, 0]);
});

test("charts have round ticks and few points", () => {
  assert.deepEqual(ticks(0, 1, 4), [0, 0.5, 1]);
  assert.deepEqual(ticks(1.58, 3.02, 4), [2, 2.5, 3]);
  const points = Array.from({ length: 1000 }, (_, step) => ({ step, value: 2 * step }));
  const few = thin(points, 300);
  assert.equal(few.length, 250);
  assert.deepEqual(few[0], { step: 1.5, value: 3 });
});

test("reports say what failed and what is not a number", () => {
  const group = { worst: null, tensor: "loss", bar: 1, pass: false };
  assert.equal(
    formatReport({ adapter: "A", kind: "step", pass: false, groups: { losses: group } }),
    "FAIL on A (step)\nworst error of each group:\n  losses  not finite  loss",
  );
  const operations = [{ name: "gelu [5]", pass: true, worst: 1e-14, tensor: "dx" }, { name: "sum", pass: false, worst: 0.5, tensor: "" }];
  const text = formatOperations({ adapter: "A", operations });
  assert.match(text, /^FAIL on A: 1 of 2 samples agree\n/);
  assert.match(text, /\n {2}FAIL {2}5\.00e-1 {3}sum$/);
  const measures = formatMeasures({ matmul_gflops: 16.19, copy_gb_s: null, tuned: [], limits: { max_buffer_bytes: 1024 } });
  assert.match(measures, /^matmuls: 16\.2 GFLOP\/s\ncopies: {3}not measured\ntuned kernels:\n {2}none\n/);
});

test("nearest neighbours take at most a twentieth of the time, and are asked as often as that allows", () => {
  for (const seconds of [0.001, 0.02, 0.3, 7]) {
    for (const pace of [0.004, 0.05, 1.3]) {
      const every = interval(seconds, pace);
      const share = (steps) => seconds / (seconds + steps * pace);
      assert.match(String(every), /^[125]0*$/);
      assert.ok(share(every) <= 0.05 + 1e-12, `${seconds} s in ${every} steps of ${pace} s`);
      assert.ok(every === 1 || share(every / 2.5) > 0.05, `${every} is more than needed`);
    }
  }
});

test("what neighbours tell is said beside chance", () => {
  const found = { top1: 0.43, chance: 0.1, k: 20, train: 1000, test: 200, leave_one_out: false };
  assert.match(sayFound(found), /^86 of 200 pictures \(43 %\) .* 20 nearest neighbours among 1,000 others .* right for 10 %: that is chance level\.$/);
  assert.match(sayFound({ ...found, train: 200, leave_one_out: true }), / neighbours among the others /);
  assert.match(sayWhen(null, null), /^Found out at the start, and then as often as takes at most 5 % of the time\. The network is not told/);
  assert.match(sayWhen(1, 0.031), /^Found out at the start, every 1 step and at the end\. It has taken 3\.1 % of the time so far\./);
});

test("an adapter is named by what the browser tells of it", () => {
  assert.equal(adapterName({ vendor: "nvidia", architecture: "lovelace", device: "", description: "" }), "NVIDIA lovelace");
  assert.equal(adapterName({ vendor: "intel", architecture: "xe", device: "0x1", description: "Intel Arc" }), "Intel Arc");
  assert.match(adapterName({}), /that the browser chose$/);
});

const PHASES = ["idle", "starting", "running", "paused", "stopping", "stopped", "done", "diverged", "failed"];

test("in every state of a run, what can be pressed has something to do", () => {
  const each = (key, values, states) => states.flatMap((state) => values.map((value) => ({ ...state, [key]: value })));
  let states = [{ steps: 200 }];
  const choices = { phase: PHASES, pictures: [true, false], good: [0, 25, 200], opened: [null, 40], offered: [true, false], busy: [true, false], dead: [true, false] };
  for (const [key, values] of Object.entries(choices)) states = each(key, values, states);
  for (const state of states) {
    const found = controls(state);
    const words = JSON.stringify([state, found]);
    const active = isActive(state.phase);
    if (found.start.enabled || found.continue.enabled) assert.ok(state.pictures && !active && !state.dead && !state.busy, words);
    if (found.continue.enabled) assert.ok(found.continue.shown && (state.opened === 40 || state.good === 25), words);
    if (found.pause.enabled || found.stop.enabled) assert.ok(active && !state.dead, words);
    if (found.save.enabled && !active) assert.ok(state.good > 0, words);
    if (found.use.enabled) assert.ok(found.save.enabled && !state.dead, words);
    if (state.good > 0 && found.start.shown) assert.ok(found.start.asks, words);
    if (active) assert.equal(found.fields, "none", words);
    // A state that is kept can be saved though the computing thread is gone.
    if (!active && state.good > 0 && !state.busy) assert.ok(found.save.enabled, words);
  }
});

test("a stopped run goes on first, and starts anew second", () => {
  const state = { phase: "stopped", pictures: true, good: 25, opened: null, steps: 200, offered: false, busy: false, dead: false };
  const found = controls(state);
  assert.deepEqual(found.continue, { shown: true, enabled: true, text: "Continue from step 25" });
  assert.deepEqual(found.start, { shown: true, enabled: true, primary: false, text: "Start a new run", asks: true });
  assert.ok(!controls({ ...state, steps: 25 }).continue.shown, "nothing is left of it");
  assert.ok(!controls({ ...state, pictures: false, opened: 40 }).continue.enabled, "a checkpoint needs its pictures");
});

test("however a run ends, it is said what is left of it", () => {
  for (const kind of ["diverged", "gpu", "images", "crash", "other"]) {
    for (const good of [0, 50]) {
      const { note, error } = sayEnd({ kind, reason: "R.", tried: 3 }, { step: 59, good, rate: "10" });
      assert.match(note, /at step 60\b/, kind);
      assert.match(error, good ? /after step 50 is kept: continue from it, save it/ : /Nothing of it could be kept/, kind);
      if (kind === "diverged") assert.match(error, /Going back 3 times, to step \d+, did not help.*peak learning rate first \(it is 10\)/);
      else assert.match(error, kind === "gpu" ? /lost it and could not open it again\./ : /^R\./, kind);
    }
  }
});

test("every module is asked for at once: those of the first paint with the page, the others after it", async () => {
  const read = (name) => readFile(new URL(`../${name}`, import.meta.url), "utf8");
  const imports = async (start, known = []) => {
    const reached = new Set([start]);
    for (const name of reached) {
      for (const [, other] of (await read(`src/${name}`)).matchAll(/(?:from |import\()"\.\/([a-z-]+\.js)"/g)) if (!known.includes(other)) reached.add(other);
    }
    return [...reached];
  };
  const [before, program] = (await read("index.html")).split('<template id="program">');
  const asked = (html) => [...html.matchAll(/rel="modulepreload" href="src\/([a-z-]+\.js)"/g)].map(([, name]) => name);
  const first = await imports("first.js");
  assert.deepEqual(["first.js", ...asked(before)].sort(), first.sort());
  assert.ok(first.length < 5, "what is asked for before the first paint delays it");
  assert.deepEqual(["main.js", ...asked(program)].sort(), (await imports("main.js", first)).sort());
});
