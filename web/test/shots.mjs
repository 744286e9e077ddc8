// Pictures of the page for the documentation: `node web/test/shots.mjs [FOLDER]`, after `make web`; without FOLDER they
// go to docs/screenshots. Run by hand, since software adapters and fonts differ from machine to machine.

import { mkdir } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { serve } from "./server.mjs";
import { checkBuilt, DIST, launch, started } from "./chromium.mjs";

const FOLDER = process.argv[2] ?? fileURLToPath(new URL("../../docs/screenshots", import.meta.url));
const WIDTHS = [1280, 360];
const STEPS = Number(process.env.STEPS ?? 40);

checkBuilt();
await mkdir(FOLDER, { recursive: true });
const server = await serve(DIST);
const browser = await launch();

for (const colorScheme of ["light", "dark"]) {
  const page = await browser.newPage({ viewport: { width: WIDTHS[0], height: 900 }, colorScheme });
  page.setDefaultTimeout(600_000);
  const shoot = async (name) => {
    for (const width of WIDTHS) {
      await page.setViewportSize({ width, height: 900 });
      await page.waitForTimeout(300);
      await page.screenshot({ path: `${FOLDER}/${name}-${width}-${colorScheme}.png`, fullPage: true });
    }
  };
  await page.goto(`${server.origin}/#tab=reconstruct&photo=coffee`);
  await started(page);
  await page.locator('#reconstruct[data-state="done"]').waitFor();
  await page.locator('[data-features="teacher"]').hover({ position: { x: 60, y: 60 } });
  await page.waitForTimeout(300);
  await shoot("reconstruct");

  await page.locator("#tab-train").click();
  await page.locator("#data-shipped").click();
  await page.locator("#start:enabled").waitFor();
  await page.locator("#steps").fill(String(STEPS));
  await page.locator("#start").click();
  await page.locator('#train[data-state="done"], #train[data-state="failed"]').waitFor();
  await shoot("train");
  await page.close();
}

await browser.close();
await server.close();
