// The library in a real browser: `make web` first, then `node --test web/test/browser.test.mjs`.
//
// The page is only the way to the library here; page.test.mjs tests the page itself.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { formatReport } from "../src/report.js";
import { serve } from "./server.mjs";
import { checkBuilt, DIST, launch, started, START_TIMEOUT_MS, watch } from "./chromium.mjs";

const FIXTURE = "fixtures/step_tiny.safetensors";
const PHOTOS = ["photos/cat.jpg", "photos/coffee.jpg", "photos/moose.jpg", "photos/perch.jpg"];
const STEPS = 3;
const TEST_TIMEOUT_MS = 600_000;

let server, browser, page;
const seen = { errors: [], requests: [] };

before(async () => {
  checkBuilt();
  server = await serve(DIST);
  browser = await launch();
  page = await browser.newPage();
  watch(page, seen);
  await page.goto(`${server.origin}/#tab=check`);
  await started(page);
}, { timeout: 2 * START_TIMEOUT_MS });

after(async () => {
  await browser?.close();
  await server?.close();
});

// Calls one of the library's functions, with the fixture's bytes where `fixture` is set, and parses its answer.
async function call(name, { fixture = false } = {}) {
  const answer = await page.evaluate(
    async ([name, url]) => {
      if (!url) return window.bootmae[name]();
      const response = await fetch(url);
      if (!response.ok) throw new Error(`${url}: the server answered ${response.status}`);
      return window.bootmae[name](new Uint8Array(await response.arrayBuffer()));
    },
    [name, fixture ? FIXTURE : null],
  );
  return JSON.parse(answer);
}

// Starts a run on some photos with a very small network.
const train = (training) =>
  page.evaluate(
    async ([photos, training]) => {
      const { engine } = window.bootmae;
      await engine.call("images_new");
      for (const url of photos) await engine.call("images_add", [url, await (await fetch(url)).blob()]);
      const model = { preset: "nano", image_size: 16, width: 32, depth: 2, heads: 2 };
      return engine.call("training_start", [{ model, training }]);
    },
    [PHOTOS, training],
  );

const advance = () => page.evaluate(() => window.bootmae.engine.call("training_advance"));

test("the adapter is SwiftShader", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  const { vendor, architecture, device, description } = await page.evaluate(async () => {
    const { vendor, architecture, device, description } = (await navigator.gpu.requestAdapter()).info;
    return { vendor, architecture, device, description };
  });
  t.diagnostic(`Chromium ${browser.version()}, adapter: ${[vendor, architecture, device, description].filter(Boolean).join(", ")}`);
  assert.equal(architecture, "swiftshader");
});

test("every operation passes its self-test in the browser", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  const { adapter, operations } = await call("self_test");
  assert.ok(operations.length > 0, "the self-test ran no operation");
  t.diagnostic(`${adapter}: ${operations.length} operations`);
  const failed = operations.filter(({ pass }) => pass !== true);
  assert.deepEqual(failed, [], "these operations differ from their references");
});

test("one training step matches the reference in every group", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  const report = await call("verify", { fixture: true });
  formatReport(report).split("\n").forEach((line) => t.diagnostic(line));
  assert.ok(Object.keys(report.groups).length > 0, "the report compares nothing");
  assert.equal(report.pass, true, formatReport(report));
});

test("losses are finite and the pixel loss falls over a few training steps", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  const { steps } = await train({ steps: STEPS, batch_size: PHOTOS.length, peak_learning_rate: 1e-3, seed: 1 });
  assert.equal(steps, STEPS);
  const losses = [];
  for (let step = 1; step <= STEPS; step++) {
    const { metrics } = await advance();
    assert.equal(metrics.step, step);
    for (const name of ["loss", "loss_pixel", "loss_feature"]) assert.ok(Number.isFinite(metrics[name]), `${name} must be finite`);
    losses.push(metrics.loss_pixel);
  }
  t.diagnostic(`loss_pixel: ${losses.join(", ")}`);
  assert.ok(losses.at(-1) < losses[0], `the pixel loss must fall: ${losses}`);
});

test("the button shows the report as text", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  await page.locator("#run-check").click();
  await page.locator('#check[data-state="done"], #check[data-state="failed"]').waitFor({ timeout: TEST_TIMEOUT_MS });
  const report = await page.locator("#report").textContent();
  report.split("\n").forEach((line) => t.diagnostic(line));
  assert.equal(await page.locator("#check-note").textContent(), "This GPU computes correctly.");
  assert.match(report, /^== verdict ==\nPASS\n/);
  for (const title of ["browser", "operations", "one training step", "speed and limits"]) assert.ok(report.includes(`== ${title} ==`), title);
  assert.match(report, /architecture +swiftshader/);
  assert.match(report, /products: \d/);
  assert.equal(await page.locator("#report > *").count(), 0, "the report must hold text only");
});

test("broken fixtures are refused with a message", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  const refusals = await page.evaluate(async (url) => {
    const bytes = new Uint8Array(await (await fetch(url)).arrayBuffer());
    const values = 8 + Number(new DataView(bytes.buffer).getBigUint64(0, true));
    const text = new TextDecoder().decode(bytes.subarray(8, values));
    // The fixture with another header in front of its values.
    const headed = (header) => {
      const head = new TextEncoder().encode(header);
      const file = new Uint8Array(8 + head.length + bytes.length - values);
      new DataView(file.buffer).setBigUint64(0, BigInt(head.length), true);
      file.set(head, 8);
      file.set(bytes.subarray(values), 8 + head.length);
      return file;
    };
    const configured = (change) => {
      const header = JSON.parse(text);
      header.__metadata__.config = JSON.stringify({ ...JSON.parse(header.__metadata__.config), ...change });
      return headed(JSON.stringify(header));
    };
    const broken = {
      "three bytes": new Uint8Array([1, 2, 3]),
      "the last byte is missing": bytes.subarray(0, bytes.length - 1),
      "no JSON in front": headed("[".repeat(1000)),
      "more blocks than weights": configured({ depth: 4000 }),
      "more patches than 32 bits count": configured({ image: 65536, patch: 1 }),
      "a head of no columns": configured({ heads: 1000 }),
      "all patches hidden": configured({ n_mask: 25 }),
    };
    const refusals = {};
    for (const [name, file] of Object.entries(broken)) {
      refusals[name] = await window.bootmae.verify(file).then(() => null, (error) => String(error?.message ?? error));
    }
    return refusals;
  }, FIXTURE);
  for (const [name, message] of Object.entries(refusals)) {
    t.diagnostic(`${name}: ${message}`);
    assert.notEqual(message, null, `accepted as a fixture: ${name}`);
    assert.match(message, /^fixture: /, name);
  }
});

test("a lost GPU is said, and the run goes on from its snapshot", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  await train({ steps: 1_000_000, batch_size: PHOTOS.length, save_every_steps: 2 });
  for (let step = 1; step <= 5; step++) await advance();
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  const gpu = processInfo.filter(({ type }) => type === "GPU");
  assert.equal(gpu.length, 1, "Chromium has one GPU process");
  process.kill(gpu[0].id, "SIGKILL");
  let said = [];
  let step;
  while (said.length === 0) {
    ({ step, events: said } = await advance());
  }
  said.forEach((line) => t.diagnostic(line));
  assert.match(said.join(" "), /GPU|device|lost/i);
  const { step: next, metrics } = await advance();
  assert.equal(next, step + 1);
  assert.ok(Number.isFinite(metrics.loss));
});

test("no console errors", () => assert.deepEqual(seen.errors, []));

test("no request to another origin", () => {
  assert.ok(seen.requests.length > 0);
  assert.deepEqual(seen.requests.filter((url) => new URL(url).origin !== server.origin), []);
});
