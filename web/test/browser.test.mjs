// The library in a real browser: `make web` first, then `node --test web/test/browser.test.mjs`.
//
// Chromium runs headless with its software adapter, SwiftShader, so the result does not depend on the machine's GPU.
// CHROMIUM names another browser executable.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { formatReport } from "../report.js";
import { serve } from "../serve.mjs";

const DIST = fileURLToPath(new URL("../dist", import.meta.url));
const FIXTURE = "fixtures/step_tiny.safetensors";
const STEPS = 3;
const START_TIMEOUT_MS = 120_000;
const TEST_TIMEOUT_MS = 600_000;

const FLAGS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-dev-shm-usage",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--enable-unsafe-webgpu",
  "--enable-features=Vulkan",
  "--use-vulkan=swiftshader",
  "--use-angle=swiftshader",
  "--use-webgpu-adapter=swiftshader",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];

function browserPath() {
  const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"];
  const found = candidates.find((path) => path && existsSync(path));
  assert.ok(found, "no Chromium found: install Debian's `chromium`, or set CHROMIUM to the path of the browser");
  return found;
}

let server, browser, page;
const consoleErrors = [];
const requests = [];

before(async () => {
  assert.ok(existsSync(`${DIST}/pkg/bootmae.js`), "web/dist is not built: run `make web` first");
  server = await serve(DIST);
  browser = await chromium.launch({ executablePath: browserPath(), args: FLAGS, timeout: START_TIMEOUT_MS });
  page = await browser.newPage();
  page.setDefaultTimeout(START_TIMEOUT_MS);
  page.on("console", (message) => message.type() === "error" && consoleErrors.push(message.text()));
  page.on("pageerror", (error) => consoleErrors.push(String(error)));
  page.on("crash", () => consoleErrors.push("the page crashed"));
  page.on("request", (request) => requests.push(request.url()));
  await page.goto(server.origin);
  const status = page.locator("#status");
  await page.locator('#status:not([data-state="loading"])').waitFor();
  assert.equal(await status.getAttribute("data-state"), "ready", await status.textContent());
}, { timeout: 2 * START_TIMEOUT_MS });

after(async () => {
  await browser?.close();
  await server?.close();
});

// Calls one of the page's functions, with the fixture's bytes first where `fixture` is set, and parses its answer.
async function call(name, { fixture = false, rest = [] } = {}) {
  const answer = await page.evaluate(
    async ([name, url, rest]) => {
      if (url) {
        const response = await fetch(url);
        if (!response.ok) throw new Error(`${url}: the server answered ${response.status}`);
        rest = [new Uint8Array(await response.arrayBuffer()), ...rest];
      }
      return window.bootmae[name](...rest);
    },
    [name, fixture ? FIXTURE : null, rest],
  );
  return JSON.parse(answer);
}

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

test("losses are finite and the total falls over three training steps", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  const result = await call("train", { fixture: true, rest: [STEPS] });
  for (const name of ["losses", "loss_pixel", "loss_feature"]) {
    t.diagnostic(`${name}: ${result[name].join(", ")}`);
    assert.equal(result[name].length, STEPS, name);
    assert.ok(result[name].every(Number.isFinite), `${name} must be finite`);
  }
  for (let step = 1; step < STEPS; step++) {
    assert.ok(result.losses[step] < result.losses[step - 1], `the total loss must fall at step ${step}: ${result.losses}`);
  }
});

test("the verify button shows the report as text", { timeout: TEST_TIMEOUT_MS }, async () => {
  await page.locator("#verify").click();
  await page.locator('#status[data-state="done"], #status[data-state="failed"]').waitFor({ timeout: TEST_TIMEOUT_MS });
  assert.equal(await page.locator("#status").textContent(), "Every group is within its bar.");
  assert.match(await page.locator("#report").textContent(), /^PASS on /);
  assert.equal(await page.locator("#report > *").count(), 0, "the report must hold text only");
});

test("a broken fixture is refused with a message", { timeout: TEST_TIMEOUT_MS }, async () => {
  const message = await page.evaluate(async () => {
    try {
      await window.bootmae.verify(new Uint8Array([1, 2, 3]));
      return null;
    } catch (error) {
      return String(error?.message ?? error);
    }
  });
  assert.notEqual(message, null, "three bytes were accepted as a fixture");
  assert.doesNotMatch(message, /unreachable/, "the library panicked instead of returning an error");
});

test("no console errors", () => assert.deepEqual(consoleErrors, []));

test("no request to another origin", () => {
  assert.ok(requests.length > 0);
  assert.deepEqual(requests.filter((url) => new URL(url).origin !== server.origin), []);
});
