// Pictures of the page for the documentation: `node web/test/shots.mjs [FOLDER]`, after `make web`; without FOLDER they
// go to docs/screenshots. Run by hand, since software adapters and fonts differ from machine to machine.

import { cp, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { serve } from "./server.mjs";
import { checkBuilt, DIST, launch, started } from "./chromium.mjs";

const FOLDER = process.argv[2] ?? fileURLToPath(new URL("../../docs/screenshots", import.meta.url));
const PHOTOS = fileURLToPath(new URL("../../examples/photos/train", import.meta.url));
const WIDTHS = [1280, 360];
const STEPS = Number(process.env.STEPS ?? 40);

checkBuilt();
await mkdir(FOLDER, { recursive: true });
const server = await serve(DIST);
const browser = await launch();

// The parts that are shown in each look; forced colours are what some people's systems set.
const LOOKS = {
  light: { media: { colorScheme: "light" }, parts: ["reconstruct", "train", "explore", "teach", "check"] },
  dark: { media: { colorScheme: "dark" }, parts: ["reconstruct", "explore", "teach"] },
  forced: { media: { colorScheme: "light", forcedColors: "active" }, parts: ["reconstruct", "teach"] },
};

for (const [look, { media, parts }] of Object.entries(LOOKS)) {
  const page = await browser.newPage({ viewport: { width: WIDTHS[0], height: 900 } });
  await page.emulateMedia(media);
  page.setDefaultTimeout(600_000);
  const shoot = async (name) => {
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      await page.waitForTimeout(300);
      await page.screenshot({ path: `${FOLDER}/${name}-${width}-${look}.png`, fullPage: true });
    }
    await page.setViewportSize({ width: WIDTHS[0], height: 900 });
  };
  const show = {
    async reconstruct() {
      await page.locator('#reconstruct[data-state="done"]').waitFor();
      await page.locator('[data-features="teacher"]').hover({ position: { x: 60, y: 60 } });
    },
    async train() {
      await page.locator("#data-shipped").click();
      await page.locator("#start:enabled").waitFor();
      await page.locator("#steps").fill(String(STEPS));
      await page.locator("#start").click();
      await page.locator('#train[data-state="done"], #train[data-state="failed"]').waitFor();
    },
    async explore() {
      await page.locator("#explore-shipped").click();
      await page.locator('#explore[data-state="done"]').waitFor();
    },
    async teach() {
      const names = ["dawn", "sunset", "city", "lobby", "apartment", "warehouse"];
      const folder = await mkdtemp(join(tmpdir(), "bootmae-shots-"));
      for (const [i, name] of names.entries()) {
        const place = join(folder, i < 3 ? "outside" : "inside");
        await mkdir(place, { recursive: true });
        await cp(join(PHOTOS, `${name}.jpg`), join(place, `${name}.jpg`));
      }
      await page.locator("#teach-folder-input").setInputFiles(folder);
      await page.locator("#learn:enabled").click();
      await page.locator("#try-files:enabled").waitFor();
      await page.locator("#try-files-input").setInputFiles(["venice", "lab"].map((name) => join(PHOTOS, `${name}.jpg`)));
      await page.locator("#tried li").nth(1).waitFor();
      await rm(folder, { recursive: true });
    },
    async check() {},
  };
  await page.goto(`${server.origin}/#tab=reconstruct&photo=coffee`);
  await started(page);
  for (const part of parts) {
    await page.locator(`#tab-${part}`).click();
    await show[part]();
    await page.waitForTimeout(300);
    await shoot(part);
  }
  await page.close();
}

await browser.close();
await server.close();
