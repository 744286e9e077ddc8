// Times a training step of `nano` in the browser: this project's, TensorFlow.js's and jax-js's in one tab, and the native
// program's on the same software driver, in turn. Prints a table, with ratios taken within a round, and everything raw as
// one line of JSON. Needs `make web`, `cargo build`, `npm ci --prefix web` and `npm ci --prefix web/bench`.
//
//   node web/bench/run.mjs [--batch 8] [--rounds 3] [--steps 2] [--warm-up 2] [--only bootmae,tfjs,jaxjs,native] [--profile]
//
// `--warm-up` counts the steps that each library trains before the first round, so that nothing is compiled in it; their
// losses are printed. `--rounds 0 --warm-up 20` only shows that the losses fall. `--profile` ends with the time of each
// kernel of this project's step in the tab.

import { spawn } from "node:child_process";
import { cp, mkdtemp, readFile, readdir, rm } from "node:fs/promises";
import { cpus, loadavg, setPriority, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { DIST, checkBuilt, launch } from "../test/chromium.mjs";
import { PROGRAM, serve } from "../test/server.mjs";
import { bundle } from "./build.mjs";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const DRIVER = process.env.SWIFTSHADER ?? "/usr/lib/chromium/vk_swiftshader_icd.json";
const NAMES = {
  bootmae: "bootmae, in the tab", tfjs: "TensorFlow.js, WebGPU", jaxjs: "jax-js, WebGPU", native: "bootmae, native",
};
const LIBRARIES = { tfjs: "@tensorflow/tfjs-core", jaxjs: "@jax-js/jax" };

const { values } = parseArgs({
  options: {
    batch: { type: "string", default: "8" },
    rounds: { type: "string", default: "3" },
    steps: { type: "string", default: "2" },
    "warm-up": { type: "string", default: "2" },
    only: { type: "string", default: Object.keys(NAMES).join() },
    profile: { type: "boolean", default: false },
  },
});
const [batch, rounds, steps, warmUp] = ["batch", "rounds", "steps", "warm-up"].map((name) => Number(values[name]));
const only = values.only.split(",");

const median = (list) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)];

// The priority of the threads that compute for WebGPU in Chromium, so that the native program gets no other: SwiftShader's
// workers, which start before Chromium raises the priority of its GPU process.
async function gpuPriority(system) {
  const { processInfo } = await system.send("SystemInfo.getProcessInfo");
  const { id } = processInfo.find(({ type }) => type === "GPU");
  for (const thread of await readdir(`/proc/${id}/task`)) {
    const [, name, fields] = (await readFile(`/proc/${id}/task/${thread}/stat`, "utf8")).match(/\((.*)\) (.*)/);
    if (name.startsWith("Thread<")) return Number(fields.split(" ")[16]);
  }
  throw new Error("the browser's GPU process has no thread of SwiftShader's");
}

async function native(system) {
  const given = ["bench", "--model", "nano", "--batch-size", batch, "--steps", steps];
  const child = spawn(PROGRAM, [...given.map(String), "--adapter", "SwiftShader", "--no-tune", "--json"], {
    env: { ...process.env, VK_DRIVER_FILES: DRIVER },
    stdio: ["ignore", "pipe", "ignore"],
  });
  let text = "";
  child.stdout.on("data", (piece) => (text += piece));
  const closed = new Promise((done) => child.once("close", done));
  const priority = await gpuPriority(system);
  try {
    setPriority(child.pid, priority);
  } catch {
    console.log(`the native program could not be given the priority ${priority} of the browser's SwiftShader`);
  }
  const code = await closed;
  if (code !== 0) throw new Error(`the native program ended with ${code}`);
  return JSON.parse(text);
}

async function version(name) {
  return JSON.parse(await readFile(here(`node_modules/${name}/package.json`), "utf8")).version;
}

checkBuilt();
const folder = await mkdtemp(join(tmpdir(), "bootmae-web-bench-"));
let server, browser;
try {
  await bundle(folder);
  for (const file of ["index.html", "page.js"]) await cp(here(file), join(folder, file));
  await cp(join(DIST, "icon.svg"), join(folder, "icon.svg"));
  await cp(join(DIST, "pkg"), join(folder, "pkg"), { recursive: true });
  server = await serve(folder);
  browser = await launch();
  const page = await browser.newPage();
  page.setDefaultTimeout(0);
  page.on("console", (message) => message.type() === "error" && console.log(message.text()));
  page.on("response", (answer) => answer.ok() || console.log(`${answer.status()} ${answer.url()}`));
  await page.goto(server.origin);
  const system = await browser.newBrowserCDPSession();
  const measure = (name, count, profile = false) =>
    page.evaluate((given) => window.bench.measure(...given), [name, count, profile]);

  const libraries = await Promise.all(Object.entries(LIBRARIES).map(async ([name, of]) => `${name} ${await version(of)}`));
  console.log(`${libraries.join(", ")}, Chromium ${browser.version()}, ${cpus().length} × ${cpus()[0].model}`);
  console.log(`nano, ${batch} images a step; load average at the start ${loadavg()[0].toFixed(1)}`);

  const losses = {};
  for (const name of only.filter((name) => name !== "native")) {
    await page.evaluate(([name, batch]) => window.bench.start(name, batch), [name, batch]);
    if (!LIBRARIES[name]) continue;
    losses[name] = [];
    for (let i = 0; i < warmUp; i++) losses[name].push(...(await measure(name, 1)).losses);
    console.log(`${name}: losses ${losses[name].map((loss) => loss.toFixed(3)).join(" ")}`);
  }

  const times = Object.fromEntries(only.map((name) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const name of only) {
      const found = name === "native" ? await native(system) : await measure(name, steps);
      losses[name]?.push(...found.losses);
      times[name].push(found.step_ms ?? median(found.ms));
      console.log(`round ${round}: ${name} ${times[name].at(-1).toFixed(0)} ms, load ${loadavg()[0].toFixed(1)}`);
    }
  }

  if (rounds > 0) {
    console.log("\n| | ms a step | images/s | times bootmae's step in the tab (rounds) |\n|---|---|---|---|");
    for (const name of only) {
      const ms = median(times[name]);
      const ratios = times[name].map((time, i) => time / times.bootmae?.[i]).filter(Number.isFinite);
      const each = ratios.length ? `${median(ratios).toFixed(2)} (${ratios.map((ratio) => ratio.toFixed(2)).join(", ")})` : "–";
      console.log(`| ${NAMES[name]} | ${ms.toFixed(0)} | ${((batch * 1000) / ms).toFixed(3)} | ${each} |`);
    }
    console.log(`\n${JSON.stringify({ batch, steps, times, losses })}`);
  }
  if (values.profile) {
    const { profile } = await measure("bootmae", 1, true);
    console.log("\n| kernel | calls | ms | GFLOP/s | GB/s | of the best |\n|---|---|---|---|---|---|");
    for (const { kernel, calls, ms, gflops, gbs, share_of_best } of profile) {
      const rates = [ms.toFixed(1), gflops.toFixed(2), gbs.toFixed(2), `${(100 * share_of_best).toFixed(0)} %`];
      console.log(`| ${[kernel, calls, ...rates].join(" | ")} |`);
    }
  }
} finally {
  await browser?.close();
  await server?.close();
  await rm(folder, { recursive: true, force: true });
}
