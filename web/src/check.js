// The Check section: every operation, one training step of each method and the speed of this GPU, as a report to copy.

import { formatBrowser, formatMeasures, formatOperations, formatReport, formatSections } from "./report.js";

// What a float64 implementation computed of one training step each.
const STEPS = [
  ["BootMAE", "fixtures/step_tiny.safetensors"],
  ["MAE", "fixtures/mae_step.safetensors"],
  ["fine-tuning", "fixtures/finetune_step.safetensors"],
];

const element = (id) => document.getElementById(id);

// Samples that are tested at a time.
const SAMPLES = 8;

// Tests every operation: `{adapter, operations}`. `onprogress(share)` is told how far it is, and ends it early by `false`.
export async function testOperations(engine, onprogress = () => true) {
  const all = { operations: [] };
  for (let count = 1; all.operations.length < count; ) {
    const { adapter, samples, operations } = await engine.call("self_test", [all.operations.length, SAMPLES]);
    all.adapter = adapter;
    all.operations.push(...operations);
    count = samples;
    if (onprogress(all.operations.length / count) === false) break;
  }
  return all;
}

async function fixture(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path}: the server answered ${response.status}`);
  return new Uint8Array(await response.arrayBuffer());
}

// `info` is what the browser tells of the adapter; `setState(state, text)` tells the page what goes on.
export class Check {
  #engine;
  #info;
  #setState;
  #stopped = false;

  constructor({ engine, info, setState }) {
    [this.#engine, this.#info, this.#setState] = [engine, info, setState];
    element("run-check").addEventListener("click", () => this.#run());
    element("stop-check").addEventListener("click", () => {
      this.#stopped = true;
      element("check-note").textContent = "Stopping…";
    });
    element("copy-report").addEventListener("click", () => this.#copy());
    element("run-check").disabled = false;
  }

  async #run() {
    const call = (name, ...args) => this.#engine.call(name, args);
    const parts = [
      {
        title: "operations",
        doing: "Testing every operation…",
        weight: 8,
        compute: (onprogress) => testOperations(this.#engine, (share) => onprogress(share) && !this.#stopped),
        format: formatOperations,
        good: ({ operations }) => operations.every(({ pass }) => pass === true),
      },
      ...STEPS.map(([what, path]) => ({
        title: `one training step of ${what}`,
        doing: `Comparing one training step of ${what}…`,
        compute: async () => JSON.parse(await call("verify", await fixture(path))),
        format: formatReport,
        good: ({ pass }) => pass === true,
      })),
      { title: "speed and limits", doing: "Measuring speed…", compute: () => call("check"), format: formatMeasures, good: () => true },
    ];
    const browser = { userAgent: navigator.userAgent, info: this.#info, isolated: crossOriginIsolated };
    const sections = [["browser", formatBrowser(browser)]];
    const bar = element("check-progress");
    const total = parts.reduce((sum, { weight = 1 }) => sum + weight, 0);
    let [passed, before] = [true, 0];
    this.#stopped = false;
    this.#controls(true);
    this.#setState("running");
    for (const { title, doing, weight = 1, compute, format, good } of parts) {
      if (this.#stopped) break;
      const onprogress = (share) => {
        bar.value = (before + share * weight) / total;
        return true;
      };
      onprogress(0);
      element("check-note").textContent = doing;
      element("report").textContent = formatSections(sections);
      try {
        const result = await compute(onprogress);
        passed &&= good(result);
        sections.push([title, format(result)]);
      } catch (error) {
        passed = false;
        sections.push([title, `could not run: ${error.message}`]);
      }
      before += weight;
    }
    const verdict = !passed ? "FAIL" : this.#stopped ? "stopped before the end; nothing wrong so far" : "PASS";
    element("report").textContent = formatSections([["verdict", verdict], ...sections]);
    element("check-note").textContent = !passed ? "Something is wrong: the report says what." : this.#stopped ? "Stopped; nothing wrong so far." : "This GPU computes correctly.";
    this.#controls(false);
    this.#setState(passed ? "done" : "failed");
  }

  // A button that can no longer be used hands the focus to the one that can.
  #controls(running) {
    const [from, to] = running ? ["run-check", "stop-check"] : ["stop-check", "run-check"];
    const focused = document.activeElement === element(from);
    element("check-progress").classList.toggle("idle", !running);
    element(to).disabled = false;
    if (focused) element(to).focus();
    element(from).disabled = true;
    element("copy-report").disabled = running;
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(element("report").textContent);
      element("check-note").textContent = "Copied.";
    } catch {
      getSelection().selectAllChildren(element("report"));
      element("check-note").textContent = "The browser did not allow copying; the report is selected instead.";
    }
  }
}
