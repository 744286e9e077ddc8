// Explore and Teach as a visitor uses them, and the program with the same weights: `make web` and `cargo build` first, then
// `node --test web/test/explore.test.mjs`.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { checkBuilt, DIST, launch, started, START_TIMEOUT_MS, SWIFTSHADER_ICD, watch } from "./chromium.mjs";
import { PROGRAM, serve } from "./server.mjs";

const TIMEOUT = { timeout: 300_000 };
const WEIGHTS = join(DIST, "weights/demo.safetensors");
const FOREIGN = fileURLToPath(new URL("../../tests/fixtures/interop/mae_full.pth", import.meta.url));
const COSINE_TOLERANCE = 2e-3;

const run = promisify(execFile);
let folder, server, browser, page;
const seen = { errors: [], requests: [] };

before(async () => {
  checkBuilt();
  folder = await mkdtemp(join(tmpdir(), "bootmae-explore-"));
  server = await serve(DIST);
  browser = await launch({ flags: ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"] });
  page = await browser.newPage();
  watch(page, seen);
  await page.goto(`${server.origin}/#tab=explore`);
  await started(page);
  await page.waitForFunction(() => /come with the page/.test(document.querySelector("[data-encoder-note]").textContent));
  await crops();
}, { timeout: 3 * START_TIMEOUT_MS });

after(async () => {
  await browser?.close();
  await server?.close();
  if (folder) await rm(folder, { recursive: true });
});

const text = (selector) => page.locator(selector).textContent();
const ended = (section) => page.locator(`#${section}[data-state="done"], #${section}[data-state="failed"]`).waitFor(TIMEOUT);

async function says(selector, pattern) {
  await page.waitForFunction(
    ([selector, source]) => new RegExp(source).test(document.querySelector(selector).textContent),
    [selector, pattern.source],
    { timeout: TIMEOUT.timeout },
  );
}

// The program, on the adapter that the browser has too.
async function program(...args) {
  const env = { XDG_RUNTIME_DIR: tmpdir(), ...process.env, BOOTMAE_NO_TUNE: "1", VK_DRIVER_FILES: SWIFTSHADER_ICD };
  const { stdout } = await run(PROGRAM, [...args, "--adapter", "SwiftShader"], { env, maxBuffer: 1 << 24 });
  return stdout;
}

// Cuts two photos, of a landscape at dawn and of a forest, into squares like a chessboard: the dark ones to learn from, the others
// to try on.
async function crops() {
  for (const name of ["dawn", "forest"]) {
    const parts = await page.evaluate(async (name) => {
      const bitmap = await createImageBitmap(await (await fetch(`photos/${name}.jpg`)).blob());
      const side = Math.floor(bitmap.height / 4);
      const parts = [];
      for (let row = 0; row < 4; row++) {
        for (let column = 0; column < Math.min(5, Math.floor(bitmap.width / side)); column++) {
          const canvas = new OffscreenCanvas(96, 96);
          canvas.getContext("2d").drawImage(bitmap, column * side, row * side, side, side, 0, 0, 96, 96);
          const bytes = new Uint8Array(await (await canvas.convertToBlob({ type: "image/png" })).arrayBuffer());
          parts.push({ side: (row + column) % 2 ? "try" : "learn", base64: btoa(String.fromCharCode(...bytes)) });
        }
      }
      return parts;
    }, name);
    for (const [i, { side, base64 }] of parts.entries()) {
      await mkdir(join(folder, side, name), { recursive: true });
      await writeFile(join(folder, side, name, `${String(i).padStart(2, "0")}.png`), Buffer.from(base64, "base64"));
    }
  }
}

const cosine = (a, b) => {
  const dot = (x, y) => x.reduce((sum, value, i) => sum + value * y[i], 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
};

test("the nearest neighbours are those of the program's features", TIMEOUT, async (t) => {
  await page.locator("#explore-shipped").click();
  await ended("explore");
  assert.equal(await text("#explore-error"), "");
  assert.match(await text("#explore-note"), /^25 pictures \(the shipped photos\), looked at in [\d.]+ s\./);
  assert.ok(await page.locator("#classes-card").isHidden(), "photos of one folder have no classes");

  const file = join(folder, "features.csv");
  await program("embed", "--checkpoint", WEIGHTS, "--data", join(DIST, "photos"), "--out", file, "--batch-size", "25");
  const [head, ...lines] = (await readFile(file, "utf8")).trim().split("\n").map((line) => line.split(","));
  const [name, first] = [head.indexOf("name"), head.findIndex((column) => /^(f|feature_?|value_?)0$/.test(column))];
  assert.ok(name >= 0 && first >= 0, `columns: ${head.slice(0, 6)}`);
  const features = new Map(lines.map((line) => [basename(line[name].replace(/"/g, "")), line.slice(first).map(Number)]));
  assert.equal(features.size, 25);

  let compared = 0;
  for (let i = 0; i < 3; i++) {
    const chosen = await text("#near-chosen .note");
    const own = features.get(chosen);
    const wanted = [...features].filter(([other]) => other !== chosen).map(([other, row]) => [other, cosine(own, row)]).sort(([, a], [, b]) => b - a);
    const found = await page.locator("#near button").evaluateAll((buttons) => buttons.map((button) => [button.title, Number(button.textContent.replace("−", "-"))]));
    assert.equal(found.length, 12);
    found.forEach(([other, told], n) => {
      const expected = cosine(own, features.get(other));
      assert.ok(Math.abs(told - expected) < COSINE_TOLERANCE, `${chosen} and ${other}: ${told} instead of ${expected}`);
      assert.ok(Math.abs(wanted[n][1] - expected) < COSINE_TOLERANCE, `${other} is not neighbour ${n + 1} of ${chosen}`);
      compared++;
    });
    await page.locator("#near button").nth(i).click();
  }
  t.diagnostic(`${compared} cosines compared`);
});

test("a map is pointed at, walked through and laid out by neighbours", TIMEOUT, async () => {
  await page.locator("#map").focus();
  await page.keyboard.press("ArrowLeft");
  const readout = await text("#map-readout");
  assert.match(readout, /\.jpg$/);
  await page.keyboard.press("Enter");
  assert.equal(await text("#near-chosen .note"), readout);
  await page.locator('#explore input[value="neighbours"]').check();
  await says("#map-note", /UMAP/);
  const colours = await page.locator("#map canvas").evaluate((canvas) => new Set(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).size);
  assert.ok(colours > 50, "the map is empty");
  await page.locator('#explore input[value="principal"]').check();
  await says("#map-note", /principal components/);
});

test("folders are classes, and what is there twice is found", TIMEOUT, async () => {
  const photo = await readFile(join(folder, "learn/forest/00.png"));
  await writeFile(join(folder, "learn/dawn/copy.png"), photo);
  await writeFile(join(folder, "learn/dawn/broken.png"), photo.subarray(0, 200));
  await page.locator("#explore-folder-input").setInputFiles(join(folder, "learn"));
  await page.locator('#explore[data-state="running"]').waitFor();
  await ended("explore");
  assert.match(await text("#explore-note"), /^21 pictures, .* 1 file was skipped/);
  assert.match(await text("#explore-skipped-list"), /broken\.png/);
  assert.match(await text("#classes-note"), /^\d+\.\d % of the pictures have the class that their 20 nearest neighbours vote for/);
  assert.deepEqual(await page.locator("#classes li").evaluateAll((items) => items.map((item) => item.textContent.split(":")[0])), ["dawn", "forest"]);
  const groups = await page.locator("#doubles li").evaluateAll((items) => items.map((item) => [...item.querySelectorAll("button")].map((button) => button.title.split("/").at(-1)).sort()));
  assert.ok(groups.some((group) => group.includes("00.png") && group.includes("copy.png")), JSON.stringify(groups));
  await rm(join(folder, "learn/dawn/copy.png"));
  await rm(join(folder, "learn/dawn/broken.png"));
});

test("what is taught tells other pictures, in the tab and in the program", TIMEOUT, async (t) => {
  await page.locator("#tab-teach").click();
  assert.ok(await page.locator("#learn").isDisabled());
  assert.match(await text("#learn-hint"), /Missing: Class 1, Class 2/);
  await page.locator("#teach-folder-input").setInputFiles(join(folder, "learn"));
  await page.locator("#learn:enabled").waitFor();
  assert.deepEqual(await page.locator(".class input[type=text]").evaluateAll((fields) => fields.map(({ value }) => value)), ["dawn", "forest"]);
  await page.locator("#learn").click();
  await says("#teach-note", /^Learnt from 20 pictures in [\d.]+ s\. .* \d+ % right/);
  t.diagnostic(await text("#teach-note"));

  const files = [];
  for (const name of ["dawn", "forest"]) files.push(...(await readdir(join(folder, "try", name))).map((file) => join(folder, "try", name, file)).sort());
  await page.locator("#try-files-input").setInputFiles(files);
  await page.waitForFunction((count) => document.querySelectorAll("#tried li").length === count, files.length);
  const told = await page.locator("#tried li > p:first-of-type").evaluateAll((lines) => lines.map((line) => line.textContent.split(":")[0]));
  const right = told.filter((name, i) => files[i].includes(`/${name}/`)).length;
  t.diagnostic(`${right} of ${files.length} told right`);
  assert.ok(right >= 0.9 * files.length, `${right} of ${files.length}`);

  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#save-classifier").click()]);
  const file = join(folder, "classifier.safetensors");
  await download.saveAs(file);
  assert.match(await text("#save-note"), /bootmae predict --checkpoint/);
  const lines = (await program("predict", "--checkpoint", file, "--batch-size", "20", ...files)).trim().split("\n").slice(1);
  assert.deepEqual(lines.map((line) => line.split(",").at(-2)), told);

  // Opened again, it tells the same without being taught.
  const answers = () => page.locator("#tried li > p:first-of-type").allTextContents();
  const before = await answers();
  await page.locator("#tab-explore").click();
  await page.locator("#encoder-file").setInputFiles(file);
  await page.locator("#tab-teach").click();
  await says("#teach-note", /^classifier\.safetensors tells 2 classes apart already: dawn, forest\./);
  await page.locator("#try-files-input").setInputFiles(files);
  await page.waitForFunction((count) => document.querySelectorAll("#tried li").length === count, files.length);
  assert.deepEqual(await answers(), before);
  await page.locator("#tab-explore").click();
  await page.locator("#page-encoder").click();
  await page.locator("#tab-teach").click();
  await says("#teach-note", /^$/);
});

test("the camera is learnt from and told live", TIMEOUT, async () => {
  await page.locator("#add-class").click();
  assert.equal(await page.locator(".class").count(), 3);
  await page.evaluate(() => {
    const [ask, button] = [navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices), document.getElementById("teach-camera")];
    window.asked = 0;
    navigator.mediaDevices.getUserMedia = (wanted) => {
      window.asked++;
      return ask(wanted);
    };
    button.click();
    button.click();
  });
  const record = page.locator(".class").nth(2).locator(".record");
  await record.click();
  await page.waitForFunction(() => /^[3-9] pictures/.test(document.querySelectorAll(".class")[2].querySelector(".note").textContent));
  await record.click();
  await page.locator("#learn:enabled").click();
  assert.equal(await page.evaluate(() => window.asked), 1, "two clicks are one wish");
  await says("#try-note", /^The camera: Class \d, \d+ %\./);
  assert.equal(await page.locator("#bars li").count(), 3);
  // Other weights: what was learnt is forgotten, and old and new examples get features of one network.
  await page.locator("#tab-explore").click();
  await page.locator("#encoder-file").setInputFiles(FOREIGN);
  await page.locator("#encoder-heads-line").waitFor();
  await page.locator("#encoder-heads").fill("2");
  await page.locator("#encoder-heads").blur();
  await page.waitForFunction(() => /mae_full/.test(document.querySelector("[data-encoder-note]").textContent));
  await page.locator("#tab-teach").click();
  assert.equal(await text("#teach-note"), "");
  await page.locator(".class input[type=file]").first().setInputFiles(join(folder, "try/dawn", (await readdir(join(folder, "try/dawn")))[0]));
  await page.waitForFunction(() => /^11 pictures/.test(document.querySelector(".class .note").textContent));
  await page.locator("#learn:enabled").click();
  await says("#teach-note", /^Learnt from \d+ pictures/);
  assert.equal(await text("#teach-error"), "");
  await page.locator("#teach-camera").click();
  assert.ok(await page.locator("#teach-stage").isHidden());
  const live = await page.evaluate(() => document.getElementById("teach-video").srcObject);
  assert.equal(live, null, "the camera is off");
});

test("no error was logged and nothing was asked of another server", () => {
  assert.deepEqual(seen.errors, []);
  assert.deepEqual(seen.requests.filter((url) => !url.startsWith(server.origin) && !url.startsWith(`blob:${server.origin}`)), []);
});
