// The npm package as someone installs it: PACKAGE names the tarball (scripts/package-npm.sh makes it and runs this). Tried without a
// bundler, and built by Vite.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { launch, watch } from "./chromium.mjs";
import { serve } from "./server.mjs";

const TIMEOUT = { timeout: 600_000 };
const PHOTOS = fileURLToPath(new URL("../../examples/photos", import.meta.url));
const WEIGHTS = fileURLToPath(new URL("../weights/demo.safetensors", import.meta.url));
const run = promisify(execFile);

// What both try: features, a reconstruction, three steps of training and what they made.
const USE = `
export async function use({ load, train, adapter }) {
  const blob = async (name) => (await fetch(name)).blob();
  const [cat, coffee] = [await blob("/cat.jpg"), await blob("/coffee.jpg")];
  const model = await load("/demo.safetensors");
  const described = await model.describe();
  const [one, two] = await model.embed([cat, coffee]);
  const alone = await model.embed(cat);
  const { psnr, smoothPsnr, reconstruction, hidden } = await model.reconstruct(cat, { share: 0.5, seed: 3 });
  model.free();
  const steps = [];
  const settings = { model: { preset: "nano", image_size: 16, patch_size: 4, width: 32, depth: 2, heads: 2 }, training: { steps: 3, batch_size: 2 } };
  const trained = await train([cat, coffee], { settings, onprogress: ({ step }) => steps.push(step) });
  const again = await load(trained.checkpoint);
  const small = await again.embed(cat);
  const stop = new AbortController();
  const stopped = await train([cat, coffee], { settings: { ...settings, training: { ...settings.training, steps: 50 } }, signal: stop.signal, onprogress: ({ step }) => step >= 2 && stop.abort() });
  const refused = await load(new Uint8Array(100)).catch((error) => error.message);
  return {
    adapter: await adapter(), described, width: one.length, same: one.every((value, i) => value === alone[i]), differs: one.some((value, i) => value !== two[i]),
    psnr, smoothPsnr, size: [reconstruction.width, reconstruction.height], hidden: hidden.reduce((sum, bit) => sum + bit, 0), patches: hidden.length,
    steps, name: trained.name, small: small.length, stopped: stopped.step, refused,
  };
}
`;

let folder, browser;

before(async () => {
  assert.ok(process.env.PACKAGE, "PACKAGE is to name the package's tarball");
  folder = await mkdtemp(join(tmpdir(), "bootmae-package-"));
  await writeFile(join(folder, "package.json"), '{ "private": true, "type": "module" }');
  await run("npm", ["install", "--no-audit", "--no-fund", process.env.PACKAGE], { cwd: folder });
  await mkdir(join(folder, "public"));
  for (const place of [folder, join(folder, "public")]) {
    for (const name of ["cat", "coffee"]) await cp(join(PHOTOS, "held-out", `${name}.jpg`), join(place, `${name}.jpg`));
    await cp(WEIGHTS, join(place, "demo.safetensors"));
  }
  await writeFile(join(folder, "use.js"), USE);
  browser = await launch();
}, { timeout: 120_000 });

after(async () => {
  await browser?.close();
  if (folder) await rm(folder, { recursive: true });
});

async function tried(site) {
  const server = await serve(site);
  const seen = { errors: [], requests: [] };
  try {
    const page = await browser.newPage();
    watch(page, seen);
    await page.goto(server.origin);
    await page.waitForFunction(() => window.tried !== undefined, null, TIMEOUT);
    const { failed, ...found } = await page.evaluate(() => window.tried);
    assert.equal(failed, undefined);
    assert.match(found.adapter, /WebGPU/);
    assert.deepEqual([found.width, found.described.width, found.described.image_width], [128, 128, 64]);
    assert.ok(found.same && found.differs);
    assert.ok(found.psnr > 8 && found.smoothPsnr > 8, `${found.psnr}, ${found.smoothPsnr}`);
    assert.deepEqual([found.size, found.hidden, found.patches], [[64, 64], 128, 256]);
    assert.equal(found.steps.at(-1), 3);
    assert.deepEqual([found.name, found.small], ["bootmae-step-3.tar", 32]);
    assert.ok(found.stopped >= 2 && found.stopped < 50, String(found.stopped));
    assert.match(found.refused, /weights/);
    assert.deepEqual(seen.errors, []);
  } finally {
    await server.close();
  }
}

const START = (from) => `import * as bootmae from ${JSON.stringify(from)};
import { use } from "./use.js";
use(bootmae).then((found) => (window.tried = found), (error) => (window.tried = { failed: String(error?.stack ?? error) }));
`;

test("the package works without a bundler", TIMEOUT, async () => {
  await writeFile(join(folder, "plain.js"), START("./node_modules/bootmae/index.js"));
  await writeFile(join(folder, "index.html"), '<!doctype html><title>plain</title><link rel="icon" href="cat.jpg"><script type="module" src="plain.js"></script>');
  await tried(folder);
});

test("the package works when Vite builds it", TIMEOUT, async () => {
  await run("npm", ["install", "--no-audit", "--no-fund", "vite"], { cwd: folder });
  await writeFile(join(folder, "main.js"), START("bootmae"));
  await writeFile(join(folder, "index.html"), '<!doctype html><title>built</title><link rel="icon" href="cat.jpg"><script type="module" src="/main.js"></script>');
  await run("npx", ["vite", "build"], { cwd: folder });
  await tried(join(folder, "dist"));
});

test("its types are those of a strict project", TIMEOUT, async () => {
  await run("npm", ["install", "--no-audit", "--no-fund", "typescript"], { cwd: folder });
  await writeFile(join(folder, "typed.ts"), `import { load, train, type Model, type Reconstruction } from "bootmae";
const model: Model = await load("a.safetensors", { heads: 12 });
const several: Float32Array[] = await model.embed(["a.jpg", new URL("https://example.org/b.jpg")]);
const made: Reconstruction = await model.reconstruct(new Uint8Array(3), { mask: [0, 1], ownStatistics: true });
// @ts-expect-error: no such mask
await model.reconstruct("a.jpg", { mask: "stripes" });
console.log(several[0]?.length, made.psnr, (await train([], { settings: { training: { steps: 2 } } })).name);
`);
  await run("npx", ["tsc", "--noEmit", "--strict", "--target", "es2022", "--module", "nodenext", "--lib", "es2022,dom,esnext.disposable", "typed.ts"], { cwd: folder });
});
