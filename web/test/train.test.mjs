// Training in the page as a visitor does it, and what is left of a run however it ends: `make web` first, then
// `node --test web/test/train.test.mjs`. Each test goes on where the one before ended, since a start takes seconds.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serve } from "./server.mjs";
import { checkBuilt, DIST, launch, started, START_TIMEOUT_MS, watch } from "./chromium.mjs";

const TIMEOUT = { timeout: 240_000 };
const LONG = 100_000;
// As small as a network that has every part.
const SMALL = { batch_size: 4, image_size: 16, width: 32, depth: 2, heads: 2 };
const PHOTOS = ["cat", "moose", "venice", "coffee"].map((name) => join(DIST, "photos", `${name}.jpg`));
// What a test makes the computing thread do: crash, or find no GPU from then on.
const HOOKS = `
addEventListener("message", ({ data }) => {
  if (data.call === "crash") setTimeout(() => { throw new Error("boom"); });
  if (data.call === "no_gpu") navigator.gpu.requestAdapter = async () => null;
});`;

let server, browser, context, page;
const seen = { errors: [], requests: [] };

before(async () => {
  checkBuilt();
  server = await serve(DIST);
  browser = await launch();
  context = await browser.newContext();
  await context.route("**/src/worker.js", async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, body: (await response.text()) + HOOKS });
  });
  page = await open();
}, { timeout: 3 * START_TIMEOUT_MS });

after(async () => {
  await browser?.close();
  await server?.close();
});

async function open() {
  const tab = await context.newPage();
  watch(tab, seen);
  await tab.goto(`${server.origin}/#tab=train`);
  await started(tab);
  return tab;
}

const text = (selector, tab = page) => tab.locator(selector).textContent();

async function says(selector, pattern, tab = page) {
  await tab.waitForFunction(
    ([selector, source]) => new RegExp(source).test(document.querySelector(selector)?.textContent),
    [selector, pattern.source],
    { timeout: TIMEOUT.timeout },
  );
}

// Says that the tab is hidden or visible, as the browser would.
const visibility = (state) =>
  page.evaluate((state) => {
    Object.defineProperty(document, "visibilityState", { value: state, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
  }, state);

const mayLeave = () => page.evaluate(() => dispatchEvent(new Event("beforeunload", { cancelable: true })));
const step = async () => Number((await text('[data-metric="step"]')).split(" ")[0].replace(",", ""));

async function past(number) {
  await page.waitForFunction(
    (number) => parseInt(document.querySelector('[data-metric="step"]').textContent.replace(",", "")) > number,
    number,
    { timeout: TIMEOUT.timeout },
  );
}

const fill = async (settings) => {
  for (const [name, value] of Object.entries(settings)) await page.locator(`#${name}`).fill(String(value));
};

// Stops the run and resolves to the step that it can go on from.
async function stop() {
  await page.locator("#stop").click();
  await says("#train-note", /^Stopped after step/);
  return Number((await text("#continue")).match(/^Continue from step (\d+)$/)[1]);
}

async function download() {
  const [saved] = await Promise.all([page.waitForEvent("download"), page.locator("#save").click()]);
  return { name: saved.suggestedFilename(), mimeType: "application/x-tar", buffer: await readFile(await saved.path()) };
}

test("nothing can be started, continued or saved before there are pictures", TIMEOUT, async () => {
  for (const id of ["start", "pause", "stop", "save", "use"]) assert.ok(await page.locator(`#${id}`).isDisabled(), id);
  assert.ok(await page.locator("#continue").isHidden());
  await page.locator("#steps").fill("100");
  assert.ok(await page.locator("#start").isDisabled(), "a changed setting does not make up for them");
  await page.locator("#files-input").setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from("no picture") });
  await says("#data-note", /^No picture to train on\. 1 file was skipped\./);
  assert.ok(await page.locator("#start").isDisabled(), "nor does a file that is none");
});

test("training pauses in a hidden tab, where its state is kept, and goes on when it is visible again", TIMEOUT, async () => {
  await page.locator("#data-shipped").click();
  await says("#data-note", /^23 pictures to train on/);
  await page.locator("#advanced summary").click();
  await fill({ steps: LONG, ...SMALL });
  await page.locator("#start").click();
  await past(0);
  assert.ok(!(await mayLeave()), "leaving a run that is not kept must be asked about");
  await visibility("hidden");
  await says("#train-note", /^Paused while this tab is hidden/);
  await says("#keep-note", /^Step \d+ is kept in this browser since \d\d:\d\d/);
  const paused = await step();
  assert.match(await text("#keep-note"), new RegExp(`^Step ${paused} `), "one number for one state");
  assert.ok(await mayLeave(), "a state that is kept may be left");
  await page.waitForTimeout(2000);
  assert.equal(await step(), paused);
  await visibility("visible");
  await past(paused);
  assert.match(await text("#log"), /the tab is hidden.*visible again/);
  await page.locator("#pause").click();
  await says("#train-note", /^Paused after step/);
  assert.equal(await text("#pause"), "Continue");
  await page.locator("#pause").click();
});

test("the run goes on while another part is shown, and Back returns to it", TIMEOUT, async () => {
  await page.locator("#tab-check").click();
  const from = await step();
  await page.goBack();
  await page.locator("#train").waitFor();
  await past(from);
});

test("while it trains, the state is kept again and again", TIMEOUT, async () => {
  const before = await text("#keep-note");
  // A minute later.
  await page.evaluate(() => {
    const now = performance.now.bind(performance);
    performance.now = () => now() + 60_000;
  });
  await page.waitForFunction((before) => {
    const note = document.getElementById("keep-note").textContent;
    return note !== before && /^Step \d+ is kept/.test(note);
  }, before);
});

test("where the browser has no room the page says so, and that leaving loses the run", TIMEOUT, async () => {
  await past((await step()) + 3);
  await page.evaluate(() => {
    window.put = IDBObjectStore.prototype.put;
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("full", "QuotaExceededError");
    };
  });
  await page.locator("#pause").click();
  await says("#keep-note", /^Not kept in this browser: the browser has no room left.*Save the checkpoint before you leave/);
  assert.ok(!(await mayLeave()));
  const { name } = await download();
  assert.match(name, /^bootmae-step-\d+\.tar$/);
  assert.ok(await mayLeave(), "a file is as good");
  await page.evaluate(() => void (IDBObjectStore.prototype.put = window.put));
  await page.locator("#pause").click();
});

test("after Stop, Continue goes on from there, and a new run asks first", TIMEOUT, async () => {
  const first = await stop();
  await page.locator("#continue").click();
  await past(first);
  assert.match(await text("#log"), new RegExp(`Training goes on after step ${first}\\.`));
  const at = await stop();
  assert.equal(await step(), at);
  assert.match(await page.locator("#continue").getAttribute("class"), /primary/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "continue", "the focus is on what comes next");
  await page.locator("#start").click();
  await page.locator("#ask").waitFor();
  assert.match(await text("#ask-text"), new RegExp(`${at} of .* is discarded`));
  await page.keyboard.press("Escape");
  await page.locator("#ask").waitFor({ state: "hidden" });
  assert.equal(await text("#continue"), `Continue from step ${at}`);

  await page.locator("#steps").fill(String(at + 3));
  await page.locator("#continue").click();
  await says("#train-note", new RegExp(`^Done: ${at + 3} steps`));
  assert.match(await text("#log"), new RegExp(`Resumed after step ${at}:`));
  for (const name of ["pixel", "feature"]) {
    assert.match(await page.locator(`[data-chart="${name}"] svg`).getAttribute("aria-label"), new RegExp(`at step 1, .* at step ${at + 3}$`));
  }
  for (const metric of ["images_per_s", "learning_rate", "feature_weight", "ema_decay", "gradient_norm", "teacher_spread"]) {
    assert.match(await text(`[data-metric="${metric}"]`), /\d/, metric);
  }
  assert.equal(await page.locator(".preview").count(), 4);
});

let file; // a checkpoint

test("a run is saved, used in Reconstruct, and its checkpoint opened in both parts", TIMEOUT, async () => {
  const done = await step();
  file = await download();
  assert.equal(file.name, `bootmae-step-${done}.tar`);
  await page.locator("#use").click();
  await says("#weights-note", new RegExp(`The run of this page after step ${done}`));
  assert.ok(await page.locator("#reconstruct").isVisible());
  await page.locator('#reconstruct[data-state="done"]').waitFor();
  await page.locator("#weights-file").setInputFiles(file);
  await says("#weights-note", /bootmae-step-\d+\.tar/);
  await page.locator("#tab-train").click();
  await page.locator("#checkpoint-input").setInputFiles(file);
  await says("#checkpoint-note", new RegExp(`^A run of ${done} steps, saved after ${done}`));
  await says("#train-note", new RegExp(`^Ready to continue from step ${done}`));
  assert.ok(await page.locator("#patch_size").isDisabled(), "its other settings stay");
  assert.ok(await page.locator("#start").isHidden());
});

test("impossible settings are refused in words, and what was there before is there still", TIMEOUT, async () => {
  const done = await step();
  await page.locator("#steps").fill(String(done - 1));
  await page.locator("#continue").click();
  await says("#train-note", new RegExp(`^The run could not start\\. .*still here, after step ${done}\\.`));
  assert.match(await text("#train-error"), new RegExp(`more than the ${done} that are done`));
  await page.locator("#forget-checkpoint").click();
  await page.locator("#patch_size").fill("5");
  await page.locator("#start").click();
  await page.locator("#ask-choices button", { hasText: "Discard it and start" }).click();
  await says("#train-error", /“Patch size”/);
  await page.locator("#patch_size").fill("");
  assert.ok(await page.locator("#save").isEnabled());
});

test("a checkpoint that was opened goes on by a click, and a rate that is too high ends in words", TIMEOUT, async () => {
  await page.locator("#checkpoint-input").setInputFiles(file);
  await page.locator("#steps:enabled").waitFor();
  await says("#train-note", /^Ready to continue/);
  const at = Number(file.name.match(/\d+/)[0]);
  await fill({ steps: at + 1000, peak_learning_rate: 10_000 });
  await page.locator("#continue").click();
  await says("#train-note", /^Training diverged at step \d+/);
  const words = await text("#train-error");
  assert.match(words, new RegExp(`Going back 3 times, to step ${at}, did not help\\. The state after step ${at} is kept: continue from it, save it`));
  assert.match(words, /Lower the peak learning rate first \(it is 10000\)/);
  assert.doesNotMatch(words + (await text("#log")), /null|undefined|Cannot read/);
  assert.equal(await step(), at);
  assert.equal((await download()).name, file.name);

  await page.locator("#peak_learning_rate").fill("0.001");
  await page.locator("#continue").click();
  await past(at + 2);
  assert.match(await text("#log"), new RegExp(`Resumed after step ${at}: .*peak learning rate 0.001`));
});

test("when the GPU is gone for good, the last good state is kept and saved", TIMEOUT, async () => {
  await page.locator("#pause").click();
  await says("#train-note", /^Paused after step/);
  await page.locator("#save").click(); // which takes the state after the step under way
  await says("#log", /Saved bootmae-step-\d+\.tar/);
  const at = await step();
  assert.match(await text("#train-note"), new RegExp(`^Paused after step ${at}\\.`), "one number for one state");
  assert.match(await text("#keep-note"), new RegExp(`^Step ${at} is kept`));
  await page.evaluate(() => void window.bootmae.engine.call("no_gpu").catch(() => {}));
  const session = await browser.newBrowserCDPSession();
  const { processInfo } = await session.send("SystemInfo.getProcessInfo");
  process.kill(processInfo.find(({ type }) => type === "GPU").id, "SIGKILL");
  await page.locator("#pause").click();
  await says("#train-note", /^The GPU stopped working at step/);
  assert.match(await text("#train-error"), new RegExp(`^The browser lost it and could not open it again\\. The state after step ${at} is kept`));
  assert.equal((await download()).name, `bootmae-step-${at}.tar`);
  assert.equal(await text("#continue"), `Continue from step ${at}`);
});

test("when the computing thread crashes, the state kept last is saved, and goes on in a new one", TIMEOUT, async () => {
  const at = Number((await text("#continue")).match(/\d+/)[0]);
  await page.evaluate(() => void window.bootmae.engine.call("crash").catch(() => {}));
  await page.locator("#restart").waitFor();
  assert.ok(await page.locator("#continue").isDisabled(), "there is nothing to go on with yet");
  assert.equal((await download()).name, `bootmae-step-${at}.tar`);
  await page.locator("#restart").click();
  await page.locator("#continue:enabled").click();
  await past(at);
  await page.evaluate(() => void window.bootmae.engine.call("crash").catch(() => {}));
  await says("#train-note", /^The computing part of the page stopped at step/);
  assert.match(await text("#train-error"), /boom.* is kept.*Start the computing part again/);
  assert.ok(await page.locator("#save").isEnabled());
  await page.locator("#restart").click();
  await page.locator("#continue:enabled").waitFor();
});

test("a run whose pictures were too large to keep asks for them after a reload, and says whether they are the same", TIMEOUT, async () => {
  await page.evaluate(() => (navigator.storage.estimate = async () => ({ quota: 1e6, usage: 999_000 })));
  await page.locator("#files-input").setInputFiles(PHOTOS);
  await says("#data-kept", /than there is room for: choose them again after a reload/);
  await says("#data-differs", /not the pictures that the run was trained on: 4 files instead of 23/);
  await page.locator("#steps").fill("5000");
  await page.locator("#continue").click();
  await past((await step()) + 1);
  const at = await stop();
  await page.reload();
  await started(page);
  await page.locator("#offers button").first().click();
  await says("#train-note", /^Choose the 4 files again that the run was trained on/);
  assert.equal(await text("#continue"), `Continue from step ${at}`);
  assert.ok(await page.locator("#continue").isDisabled());
  await page.locator("#files-input").setInputFiles(PHOTOS.slice(1));
  await says("#data-differs", /: 3 files instead of 4\.$/);
  await page.locator("#files-input").setInputFiles([...PHOTOS].reverse());
  await says("#data-note", /^4 pictures to train on/);
  await says("#data-kept", /^Kept in this browser for a reload \(\d+\.\d MB\)/);
  assert.equal(await text("#data-differs"), "");
  await page.locator("#continue").click();
  await past(at);
});

test("after a reload the visitor's pictures, settings and run are there, and the run goes on", TIMEOUT, async () => {
  const at = await stop();
  await page.reload();
  await started(page);
  await says("#data-note", /^4 pictures to train on/);
  assert.equal(await page.locator("#steps").inputValue(), "5000");
  assert.match(await page.locator("#offers button").first().textContent(), new RegExp(`^Continue from step ${at} \\(saved \\d\\d:\\d\\d\\)$`));
  await page.locator("#offers button").first().click();
  await past(at);
  assert.doesNotMatch(await text("#offers"), new RegExp(`Continue from step ${at} `), "it is this tab's run again");
  assert.match(await text("#log"), new RegExp(`Resumed after step ${at}:`));
});

test("another tab neither sees nor harms a run that goes on, and takes it over once it is left", TIMEOUT, async () => {
  await page.locator("#pause").click();
  await says("#train-note", /^Paused after step/);
  const other = await open();
  await says("#keep-note", /^A run is kept/, other);
  assert.equal(await other.locator("#offers li").count(), 0);
  const at = await stop();
  await page.close();
  await other.reload();
  await started(other);
  await says("#offers", new RegExp(`Continue from step ${at} `), other);
  const discard = other.locator("#offers button", { hasText: "Discard" }).first();
  const count = await other.locator("#offers li").count();
  await discard.click();
  await other.locator("#ask").waitFor();
  await other.keyboard.press("Escape");
  assert.equal(await other.locator("#offers li").count(), count, "Escape discards nothing");
  for (let left = count; left > 0; left--) {
    await discard.click();
    await other.locator("#ask-choices button", { hasText: "Discard it" }).click();
    await other.waitForFunction((left) => document.querySelectorAll("#offers li").length < left, left);
  }
  assert.ok(await other.locator("#offers-card").isHidden());
  const left = await other.evaluate(async () => {
    const [{ name }] = await indexedDB.databases();
    const database = await new Promise((resolve) => (indexedDB.open(name).onsuccess = ({ target }) => resolve(target.result)));
    const count = (store) => new Promise((resolve) => (database.transaction(store).objectStore(store).count().onsuccess = ({ target }) => resolve(target.result)));
    return Promise.all(["runs", "states", "collections", "files"].map(count));
  });
  assert.deepEqual(left, [0, 0, 0, 0], "nothing is left in the storage");
});

test("no console errors", () => assert.deepEqual(seen.errors.filter((text) => !/boom/.test(text)), []));

test("no request to another origin", () => {
  assert.ok(seen.requests.length > 0);
  const elsewhere = seen.requests.filter((url) => !url.startsWith(`${server.origin}/`) && !url.startsWith("blob:"));
  assert.deepEqual(elsewhere, []);
});
