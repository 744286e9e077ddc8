// Chromium for the browser tests: headless, with its software adapter, SwiftShader, so that results do not depend on the
// machine's GPU, and without a way out of this machine. CHROMIUM names another browser executable, DIST another folder
// than web/dist.

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

export const DIST = process.env.DIST ?? fileURLToPath(new URL("../dist", import.meta.url));
export const START_TIMEOUT_MS = 120_000;

const PLAIN = [
  "--headless=new",
  "--no-sandbox",
  "--disable-dev-shm-usage",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
];
const WEBGPU = [
  "--enable-unsafe-webgpu",
  "--enable-features=Vulkan",
  "--use-vulkan=swiftshader",
  "--use-angle=swiftshader",
  "--use-webgpu-adapter=swiftshader",
];

// The driver manifest of the SwiftShader that lies beside the browser, for the program.
export const SWIFTSHADER_ICD =
  process.env.SWIFTSHADER_ICD ??
  ["/usr/lib/chromium", "/opt/google/chrome"].map((folder) => `${folder}/vk_swiftshader_icd.json`).find(existsSync);

function browserPath() {
  const candidates = [process.env.CHROMIUM, "/usr/bin/chromium", "/usr/bin/google-chrome"];
  const found = candidates.find((path) => path && existsSync(path));
  assert.ok(found, "no Chromium found: install Debian's `chromium`, or set CHROMIUM to the path of the browser");
  return found;
}

export function checkBuilt() {
  assert.ok(existsSync(`${DIST}/pkg/bootmae.js`), "web/dist is not built: run `make web` first");
}

export function launch({ webgpu = true, flags = [] } = {}) {
  const args = [...PLAIN, ...(webgpu ? WEBGPU : []), ...flags];
  return chromium.launch({ executablePath: browserPath(), args, timeout: START_TIMEOUT_MS });
}

// A context of a browser whose text is twice as large, as its settings can make it; `folder` keeps its profile.
export async function launchLarge(folder) {
  await mkdir(join(folder, "Default"), { recursive: true });
  await writeFile(join(folder, "Default/Preferences"), JSON.stringify({ webkit: { webprefs: { default_font_size: 32 } } }));
  return chromium.launchPersistentContext(folder, { executablePath: browserPath(), args: [...PLAIN, ...WEBGPU], timeout: START_TIMEOUT_MS });
}

// Records what must not happen on `page`: errors go to `errors`, every request's address to `requests`.
export function watch(page, { errors, requests }) {
  page.setDefaultTimeout(START_TIMEOUT_MS);
  page.on("console", (message) => message.type() === "error" && errors.push(message.text()));
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("crash", () => errors.push("the page crashed"));
  page.on("request", (request) => requests.push(request.url()));
}

// Waits until the page's state is no longer `loading`, and fails with its words if it failed.
export async function started(page) {
  const status = page.locator("#status");
  await page.locator('#status:not([data-state="loading"])').waitFor();
  assert.notEqual(await status.getAttribute("data-state"), "failed", await status.textContent());
}
