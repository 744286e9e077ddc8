// Starts the page: looks whether it can work here, then makes the computing thread, the three sections, and what reaches
// all of them (the address, dropped and pasted files, the state line).
//
// `#status` carries the page's state in `data-state`: loading, ready, running, done or failed; each section has its own.
// `window.bootmae` offers the library's functions to the console and to tests.

import { Address } from "./address.js";
import { Check } from "./check.js";
import { Engine } from "./engine.js";
import { dropped } from "./files.js";
import { look } from "./gpu.js";
import { Kept } from "./kept.js";
import { Reconstruct } from "./reconstruct.js";
import { tabs } from "./tabs.js";
import { Train } from "./train.js";
import { parse } from "./url-state.js";

const element = (id) => document.getElementById(id);
const status = element("status");
const state = parse(location.hash);

function show(dataState, text) {
  status.dataset.state = dataState;
  if (text !== undefined) status.textContent = text;
}

// A section's own state; the page is running while any section is.
function sectionState(name) {
  return (dataState) => {
    element(name).dataset.state = dataState;
    const states = ["reconstruct", "train", "check"].map((section) => element(section).dataset.state);
    show(states.includes("running") ? "running" : dataState === "paused" ? "ready" : dataState);
  };
}

let [reconstruct, train] = [null, null];
const sections = tabs(document.querySelector('[role="tablist"]'), (name) => address.go(name));
const address = new Address(state, {
  onpart: () => sections.select(state.tab),
  onlink: () => {
    reconstruct?.restore();
    train?.takeMethod();
  },
});
sections.select(state.tab);

// Shows a part of the page, as its tab does.
function showPart(name) {
  address.go(name);
  sections.select(name);
}

function unsupported(reason) {
  element("unsupported-reason").textContent = reason;
  element("still").src = "still.png";
  element("unsupported").hidden = false;
  for (const part of document.querySelectorAll('[role="tablist"], [role="tabpanel"]')) part.hidden = true;
  show("failed", "The page cannot work in this browser.");
}

// Files dropped on the page or pasted go to the section that is open: to Train as its pictures or its checkpoint, else to
// Reconstruct.
function takeFiles(files) {
  if (files.length === 0) return;
  if (state.tab === "train") {
    if (files.some(({ name }) => /\.tar$|(^|\/)MANIFEST\.json$/.test(name))) train.openCheckpoint(files);
    else train.takeFiles(files);
    return;
  }
  showPart("reconstruct");
  reconstruct.takeFiles(files);
}

function listenForFiles(take) {
  const hint = element("drop-hint");
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    hint.hidden = false;
  });
  addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) hint.hidden = true;
  });
  addEventListener("drop", async (event) => {
    hint.hidden = true;
    if (!carriesFiles(event)) return;
    event.preventDefault();
    take(await dropped(event.dataTransfer));
  });
  addEventListener("paste", async (event) => {
    if (event.clipboardData?.files.length) take(await dropped(event.clipboardData));
  });
}

async function start() {
  const opening = Kept.open();
  const { missing, info, software } = await look();
  if (missing) {
    unsupported(missing);
    return;
  }
  const engine = new Engine();
  const [adapter_info, self_test] = ["adapter_info", "self_test"].map((name) => () => engine.call(name));
  window.bootmae = { adapter_info, self_test, verify: (bytes) => engine.call("verify", [bytes]), engine };

  const adapter = await adapter_info();
  const ready = software ? `Ready on ${adapter}. This adapter computes on the processor: it works, but slowly.` : `Ready on ${adapter}.`;
  show("ready", ready);

  reconstruct = new Reconstruct({ engine, state, saved: () => address.save(), setState: sectionState("reconstruct") });
  const drawing = reconstruct.start();
  train = new Train({
    engine,
    state,
    saved: () => address.save(),
    kept: await opening,
    setState: sectionState("train"),
    use: async (blob, title) => {
      if (!(await reconstruct.openWeights({ file: blob }, title))) throw new Error("Reconstruct could not open the weights.");
      showPart("reconstruct");
    },
  });
  new Check({ engine, info, setState: sectionState("check") });

  engine.addEventListener("crash", () => {
    train.lost();
    show("failed", engine.dead);
    element("restart").hidden = false;
  });
  element("restart").addEventListener("click", async () => {
    element("restart").hidden = true;
    engine.restart();
    try {
      show("ready", `Ready on ${await adapter_info()}.`);
      await reconstruct.reopen();
    } catch (error) {
      show("failed", `Could not start again: ${error.message}`);
    }
  });
  listenForFiles(takeFiles);
  await Promise.all([drawing, train.restore()]);
}

start().catch((error) => show("failed", `Could not start: ${error?.message ?? error}`));
