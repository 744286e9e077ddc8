// Trains in a tab and measures memory on the way: the library's (wasm), the JavaScript heaps of page and computing thread
// after a collection, and what the renderer and the GPU process hold of the machine's memory. Fails where one of them has
// grown by more than ALLOWED between the first and the last measurement.
//
//   node web/bench/memory.mjs            500 steps, compared with step 50
//   node web/bench/memory.mjs 150        150 steps
//   node web/bench/memory.mjs 150 1000   150 steps, a save of the state every 1000 instead of every 25

import { readFile } from "node:fs/promises";
import { DIST, checkBuilt, launch, started } from "../test/chromium.mjs";
import { serve } from "../test/server.mjs";

const FIRST = 50;
const EVERY = 50;
const BATCH = 4;
// The first save of a run's state makes room for a second copy of it, which every later save uses again. So the first one
// comes before the first measurement, and the others count.
const saveEvery = Number(process.argv[3] ?? 25);
const ALLOWED = { wasm: 0, "page heap": 1, "thread heap": 1, "renderer": 16, "GPU process": 16 }; // MiB
const MIB = 2 ** 20;

const steps = Number(process.argv[2] ?? 500);
if (!(steps > FIRST)) throw new Error(`at least ${FIRST + 1} steps, not ${process.argv[2]}`);

async function residentMib(pid) {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(status.match(/VmRSS:\s+(\d+) kB/)[1]) / 1024;
}

// The computing thread's debugger, reached through the page's.
async function thread(session) {
  const waiting = new Map();
  let next = 1;
  const attached = new Promise((done) => {
    session.on("Target.attachedToTarget", ({ sessionId, targetInfo }) => targetInfo.type === "worker" && done(sessionId));
  });
  session.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result, error } = JSON.parse(message);
    if (error) waiting.get(id)?.reject(new Error(error.message));
    else waiting.get(id)?.resolve(result);
    waiting.delete(id);
  });
  await session.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  const sessionId = await attached;
  return (method, params = {}) => new Promise((resolve, reject) => {
    const id = next++;
    waiting.set(id, { resolve, reject });
    session.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id, method, params }) }).catch(reject);
  });
}

async function wasmMib(send) {
  const { result } = await send("Runtime.evaluate", { expression: "WebAssembly.Memory.prototype" });
  const { objects } = await send("Runtime.queryObjects", { prototypeObjectId: result.objectId });
  const { result: bytes } = await send("Runtime.callFunctionOn", {
    objectId: objects.objectId,
    functionDeclaration: "function () { return this.reduce((sum, memory) => sum + memory.buffer.byteLength, 0); }",
    returnByValue: true,
  });
  await send("Runtime.releaseObject", { objectId: objects.objectId });
  return bytes.value / MIB;
}

checkBuilt();
const server = await serve(DIST);
const browser = await launch();
try {
  const page = await browser.newPage();
  await page.goto(server.origin);
  await started(page);
  const session = await page.context().newCDPSession(page);
  const system = await browser.newBrowserCDPSession();
  const send = await thread(session);
  await session.send("HeapProfiler.enable");
  await send("HeapProfiler.enable");

  await page.evaluate(async ([steps, batch_size, save_every_steps]) => {
    const call = (...of) => window.bootmae.engine.call(...of);
    await call("images_new");
    const listed = (await (await fetch("photos/index.json")).json()).filter(({ held_out }) => !held_out);
    for (const { file } of listed) await call("images_add", [file, await (await fetch(`photos/${file}`)).blob()]);
    await call("training_start", [{ model: { preset: "nano" }, training: { steps, batch_size, save_every_steps } }]);
  }, [steps, BATCH, saveEvery]);

  const processes = async (type) => (await system.send("SystemInfo.getProcessInfo")).processInfo
    .filter((one) => one.type === type).sort((a, b) => b.cpuTime - a.cpuTime);
  async function measure() {
    await session.send("HeapProfiler.collectGarbage");
    await send("HeapProfiler.collectGarbage");
    const [own, other] = [await session.send("Runtime.getHeapUsage"), await send("Runtime.getHeapUsage")];
    const [[renderer], [gpu]] = [await processes("renderer"), await processes("GPU")];
    return {
      wasm: await wasmMib(send),
      "page heap": own.usedSize / MIB,
      "thread heap": other.usedSize / MIB,
      renderer: await residentMib(renderer.id),
      "GPU process": await residentMib(gpu.id),
    };
  }

  const names = Object.keys(ALLOWED);
  console.log(`MiB, nano, ${BATCH} images a step, ${steps} steps, a save every ${saveEvery}`);
  console.log(["step", "loss", ...names].map((name) => name.padStart(12)).join(""));
  const rows = new Map();
  for (let step = 0; step < steps;) {
    const until = Math.min(step + EVERY, steps);
    const loss = await page.evaluate(async (until) => {
      for (;;) {
        const { metrics, events, step } = await window.bootmae.engine.call("training_advance");
        if (events.length) throw new Error(events.join("; "));
        if (step >= until) return metrics.loss_pixel;
      }
    }, until);
    step = until;
    const row = await measure();
    rows.set(step, row);
    const cells = [String(step), loss.toFixed(3), ...names.map((name) => row[name].toFixed(2))];
    console.log(cells.map((cell) => cell.padStart(12)).join(""));
  }
  const [from, to] = [rows.get(FIRST), rows.get(steps)];
  const grown = names.filter((name) => to[name] - from[name] > ALLOWED[name]);
  console.log(["growth", "", ...names.map((name) => (to[name] - from[name]).toFixed(2))].map((cell) => cell.padStart(12)).join(""));
  console.log(["allowed", "", ...names.map((name) => String(ALLOWED[name]))].map((cell) => cell.padStart(12)).join(""));
  if (grown.length) {
    console.log(`not flat since step ${FIRST}: ${grown.join(", ")}`);
    process.exitCode = 1;
  } else {
    console.log(`flat since step ${FIRST}`);
  }
} finally {
  await browser.close();
  await server.close();
}
