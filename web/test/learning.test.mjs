// What a run in the page is and whether it learns: MAE beside BootMAE, and the nearest neighbours of labelled pictures.
// `make web` and `cargo build` first, then `node --test web/test/learning.test.mjs`.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { checkBuilt, DIST, launch, started, START_TIMEOUT_MS, SWIFTSHADER_ICD, watch } from "./chromium.mjs";
import { PROGRAM, serve } from "./server.mjs";

const TIMEOUT = { timeout: 240_000 };
// As small as a network that has every part, with narrow heads in the decoder too: wide ones take long to compile.
const SMALL = { batch_size: 4, image_size: 16, width: 32, depth: 1, heads: 4 };
const FEATURES = '[data-chart="feature"]';
const SIDE = 16;
const OF_EACH_CLASS = 300; // so that thirty of each are held out

let folder, server, browser, page;
const seen = { errors: [], requests: [] };

before(async () => {
  checkBuilt();
  folder = await mkdtemp(join(tmpdir(), "bootmae-learning-"));
  server = await serve(DIST);
  browser = await launch();
  page = await (await browser.newContext()).newPage();
  watch(page, seen);
}, { timeout: 2 * START_TIMEOUT_MS });

after(async () => {
  await browser?.close();
  await server?.close();
  if (folder) await rm(folder, { recursive: true });
});

const text = (selector) => page.locator(selector).textContent();
const call = (name, ...args) => page.evaluate(([name, args]) => window.bootmae.engine.call(name, args), [name, args]);

async function open(hash) {
  await page.goto("about:blank");
  await page.goto(`${server.origin}/${hash}`);
  await started(page);
}

async function says(selector, pattern) {
  await page.waitForFunction(
    ([selector, source]) => new RegExp(source).test(document.querySelector(selector)?.textContent),
    [selector, pattern.source],
    { timeout: TIMEOUT.timeout },
  );
}

const fill = async (settings) => {
  await page.locator("#advanced").evaluate((advanced) => (advanced.open = true));
  for (const [name, value] of Object.entries(settings)) await page.locator(`#${name}`).fill(String(value));
};

async function download() {
  const [saved] = await Promise.all([page.waitForEvent("download"), page.locator("#save").click()]);
  return { name: saved.suggestedFilename(), mimeType: "application/x-tar", buffer: await readFile(await saved.path()) };
}

// Hands pictures, named and in base64, to the computing thread.
const addPictures = (pictures) =>
  page.evaluate(async (pictures) => {
    const { engine } = window.bootmae;
    await engine.call("images_new");
    for (const [name, base64] of pictures) await engine.call("images_add", [name, new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))])]);
  }, pictures);

// A picture of noise, the least brighter in one class than in the other, as a BMP file of 24 bits.
function bitmap(random, bright) {
  const [head, row] = [54, 3 * SIDE];
  const file = Buffer.alloc(head + SIDE * row);
  file.write("BM");
  [[2, file.length], [10, head], [14, 40], [18, SIDE], [22, SIDE], [26, 1 | (24 << 16)], [34, SIDE * row]].forEach(([at, value]) => file.writeUInt32LE(value, at));
  for (let at = head; at < file.length; at++) file[at] = 200 * random() + (bright ? 10 : 0);
  return file;
}

function generator(seed) {
  let state = seed;
  return () => (state = (state * 48271) % 2147483647) / 2147483647;
}

test("an address that names MAE shows its settings, and nothing of a teacher", TIMEOUT, async () => {
  await open("#tab=train&method=mae");
  assert.equal(await page.locator("#method").inputValue(), "mae");
  assert.match(await text("#method-note > :not([hidden])"), /^Predicts pixels alone: there is no teacher/);
  assert.match(await text("#masking option:first-child"), /random/);
  for (const part of await page.locator('[data-needs="teacher"]').all()) assert.ok(await part.isHidden(), await part.textContent());
  await page.locator("#method").selectOption("bootmae");
  assert.match(await text("#masking option:first-child"), /blocks/);
  assert.ok(await page.locator(FEATURES).isVisible());
  await page.waitForFunction(() => /method=bootmae/.test(location.hash));
  await page.locator("#advanced summary").click();
  await page.locator("#masking").selectOption("block");
  await page.locator("#method").selectOption("mae");
  assert.equal(await page.locator("#masking").inputValue(), "", "each method has its own way of hiding patches");
  await page.waitForFunction(() => /method=mae/.test(location.hash));
});

let file; // a checkpoint of MAE

test("MAE trains in the tab and draws what it reports", TIMEOUT, async () => {
  await page.locator("#data-shipped").click();
  await says("#data-note", /^23 pictures to train on \(the shipped photos\)\.$/);
  await fill({ steps: 6, ...SMALL });
  await page.locator("#start").click();
  await says("#train-note", /^Done: 6 steps/);
  assert.match(await text("#log"), /Started: MAE, /);
  assert.match(await page.locator('[data-chart="pixel"] svg').getAttribute("aria-label"), /at step 1, .* at step 6$/);
  assert.match(await page.locator('[data-chart="feature"] svg').getAttribute("aria-label"), /no values yet$/);
  assert.doesNotMatch(await text("#train"), /not finite|null|undefined|NaN/);
  assert.ok(await page.locator(FEATURES).isHidden());
  assert.equal(await page.locator(".preview").count(), 4);
  assert.equal(await page.locator(".preview canvas:visible").count(), 12, "original, masked and reconstruction of each");
  assert.ok(await page.locator("#knn-card").isHidden(), "the photos have no classes");
});

test("a run of MAE is saved, used in Reconstruct, opened again, and goes on", TIMEOUT, async () => {
  file = await download();
  await page.locator("#use").click();
  await says("#weights-note", /The run of this page after step 6/);
  await page.locator('#reconstruct[data-state="done"]').waitFor();
  assert.ok(await page.locator("#features").isHidden(), "there are no features to compare");
  await page.locator("#weights-file").setInputFiles(file);
  await says("#weights-note", /bootmae-step-6\.tar/);
  await page.locator('#reconstruct[data-state="done"]').waitFor();
  assert.match(await text("#psnr"), /\d dB/);

  await page.locator("#tab-train").click();
  await page.locator("#method").selectOption("bootmae");
  await page.locator("#checkpoint-input").setInputFiles(file);
  await says("#checkpoint-note", /^A run of 6 steps of MAE, saved after 6\./);
  assert.equal(await page.locator("#method").inputValue(), "mae");
  await page.locator("#method:disabled").waitFor();
  await page.locator("#steps").fill("8");
  await page.locator("#continue:enabled").click();
  await says("#train-note", /^Done: 8 steps/);
  assert.match(await text("#log"), /Resumed after step 6: MAE, /);
});

test("after a reload the method is there still, and the run is offered as what it is", TIMEOUT, async () => {
  await open("#tab=train");
  assert.equal(await page.locator("#method").inputValue(), "mae");
  await says("#offers", /^A run of 8 steps of MAE, on the shipped photos/);
});

// Two classes of so many pictures each in a folder of their own: the folder, and the pictures by name and in base64.
async function classes(of, name, random) {
  const [set, pictures] = [join(folder, name), []];
  for (const [kind, bright] of [["bright", true], ["dark", false]]) {
    await mkdir(join(set, kind), { recursive: true });
    for (let i = 0; i < of; i++) {
      const picture = bitmap(random, bright);
      await writeFile(join(set, kind, `${i}.bmp`), picture);
      pictures.push([`${kind}/${i}.bmp`, picture.toString("base64")]);
    }
  }
  return { set, pictures };
}

test("pictures in folders are told apart by their neighbours while it trains", TIMEOUT, async () => {
  const { set } = await classes(20, "few", generator(3));
  // A photo that is still on its way when other pictures are dropped is none of them.
  await page.evaluate(() => {
    const [ask, held] = [window.fetch, new Promise((resolve) => (window.letGo = resolve))];
    window.fetch = async (...what) => {
      if (/\.jpg$/.test(what[0])) await held;
      return ask(...what);
    };
  });
  await page.locator("#data-shipped").click();
  await says("#data-note", /^Reading 1 of 23 files/);
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: [set], dragOperationsMask: 1 };
  for (const type of ["dragEnter", "dragOver", "drop"]) await session.send("Input.dispatchDragEvent", { type, x: 500, y: 300, data });
  await page.evaluate(() => window.letGo());
  await says("#data-note", /^40 pictures to train on\. They have 2 classes\.$/);
  assert.ok(await page.locator("#knn-card").isVisible());
  await page.locator("#method").selectOption("bootmae");
  await fill({ steps: 10, ...SMALL, knn_every: 4 });
  await page.locator("#start").click();
  await says("#train-note", /^Done: 10 steps/);

  const chart = page.locator('[data-chart="neighbours"]');
  assert.match(await chart.locator("svg").getAttribute("aria-label"), /^Pictures told right in per cent: \S+ at step 0, \S+ at step 10$/);
  assert.equal((await chart.locator(".curve").getAttribute("points")).split(" ").length, 4, "after steps 0, 4, 8 and 10");
  assert.equal(await chart.locator(".level").count(), 1);
  assert.match(await text("#knn-result"), /^\d+ of 40 pictures \(\d+ %\) .* their 20 nearest neighbours among the others .* right for 50 %: that is chance level\.$/);
  assert.match(await text("#knn-note"), /^Found out at the start, every 4 steps and at the end\. It has taken \d+\.\d % of the time so far\./);
});

test("what the tab finds by neighbours the program finds too, and looking changes no bit of the run", TIMEOUT, async (t) => {
  const { set, pictures } = await classes(OF_EACH_CLASS, "many", generator(7));
  // Four steps, the last of them submitted ahead: the checkpoint, and what was found after each.
  const run = async (looks) => {
    await addPictures(pictures);
    return page.evaluate(async (looks) => {
      const call = (name, ...args) => window.bootmae.engine.call(name, args);
      const model = { preset: "nano", kind: "mae", image_size: 16, width: 32, depth: 2, heads: 2, pixel_decoder_width: 16 };
      await call("training_start", { model, training: { steps: 50, batch_size: 4, seed: 2, peak_learning_rate: 0.01 } });
      const found = [];
      for (let i = 0; i < 3; i++) {
        await call("training_advance");
        if (looks) found.push(await call("training_neighbours", 1000));
      }
      const bytes = new Uint8Array(await (await call("training_keep")).blob.arrayBuffer());
      let text = "";
      for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
      return { found, saved: btoa(text) };
    }, looks);
  };
  const [plain, looked] = [await run(false), await run(true)];
  assert.ok(looked.saved === plain.saved, "the same checkpoint, bit for bit");
  assert.deepEqual(looked.found.map(({ step }) => step), [2, 3, 4], "after the steps submitted");

  const archive = join(folder, "bootmae-step-4.tar");
  await writeFile(archive, Buffer.from(looked.saved, "base64"));
  const env = { XDG_RUNTIME_DIR: tmpdir(), ...process.env, BOOTMAE_NO_TUNE: "1", VK_DRIVER_FILES: SWIFTSHADER_ICD };
  const { stdout } = await promisify(execFile)(PROGRAM, ["knn", "--checkpoint", archive, "--data", set, "--json", "--adapter", "SwiftShader"], { env });
  const { accuracy: [{ k, top1 }] } = JSON.parse(stdout);
  const last = { ...looked.found.at(-1), seconds: 0 };
  t.diagnostic(`${last.top1} in the tab, ${top1} in the program`);
  assert.deepEqual(last, { step: 4, classes: 2, train: 540, test: 60, leave_one_out: false, k, top1, chance: 0.5, seconds: 0 });
  assert.ok(k === 20 && top1 > 0.5 && top1 < 1, "neither chance nor all");
});

test("no console errors", () => assert.deepEqual(seen.errors, []));

test("no request to another origin", () => {
  assert.ok(seen.requests.length > 0);
  const elsewhere = seen.requests.filter((url) => !url.startsWith(`${server.origin}/`) && !/^(blob|about):/.test(url));
  assert.deepEqual(elsewhere, []);
});
