// The page on a phone, offline, in another page and with odd pictures: `make web` and `cargo build` first, then
// `node --test web/test/surroundings.test.mjs`.

import assert from "node:assert/strict";
import { createReadStream } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";
import { after, before, test } from "node:test";
import { checkBuilt, DIST, launch, launchLarge, started, START_TIMEOUT_MS, watch } from "./chromium.mjs";
import { serve } from "./server.mjs";

const TIMEOUT = { timeout: 240_000 };
const KINDS = { ".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".wasm": "application/wasm", ".json": "application/json", ".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg" };

// A picture of two colours, 48 × 32, drawn for this test.
const AVIF =
  "AAAAIGZ0eXBhdmlmAAAAAGF2aWZtaWYxbWlhZk1BMUIAAADrbWV0YQAAAAAAAAAhaGRscgAAAAAAAAAAcGljdAAAAAAAAAAAAAAAAAAAAAAOcGl0bQAAAAAAAQAAAB5pbG9jAAAAAEQAAAEAAQAAAAEAAAETAAAALgAAAChpaW5mAAAAAAABAAAAGmluZmUCAAAAAAEAAGF2MDFDb2xvcgAA" +
  "AABqaXBycAAAAEtpcGNvAAAAFGlzcGUAAAAAAAAAMAAAACAAAAAQcGl4aQAAAAADCAgIAAAADGF2MUOBAAwAAAAAE2NvbHJuY2x4AAEADQAGgAAAABdpcG1hAAAAAAAAAAEAAQQBAoMEAAAANm1kYXQSAAoJGBUv+0QENBoQMh9GseHheHMMMMCgAADcqMxmRmbVDVXn/FimrmUxG/AY";

let server, browser, page;
const seen = { errors: [], requests: [] };

before(async () => {
  checkBuilt();
  server = await serve(DIST);
  browser = await launch();
  page = await browser.newPage();
  watch(page, seen);
  await page.goto(`${server.origin}/#photo=cat`);
  await started(page);
  await drawn(page);
}, { timeout: 3 * START_TIMEOUT_MS });

after(async () => {
  await browser?.close();
  await server?.close();
});

const drawn = (page) => page.locator('#reconstruct[data-state="done"]').waitFor(TIMEOUT);
const text = (selector, of = page) => of.locator(selector).textContent();

async function says(selector, pattern, of = page) {
  await of.waitForFunction(([selector, source]) => new RegExp(source).test(document.querySelector(selector).textContent), [selector, pattern.source], TIMEOUT);
}

async function drop(files) {
  await page.evaluate(async (files) => {
    const transfer = new DataTransfer();
    for (const { name, content, base64, url, type } of files) {
      const bytes = base64 ? Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0)) : url ? await (await fetch(url)).arrayBuffer() : content;
      transfer.items.add(new File([bytes], name, { type }));
    }
    for (const event of ["dragover", "drop"]) document.body.dispatchEvent(new DragEvent(event, { dataTransfer: transfer, bubbles: true, cancelable: true }));
  }, files);
}

test("the page opens without the answer, beside what needs no network", TIMEOUT, async () => {
  assert.ok(!(await page.locator("#own").isChecked()));
  assert.match(await text("#psnr"), /from the visible .*Filled in smoothly, without any network: −?\d+\.\d dB\.$/);
  const colours = await page.locator('[data-panel="smooth"]').evaluate((canvas) => new Set(canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data).size);
  assert.ok(colours > 16);
  assert.ok(await page.locator("#waiting").isHidden());
});

test("the explanation goes step by step", TIMEOUT, async () => {
  const faint = () => page.locator("#panels figure").evaluateAll((figures) => figures.filter((figure) => getComputedStyle(figure).opacity < 0.5).map((figure) => figure.querySelector("[data-panel]").dataset.panel));
  assert.deepEqual(await faint(), []);
  await page.locator('.step[data-step="1"]').click();
  assert.deepEqual(await faint(), ["reconstruction", "smooth", "error"]);
  assert.match(await text("#step-note"), /^Hide: /);
  await page.locator('.step[data-step="3"]').click();
  assert.deepEqual(await faint(), ["masked"]);
  await page.locator('.step[data-step="3"]').click();
  assert.deepEqual(await faint(), []);
  assert.ok(await page.locator("#step-note").isHidden());
});

test("a stroke on the mask is undone", TIMEOUT, async () => {
  const before = await text("#mask-count");
  assert.ok(await page.locator("#undo-mask").isDisabled());
  const box = await page.locator("#mask-editor").boundingBox();
  await page.mouse.move(box.x + 5, box.y + box.height / 2);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 5, box.y + box.height / 2, { steps: 5 });
  await page.mouse.up();
  assert.notEqual(await text("#mask-count"), before);
  await page.locator("#undo-mask").click();
  assert.equal(await text("#mask-count"), before);
  assert.ok(await page.locator("#undo-mask").isDisabled());
  assert.ok(await page.locator("#drawn-mask").isDisabled());
  await drawn(page);
});

test("a picture that the browser alone can read is taken", TIMEOUT, async () => {
  await drop([{ name: "two.avif", base64: AVIF, type: "image/avif" }]);
  await says("#photo-note", /^two\.avif: 48 × 32 pixels/);
  await drawn(page);
  const [left, right] = await page.locator('[data-panel="original"]').evaluate((canvas) => [0.25, 0.75].map((x) => [...canvas.getContext("2d").getImageData(x * canvas.width, canvas.height / 2, 1, 1).data]));
  assert.ok(left[0] > left[2] + 100 && right[2] > right[0] + 100, `${left}, ${right}`);
});

test("a drawing is taken where the browser shows it, and what it does not show is refused in words", TIMEOUT, async () => {
  const svg = '<svg xmlns="http://www.w3.org/2000/svg" width="200" height="100"><rect width="200" height="100" fill="teal"/><circle cx="100" cy="50" r="40" fill="gold"/></svg>';
  await drop([{ name: "drawing.svg", content: svg, type: "image/svg+xml" }]);
  await says("#photo-note", /^drawing\.svg: 200 × 100 pixels/);
  await drop([{ name: "photo.heic", content: "no picture", type: "image/heic" }]);
  await says("#photo-error", /^photo\.heic: This browser does not show pictures of this kind/);
  assert.doesNotMatch(await text("#status"), /^Failed$/);
});

test("of several pictures the first is shown, and the others find their place", TIMEOUT, async () => {
  await drop([{ name: "Thumbs.db", content: "no picture", type: "" }, ...["moose", "perch", "pan"].map((name) => ({ name: `${name}.jpg`, url: `photos/${name}.jpg`, type: "image/jpeg" }))]);
  await says("#photo-note", /^moose\.jpg: .* 2 more were dropped with it: Explore shows them all, Train learns from them\.$/);
  await drawn(page);
});

test("a link to a picture of one's own says that it does not carry it", TIMEOUT, async () => {
  const other = await browser.newPage();
  other.setDefaultTimeout(START_TIMEOUT_MS);
  await other.goto(`${server.origin}/#photo=own&seed=2`);
  await says("#photo-note", /stayed on another computer/, other);
  await other.close();
});

test("other weights make way for those of the page again", TIMEOUT, async () => {
  assert.ok(await page.locator("#page-weights").isHidden());
  await drop([{ name: "mine.safetensors", url: "weights/demo.safetensors", type: "" }]);
  await says("#weights-note", /^mine\.safetensors: /);
  await page.locator("#page-weights").click();
  await says("#weights-note", /^The weights that come with the page: /);
  assert.ok(await page.locator("#page-weights").isHidden());
  await drawn(page);
});

test("weights opened while a picture is drawn draw it anew", TIMEOUT, async () => {
  await drawn(page);
  await page.evaluate(async () => {
    const file = new File([await (await fetch("weights/demo.safetensors")).arrayBuffer()], "later.safetensors");
    const transfer = new DataTransfer();
    transfer.items.add(file);
    // The reconstruction has begun; its smooth fill-in would come after the network is replaced.
    document.getElementById("reshuffle").click();
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  });
  await says("#weights-note", /^later\.safetensors: .* million parameters/);
  await page.waitForFunction(() => ["done", "failed"].includes(document.getElementById("reconstruct").dataset.state));
  await page.waitForFunction(() => document.getElementById("panels").getAttribute("aria-busy") === "false");
  assert.equal(await text("#draw-error"), "");
  await drawn(page);
});

test("weights of one's own stay when those of the page come late", TIMEOUT, async () => {
  const context = await browser.newContext();
  const other = await context.newPage();
  watch(other, { errors: seen.errors, requests: [] });
  await other.addInitScript(() => {
    const held = new Promise((resolve) => (window.letGo = resolve));
    window.ask = window.fetch.bind(window);
    window.fetch = async (...what) => {
      if (String(what[0]).endsWith("demo.safetensors")) await held;
      return window.ask(...what);
    };
  });
  await other.goto(`${server.origin}/`);
  await started(other);
  await other.evaluate(async () => {
    const transfer = new DataTransfer();
    transfer.items.add(new File([await (await window.ask("weights/demo.safetensors")).arrayBuffer()], "own.safetensors"));
    document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
  });
  await says("#weights-note", /^own\.safetensors: .* million parameters/, other);
  assert.ok(await other.locator("#page-weights").isHidden(), "there are no others yet");
  await other.evaluate(() => window.letGo());
  await other.locator("#page-weights:visible").waitFor();
  assert.match(await other.locator("#weights-note").textContent(), /^own\.safetensors: /);
  await context.close();
});

test("after a failure the header says which part failed, and Ready no more", TIMEOUT, async () => {
  await drop([{ name: "broken.safetensors", content: "no weights at all", type: "" }]);
  await page.locator('#status[data-state="failed"]').waitFor();
  assert.match(await text("#status"), /^The last thing asked of Reconstruct failed/);
  await page.locator("#reshuffle").click();
  await says("#status", /^Ready on /);
});

test("a large run is announced in bytes, and a setting that cannot be at its field", TIMEOUT, async () => {
  await page.locator("#tab-train").click();
  await says("#memory-note", /^Takes about \d+ MB of GPU memory\.$/);
  await page.locator("#advanced summary").click();
  await page.locator("#image_size").fill("512");
  await says("#memory-note", /^Takes about \d+\.\d GB of GPU memory\.$/);
  await page.locator("#data-shipped").click();
  await page.locator("#start:enabled").click();
  assert.match(await text("#ask-title"), /so large a run/);
  await page.keyboard.press("Escape");
  await page.locator("#image_size").fill("33");
  await page.locator('#image_size[aria-invalid="true"], #patch_size[aria-invalid="true"]').first().waitFor();
  assert.doesNotMatch(await text("#memory-note"), /--|_size|u64|usize/);
  await page.locator("#image_size").fill("");
  await says("#memory-note", /^Takes about/);
  assert.equal(await page.locator("[aria-invalid]").count(), 0);
});

test("Check shows how far it is, keeps the focus and can be stopped", TIMEOUT, async () => {
  await page.locator("#tab-check").click();
  await page.locator("#run-check").focus();
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "stop-check");
  await page.waitForFunction(() => document.getElementById("check-progress").value > 0);
  await page.keyboard.press("Enter");
  await page.locator("#run-check:enabled").waitFor();
  assert.match(await text("#check-note"), /^Stopped/);
  assert.match(await text("#report"), /stopped before the end/);
  assert.equal(await page.evaluate(() => document.activeElement.id), "run-check");
});

test("on a phone the picture comes first, and a swipe over the mask scrolls", TIMEOUT, async () => {
  const phone = await browser.newContext({ viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true });
  const other = await phone.newPage();
  watch(other, seen);
  await other.goto(`${server.origin}/#photo=cat`);
  await started(other);
  await drawn(other);
  const { y } = await other.locator('[data-panel="reconstruction"]').boundingBox();
  const masked = await other.locator("#mask-editor").boundingBox();
  assert.ok(Math.min(y, masked.y) < 740, `${y}, ${masked.y}`);
  const session = await phone.newCDPSession(other);
  const before = await text("#mask-count", other);
  const from = Math.min(700, masked.y + 0.8 * masked.height);
  const touch = (type, y) => session.send("Input.dispatchTouchEvent", { type, touchPoints: type === "touchEnd" ? [] : [{ x: 180, y }] });
  await touch("touchStart", from);
  for (let moved = 15; moved <= 300; moved += 15) await touch("touchMove", from - moved);
  await touch("touchEnd");
  await other.waitForFunction(() => scrollY > 0);
  assert.ok((await other.evaluate(() => scrollY)) > 100, "the page did not scroll");
  assert.equal(await text("#mask-count", other), before);
  await phone.close();
});

test("the weights are fetched once a part that needs them is shown", TIMEOUT, async () => {
  const context = await browser.newContext();
  const other = await context.newPage();
  const requests = [];
  watch(other, { errors: seen.errors, requests });
  await other.goto(`${server.origin}/#tab=check`);
  await started(other);
  const weights = () => requests.filter((url) => url.endsWith(".safetensors"));
  assert.deepEqual(weights(), []);
  await other.locator("#tab-reconstruct").click();
  await drawn(other);
  assert.ok(weights().length > 0);
  await context.close();
});

test("with text twice as large nothing is cut off, and panels stay pictures", TIMEOUT, async () => {
  const folder = await mkdtemp(join(tmpdir(), "bootmae-large-"));
  const context = await launchLarge(folder);
  try {
    const [other] = context.pages();
    await other.goto(`${server.origin}/#photo=cat`);
    await started(other);
    assert.equal(await other.evaluate(() => getComputedStyle(document.documentElement).fontSize), "32px");
    for (const width of [1280, 360]) {
      await other.setViewportSize({ width, height: 800 });
      for (const part of ["train", "explore", "teach", "check", "reconstruct"]) {
        await other.locator(`#tab-${part}`).click();
        assert.ok(await other.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${part} scrolls sideways at ${width}`);
      }
      const panels = await other.locator("#panels figure").evaluateAll((figures) => figures.map((figure) => figure.getBoundingClientRect().width));
      assert.ok(Math.min(...panels) > 200, `${width}: ${panels}`);
    }
  } finally {
    await context.close();
    await rm(folder, { recursive: true, force: true });
  }
});

test("in forced colours what is chosen can be told", TIMEOUT, async () => {
  const other = await browser.newPage();
  await other.emulateMedia({ forcedColors: "active" });
  await other.goto(`${server.origin}/#photo=cat`);
  await started(other);
  const look = (selector) => other.locator(selector).evaluate((part) => getComputedStyle(part).backgroundColor);
  assert.notEqual(await look("#tab-reconstruct"), await look("#tab-train"));
  assert.notEqual(await look("#paste"), await look("#own"));
  await other.close();
});

test("once loaded the page opens without a network", TIMEOUT, async () => {
  const context = await browser.newContext();
  const other = await context.newPage();
  await other.goto(`${server.origin}/#photo=coffee`);
  await started(other);
  await other.evaluate(() => navigator.serviceWorker.ready);
  await other.waitForFunction(async () => (await (await caches.open("bootmae-page")).keys()).length > 20);
  await drawn(other);
  await context.setOffline(true);
  await other.goto("about:blank");
  await other.goto(`${server.origin}/#photo=coffee`);
  await started(other);
  await drawn(other);
  assert.match(await text("#photo-note", other), /^Espresso cup/);
  await context.close();
});

test("another page embeds it and hands a picture over", TIMEOUT, async () => {
  // The program's own server forbids frames; this is any other host.
  const host = createServer((request, response) => {
    const path = decodeURIComponent(request.url.split(/[?#]/)[0]);
    response.setHeader("content-type", KINDS[extname(path)] ?? "application/octet-stream");
    if (path === "/around.html") response.end('<!doctype html><title>around</title><iframe id="frame" src="/index.html#embed=1&photo=cat" width="700" height="600"></iframe>');
    else createReadStream(join(DIST, path)).on("error", () => response.writeHead(404).end()).pipe(response);
  });
  await new Promise((listening) => host.listen(0, "127.0.0.1", listening));
  try {
    const other = await browser.newPage();
    other.setDefaultTimeout(START_TIMEOUT_MS);
    await other.goto(`http://127.0.0.1:${host.address().port}/around.html`);
    const frame = other.frameLocator("#frame");
    await frame.locator('#reconstruct[data-state="done"]').waitFor(TIMEOUT);
    assert.ok(await frame.locator(".tabs").isHidden());
    const answers = await other.evaluate(async () => {
      const frame = document.getElementById("frame");
      const ask = async (picture) => {
        const answer = new Promise((resolve) => addEventListener("message", ({ data }) => resolve(data.bootmae), { once: true }));
        frame.contentWindow.postMessage({ bootmae: { picture } }, location.origin);
        return answer;
      };
      return [await ask(await (await fetch("photos/moose.jpg")).blob()), await ask(new Blob(["no picture"]))];
    });
    assert.deepEqual(answers[0], { done: true });
    assert.match(answers[1].error, /picture/i);
    await other.close();
  } finally {
    host.close();
    host.closeAllConnections();
  }
});

test("words, embedding and the network's card are explained", TIMEOUT, async () => {
  const other = await browser.newPage();
  watch(other, seen);
  await other.goto(`${server.origin}/help.html`);
  assert.match(await text("main", other), /Teacher spread/);
  for (const link of await other.locator('a:not([href^="http"])').evaluateAll((links) => links.map(({ href }) => href))) {
    assert.equal((await other.request.get(link)).status(), 200, link);
  }
  await other.close();
});

test("without JavaScript the page says what it needs", TIMEOUT, async () => {
  const context = await browser.newContext({ javaScriptEnabled: false });
  const other = await context.newPage();
  await other.goto(server.origin);
  const box = (selector) => other.locator(selector).boundingBox();
  assert.ok((await box("noscript h2")).height > 10);
  assert.equal(await box("#status"), null);
  await context.close();
});

test("no console errors", () => assert.deepEqual(seen.errors, []));
