// The Check section: every operation, one training step of each method and the speed of this GPU, as a report to copy.

import { formatBrowser, formatMeasures, formatOperations, formatReport, formatSections } from "./report.js";

// What a float64 implementation computed of one training step each.
const STEPS = [
  ["BootMAE", "fixtures/step_tiny.safetensors"],
  ["MAE", "fixtures/mae_step.safetensors"],
  ["fine-tuning", "fixtures/finetune_step.safetensors"],
];

const element = (id) => document.getElementById(id);

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

  constructor({ engine, info, setState }) {
    [this.#engine, this.#info, this.#setState] = [engine, info, setState];
    element("run-check").addEventListener("click", () => this.#run());
    element("copy-report").addEventListener("click", () => this.#copy());
    element("run-check").disabled = false;
  }

  async #run() {
    const call = (name, ...args) => this.#engine.call(name, args);
    const parts = [
      {
        title: "operations",
        doing: "Testing every operation…",
        compute: async () => JSON.parse(await call("self_test")),
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
    element("run-check").disabled = element("copy-report").disabled = true;
    this.#setState("running");
    let passed = true;
    for (const { title, doing, compute, format, good } of parts) {
      element("check-note").textContent = doing;
      element("report").textContent = formatSections(sections);
      try {
        const result = await compute();
        passed &&= good(result);
        sections.push([title, format(result)]);
      } catch (error) {
        passed = false;
        sections.push([title, `could not run: ${error.message}`]);
      }
    }
    element("report").textContent = formatSections([["verdict", passed ? "PASS" : "FAIL"], ...sections]);
    element("check-note").textContent = passed ? "This GPU computes correctly." : "Something is wrong: the report says what.";
    element("run-check").disabled = element("copy-report").disabled = false;
    this.#setState(passed ? "done" : "failed");
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
