// The library in a real browser: `make web` first, then `node --test web/test/browser.test.mjs`.
//
// The page is only the way to the library here; page.test.mjs tests the page itself.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { serve } from "./server.mjs";
import { checkBuilt, DIST, launch, started, START_TIMEOUT_MS, watch } from "./chromium.mjs";

const FIXTURE = "fixtures/step_tiny.safetensors";
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

test("the adapter is SwiftShader", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  const { vendor, architecture, device, description } = await page.evaluate(async () => {
    const { vendor, architecture, device, description } = (await navigator.gpu.requestAdapter()).info;
    return { vendor, architecture, device, description };
  });
  t.diagnostic(`Chromium ${browser.version()}, adapter: ${[vendor, architecture, device, description].filter(Boolean).join(", ")}`);
  assert.equal(architecture, "swiftshader");
});

test("the report says that every operation and a training step agree with their references", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  await page.locator("#run-check").click();
  await page.locator('#check[data-state="done"], #check[data-state="failed"]').waitFor({ timeout: TEST_TIMEOUT_MS });
  const report = await page.locator("#report").textContent();
  report.split("\n").forEach((line) => t.diagnostic(line));
  assert.equal(await page.locator("#check-note").textContent(), "This GPU computes correctly.");
  assert.match(report, /^== verdict ==\nPASS\n/);
  for (const title of ["browser", "operations", "one training step of BootMAE", "one training step of MAE", "one training step of fine-tuning", "speed and limits"]) assert.ok(report.includes(`== ${title} ==`), title);
  assert.match(report, /architecture +swiftshader/);
  assert.match(report, /\n {2}ok +\S+ +matmul_nt /);
  assert.match(report, /matmul_nt .*, kernel for GPUs/);
  for (const kind of ["step", "mae_step", "finetune_step"]) assert.match(report, new RegExp(`\\nPASS on .* \\(${kind}\\)\\n[^=]*\\n {2}grad +\\S+ `));
  assert.match(report, /matmuls: \d/);
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

test("no console errors", () => assert.deepEqual(seen.errors, []));

test("no request to another origin", () => {
  assert.ok(seen.requests.length > 0);
  assert.deepEqual(seen.requests.filter((url) => new URL(url).origin !== server.origin), []);
});
