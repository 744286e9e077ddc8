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
      for (const call of [window.bootmae.verify(file), window.bootmae.train(file, 1)]) {
        refusals[name] = await call.then(() => null, (error) => String(error?.message ?? error));
        if (refusals[name] === null) break;
      }
    }
    return refusals;
  }, FIXTURE);
  for (const [name, message] of Object.entries(refusals)) {
    t.diagnostic(`${name}: ${message}`);
    assert.notEqual(message, null, `accepted as a fixture: ${name}`);
    assert.match(message, /^fixture: /, name);
  }
});

test("a lost GPU ends training with a message, and the next call works", { timeout: TEST_TIMEOUT_MS }, async (t) => {
  const endless = assert.rejects(call("train", { fixture: true, rest: [1_000_000] }), /GPU: .*lost/);
  await new Promise((resolve) => setTimeout(resolve, 3000));
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  const gpu = processInfo.filter(({ type }) => type === "GPU");
  assert.equal(gpu.length, 1, "Chromium has one GPU process");
  process.kill(gpu[0].id, "SIGKILL");
  await endless;
  // Chromium needs a moment to start another GPU process.
  await assert.doesNotReject(async () => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await call("train", { fixture: true, rest: [1] });
      } catch (error) {
        if (attempt === 20) throw error;
        t.diagnostic(`attempt ${attempt}: ${String(error.message).split("\n")[0]}`);
        await new Promise((resolve) => setTimeout(resolve, 500));
      }
    }
  });
});

test("no console errors", () => assert.deepEqual(consoleErrors, []));

test("no request to another origin", () => {
  assert.ok(requests.length > 0);
  assert.deepEqual(requests.filter((url) => new URL(url).origin !== server.origin), []);
});
