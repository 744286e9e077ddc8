// The tab and the program are one: the same reconstruction, and a run that goes on in either. `make web` and `cargo build`
// first, then `node --test web/test/native.test.mjs`.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { checkBuilt, DIST, launch, started, START_TIMEOUT_MS, SWIFTSHADER_ICD, watch } from "./chromium.mjs";
import { PROGRAM, serve } from "./server.mjs";

const TIMEOUT = { timeout: 600_000 };
const PHOTOS = fileURLToPath(new URL("../../examples/photos", import.meta.url));
const WEIGHTS = join(DIST, "weights/demo.safetensors");
const FOREIGN = fileURLToPath(new URL("../../tests/fixtures/interop", import.meta.url));
const LEAST_PSNR_DB = 60;
const LOSS_TOLERANCE = 1e-3;
const KILLS = 10;

const run = promisify(execFile);
let folder, server, browser, page;
const seen = { errors: [], requests: [] };

before(async () => {
  checkBuilt();
  folder = await mkdtemp(join(tmpdir(), "bootmae-native-"));
  server = await serve(DIST);
  // A browser gives WebGPU up after a few crashes in a row; this one is to survive more than a few.
  browser = await launch({ flags: ["--disable-gpu-process-crash-limit", "--disable-domain-blocking-for-3d-apis"] });
  page = await browser.newPage();
  watch(page, seen);
  await page.goto(`${server.origin}/#tab=check`);
  await started(page);
}, { timeout: 3 * START_TIMEOUT_MS });

after(async () => {
  await browser?.close();
  await server?.close();
  if (folder) await rm(folder, { recursive: true });
});

// The program, on the adapter that the browser has too.
async function program(...args) {
  const env = { XDG_RUNTIME_DIR: tmpdir(), ...process.env, BOOTMAE_NO_TUNE: "1", VK_DRIVER_FILES: SWIFTSHADER_ICD };
  const { stdout } = await run(PROGRAM, [...args, "--adapter", "SwiftShader"], { env, maxBuffer: 1 << 24 });
  return stdout;
}

const call = (name, ...args) => page.evaluate(([name, args]) => window.bootmae.engine.call(name, args), [name, args]);
const advance = () => call("training_advance");

// Adds all training photos in the tab under the names that the program finds them by.
async function addPhotos() {
  const names = (await readdir(join(PHOTOS, "train"))).filter((name) => name.endsWith(".jpg"));
  await page.evaluate(async (names) => {
    const { engine } = window.bootmae;
    await engine.call("images_new");
    for (const name of names) {
      await engine.call("images_add", [name, await (await fetch(`photos/${name}`)).blob()]);
    }
  }, names);
  return names.length;
}

// Pixels of a PNG file, as the browser decodes them: RGBA.
const decoded = async (path) =>
  page.evaluate(async (base64) => {
    const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }), { colorSpaceConversion: "none" });
    const context = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    context.drawImage(bitmap, 0, 0);
    return [...context.getImageData(0, 0, bitmap.width, bitmap.height).data];
  }, (await readFile(path)).toString("base64"));

function psnr(a, b) {
  assert.equal(a.length, b.length);
  const square = a.reduce((sum, value, i) => sum + (value - b[i]) ** 2, 0) / a.length;
  return 10 * Math.log10(255 ** 2 / square);
}

for (const { photo, kind, share, seed, own, weights, heads } of [
  { photo: "held-out/cat.jpg", kind: "block", share: 0.75, seed: 3, own: true, weights: WEIGHTS },
  { photo: "train/venice.jpg", kind: "random", share: 0.5, seed: 8, own: false, weights: WEIGHTS },
  { photo: "held-out/cat.jpg", kind: "random", share: 0.75, seed: 2, own: false, weights: join(FOREIGN, "mae_full.pth"), heads: 2 },
]) {
  test(`${photo}, ${kind} mask, ${basename(weights)}: the tab shows what the program writes`, TIMEOUT, async (t) => {
    const path = join(folder, "plain.png");
    const flags = ["--mask", kind, "--mask-ratio", String(share), "--seed", String(seed), "--plain", ...(own ? [] : ["--blind"])];
    if (heads) flags.push("--heads", String(heads));
    await program("reconstruct", "--checkpoint", weights, "--image", join(PHOTOS, photo), "--out", path, ...flags);
    const file = (await readFile(weights)).toString("base64");
    const shown = await page.evaluate(async ({ photo, kind, share, seed, own, file, heads }) => {
      const { engine } = window.bootmae;
      await engine.call("open_weights", [{ file: new Blob([Uint8Array.from(atob(file), (c) => c.charCodeAt(0))]), heads }]);
      const { patches } = await engine.call("open_network");
      await engine.call("set_photo", [await (await fetch(`photos/${photo.split("/")[1]}`)).blob()]);
      const hidden = await engine.call("mask", [kind, Math.round(share * patches), seed]);
      const { reconstruction, original } = await engine.call("reconstruct", [hidden, own, true]);
      return { reconstruction: [...reconstruction], original: [...original] };
    }, { photo, kind, share, seed, own, file, heads });
    const written = await decoded(path);
    const agreement = psnr(shown.reconstruction, written);
    t.diagnostic(`PSNR between tab and program ${agreement.toFixed(1)} dB, of the reconstruction itself ${psnr(shown.original, written).toFixed(1)} dB`);
    assert.ok(agreement >= LEAST_PSNR_DB, `${agreement} dB`);
    assert.ok(psnr(shown.original, written) < 40, "the reconstruction must not be the photo itself");
  });
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

test("a run in the tab learns, goes on in the program, and then in the tab again", TIMEOUT, async (t) => {
  const images = await addPhotos();
  assert.equal(images, 23);
  const model = { preset: "nano", image_size: 16, width: 48, depth: 2, heads: 2, pixel_decoder_width: 32 };
  const training = { steps: 40, batch_size: 6, peak_learning_rate: 2e-3, seed: 5, save_every_steps: 10 };
  await call("training_start", { model, training });
  const lines = [];
  while (lines.length < 30) {
    const { metrics, events } = await advance();
    assert.deepEqual(events, []);
    assert.equal(metrics.step, lines.length + 1);
    lines.push(metrics);
  }
  for (const name of ["loss_pixel", "loss_feature"]) {
    const [first, last] = [mean(lines.slice(0, 6).map((line) => line[name])), mean(lines.slice(-6).map((line) => line[name]))];
    t.diagnostic(`${name}: ${first.toFixed(4)} over the first six steps, ${last.toFixed(4)} over the last`);
    assert.ok(last < first, `${name} must fall: ${first} to ${last}`);
  }

  const saved = await page.evaluate(async () => {
    const { name, blob } = await window.bootmae.engine.call("training_keep");
    const bytes = new Uint8Array(await blob.arrayBuffer());
    let text = "";
    for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
    return { name, base64: btoa(text) };
  });
  const step = Number(saved.name.match(/^bootmae-step-(\d+)\.tar$/)[1]);
  assert.ok(step === 30 || step === 31, saved.name);
  const archive = join(folder, saved.name);
  await writeFile(archive, Buffer.from(saved.base64, "base64"));

  const out = join(folder, "run");
  const last = step + 4;
  await program("pretrain", "--resume", archive, "--data", join(PHOTOS, "train"), "--out", out, "--stop-after", String(last));
  const native = (await readFile(join(out, "metrics.jsonl"), "utf8")).trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(native.map((line) => line.step), [1, 2, 3, 4].map((n) => step + n));
  const compare = (line, other) => {
    for (const name of ["loss_pixel", "loss_feature"]) {
      const off = Math.abs(line[name] / other[name] - 1);
      assert.ok(off < LOSS_TOLERANCE, `${name} at step ${line.step}: ${line[name]} and ${other[name]}`);
    }
    assert.equal(line.learning_rate, other.learning_rate);
    assert.equal(line.ema_decay, other.ema_decay);
  };
  // The tab goes on too, from the same state with the same images.
  let worst = 0;
  for (const line of native) {
    let metrics;
    do ({ metrics } = await advance()); while (metrics.step < line.step);
    compare(metrics, line);
    worst = Math.max(worst, Math.abs(metrics.loss / line.loss - 1));
  }
  t.diagnostic(`losses of four steps in tab and program differ by at most ${worst.toExponential(1)}`);

  // And from what the program has saved.
  const checkpoint = join(out, "checkpoints", `step-${last}`);
  await addPhotos();
  await call("checkpoint_new");
  for (const name of await readdir(checkpoint)) {
    const base64 = (await readFile(join(checkpoint, name))).toString("base64");
    await page.evaluate(async ([name, base64]) => {
      const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
      await window.bootmae.engine.call("checkpoint_add", [name, new Blob([bytes])]);
    }, [name, base64]);
  }
  assert.equal((await call("checkpoint_describe")).step, last);
  const { metrics: before } = await advance();
  await call("training_start", {});
  const { metrics: again } = await advance();
  assert.equal(again.step, last + 1);
  compare(again, before);
});

test(`the GPU process is killed ${KILLS} times in mid-training, and training goes on each time`, TIMEOUT, async (t) => {
  await addPhotos();
  const model = { preset: "nano", image_size: 16, width: 32, depth: 2, heads: 2, pixel_decoder_width: 32 };
  await call("training_start", { model, training: { steps: 100_000, batch_size: 4, save_every_steps: 2 } });
  const session = await browser.newBrowserCDPSession();
  let recovered = 0;
  let step = 0;
  while (recovered < KILLS) {
    // A snapshot lies between two losses.
    const from = step;
    do ({ step } = await advance()); while (step < from + 3);
    const { processInfo } = await session.send("SystemInfo.getProcessInfo");
    const gpu = processInfo.filter(({ type }) => type === "GPU");
    assert.equal(gpu.length, 1, "Chromium has one GPU process");
    process.kill(gpu[0].id, "SIGKILL");
    for (let said = []; said.length === 0; ) {
      ({ step, events: said } = await advance());
      if (said.length > 0 && recovered === 0) said.forEach((line) => t.diagnostic(line));
      if (said.length > 0) assert.match(said.join(" "), /lost.*back to step \d+/);
    }
    recovered += 1;
  }
  const { metrics } = await advance();
  assert.equal(metrics.step, step + 1);
  t.diagnostic(`${recovered} of ${KILLS} recovered, step ${metrics.step}`);
  assert.ok(Number.isFinite(metrics.loss));
});

test("no console errors", () => assert.deepEqual(seen.errors, []));

test("no request to another origin", () => {
  assert.ok(seen.requests.length > 0);
  assert.deepEqual(seen.requests.filter((url) => new URL(url).origin !== server.origin), []);
});
