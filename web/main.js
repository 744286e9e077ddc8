// The page: loads the wasm library, offers its four functions as `window.bootmae`, and shows the report of `verify`.
// `#status` carries the page's state in `data-state`: loading, ready, running, done or failed.

import init, { adapter_info, self_test, train, verify } from "./pkg/bootmae.js";
import { formatReport } from "./report.js";

const FIXTURE = "fixtures/step_tiny.safetensors";

const button = document.getElementById("verify");
const status = document.getElementById("status");
const report = document.getElementById("report");

function show(state, text) {
  status.dataset.state = state;
  status.textContent = text;
}

async function load() {
  if (!navigator.gpu) {
    throw new Error("this browser has no WebGPU here; use a current Chrome, Edge, Firefox or Safari over https or on localhost");
  }
  await init();
  window.bootmae = { adapter_info, self_test, train, verify };
  return adapter_info();
}

async function fetchFixture() {
  const response = await fetch(FIXTURE);
  if (!response.ok) {
    throw new Error(`${FIXTURE}: the server answered ${response.status}`);
  }
  return new Uint8Array(await response.arrayBuffer());
}

async function run() {
  button.disabled = true;
  report.textContent = "";
  show("running", "Running one training step…");
  try {
    const result = JSON.parse(await verify(await fetchFixture()));
    report.textContent = formatReport(result);
    show("done", result.pass ? "Every group is within its bar." : "At least one group is outside its bar.");
  } catch (error) {
    show("failed", `Could not verify: ${error?.message ?? error}`);
  }
  button.disabled = false;
}

button.addEventListener("click", run);
load().then(
  (adapter) => {
    show("ready", `Ready. Adapter: ${adapter}`);
    button.disabled = false;
  },
  (error) => show("failed", `Could not start: ${error?.message ?? error}`),
);
