// The program: looks whether it can work here, then makes the computing thread, the sections, and what reaches
// all of them (the address, dropped and pasted files, the state line).
//
// `#status` carries the page's state in `data-state`: loading, ready, running, done or failed; each section has its own.
// `window.bootmae` offers the library's functions to the console and to tests.

import { Address } from "./address.js";
import { Encoder } from "./encoder.js";
import { EncoderCard } from "./encoder-card.js";
import { Engine } from "./engine.js";
import { dropped, weightsAmong } from "./files.js";
import { state } from "./first.js";
import { adapterName, look } from "./gpu.js";
import { Kept } from "./kept.js";
import { Reconstruct, weightsProgress } from "./reconstruct.js";
import { listen, select } from "./tabs.js";
import { TABS } from "./url-state.js";
import { fetchWeights } from "./weights.js";

const WEIGHTS = "weights/demo.safetensors";
// Parts that look at pictures with the page's network. It is fetched once one of them is shown.
const NEED_WEIGHTS = ["reconstruct", "explore", "teach"];

const element = (id) => document.getElementById(id);
const status = element("status");

function show(dataState, text) {
  status.dataset.state = dataState;
  // The same text again would have the page laid out again.
  if (text !== undefined && text !== status.textContent) status.textContent = text;
}

// What the page says of itself while nothing goes wrong; null until all its parts are there.
let ready = null;

// A section's own state; the page is running while any section is.
function sectionState(name) {
  return (dataState) => {
    element(name).dataset.state = dataState;
    if (ready === null) return;
    const running = TABS.some((section) => element(section).dataset.state === "running");
    const title = element(`tab-${name}`).textContent;
    if (dataState === "failed" && !running) show("failed", `The last thing asked of ${title} failed. What went wrong is said there.`);
    else show(running ? "running" : dataState === "paused" ? "ready" : dataState, ready);
  };
}

let [reconstruct, train, explore, teach, card] = [null, null, null, null, null];
let wanted;
const weightsWanted = new Promise((resolve) => (wanted = resolve));
listen((name) => {
  address.go(name);
  shown(name);
});
const address = new Address(state, {
  onpart: () => {
    select(state.tab);
    shown(state.tab);
  },
  onlink: () => {
    reconstruct?.restore();
    train?.takeMethod();
  },
});
shown(state.tab);

function shown(name) {
  if (NEED_WEIGHTS.includes(name)) wanted();
  if (name === "teach") teach?.shown();
}

// Shows a part of the page, as its tab does.
function showPart(name) {
  address.go(name);
  select(name);
  shown(name);
}

function unsupported(reason) {
  element("unsupported-reason").textContent = reason;
  element("still").src = "still.png";
  element("unsupported").hidden = false;
  for (const part of document.querySelectorAll('[role="tablist"], [role="tabpanel"]')) part.hidden = true;
  show("failed", "The page cannot work in this browser.");
}

// Files dropped on the page or pasted go to the section that is open, from Check to Reconstruct.
function takeFiles(files) {
  if (files.length === 0) return;
  if (state.tab === "explore" || state.tab === "teach") {
    if (weightsAmong(files)) card.takeFiles(files);
    else (state.tab === "explore" ? explore : teach).take(files);
    return;
  }
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

// Embedded (`embed=1` in the address), the page around this one may hand over a picture, `{bootmae: {picture: Blob}}`, and is
// answered with `{bootmae: {done: true}}` or `{bootmae: {error}}`.
function listenForPictures() {
  addEventListener("message", async ({ source, origin, data }) => {
    const picture = data?.bootmae?.picture;
    if (source !== parent || source === window || !(picture instanceof Blob)) return;
    const answer = await reconstruct.takeGiven(picture).then(
      () => ({ done: true }),
      (error) => ({ error: error.message }),
    );
    source.postMessage({ bootmae: answer }, { targetOrigin: origin === "null" ? "*" : origin });
  });
}

// Leaves the browser a moment between two parts of what is begun, so that a tap in between is answered. The modules of parts are there
// by then, but not yet run.
const turn = () => new Promise((resolve) => setTimeout(resolve));

async function start() {
  const opening = Kept.open();
  const { missing, info, software } = await look();
  if (missing) {
    unsupported(missing);
    return;
  }
  const loading = weightsWanted.then(() => fetchWeights(WEIGHTS, (...progress) => {
    // The visitor may have opened others meanwhile.
    if (!reconstruct?.weights) weightsProgress(...progress);
  }));
  loading.catch(() => {}); // said by Reconstruct
  const engine = new Engine();
  engine.addEventListener("loading", ({ detail: [bytes, of] }) => {
    if (status.dataset.state === "loading") show("loading", `Loading the program${of ? `: ${Math.min(100, Math.round((100 * bytes) / of))} %` : "…"}`);
  });
  const adapter_info = () => engine.call("adapter_info");
  window.bootmae = { adapter_info, verify: (bytes) => engine.call("verify", [bytes]), engine };

  await turn();
  const encoder = new Encoder(engine, () => reconstruct.weights);
  reconstruct = new Reconstruct({ engine, state, saved: () => address.save(), setState: sectionState("reconstruct"), onnetwork: () => encoder.follow() });
  const drawing = reconstruct.start(loading);
  await turn();
  const { Explore } = await import("./explore.js");
  card = new EncoderCard(encoder);
  explore = new Explore({ engine, encoder, setState: sectionState("explore") });
  await turn();
  const { Teach } = await import("./teach.js");
  teach = new Teach({ engine, encoder, setState: sectionState("teach") });
  const kept = await opening;
  await turn();
  const { Train } = await import("./train.js");
  train = new Train({
    engine,
    state,
    saved: () => address.save(),
    kept,
    setState: sectionState("train"),
    use: async (blob, title) => {
      if (!(await reconstruct.openWeights({ file: blob }, title))) throw new Error("Reconstruct could not open the weights.");
      showPart("reconstruct");
    },
  });
  await turn();
  const { Check, testOperations } = await import("./check.js");
  window.bootmae.self_test = () => testOperations(engine);
  new Check({ engine, info, setState: sectionState("check") });
  // All parts are there before the page says that it is ready.
  await adapter_info();
  const adapter = adapterName(info);
  ready = software ? `Ready on ${adapter}. This adapter computes on the processor: it works, but slowly.` : `Ready on ${adapter}.`;
  show(element("reconstruct").dataset.state === "running" ? "running" : "ready", ready);

  engine.addEventListener("crash", () => {
    train.lost();
    show("failed", engine.dead);
    element("restart").hidden = false;
  });
  element("restart").addEventListener("click", async () => {
    element("restart").hidden = true;
    engine.restart();
    try {
      await adapter_info();
      show("ready", ready);
      await reconstruct.reopen();
    } catch (error) {
      show("failed", `Could not start again: ${error.message}`);
    }
  });
  listenForFiles(takeFiles);
  if (state.embed) listenForPictures();
  else navigator.serviceWorker?.register("sw.js").catch(() => {});
  await Promise.all([drawing, train.restore()]);
}

start().catch((error) => show("failed", `Could not start: ${error?.message ?? error}`));
