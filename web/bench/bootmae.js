// The step of this project, through its own benchmark.

import init, { bench } from "./pkg/bootmae.js";

export async function create(batch) {
  await init();
  return { measure: async (steps, profile) => JSON.parse(await bench("nano", batch, steps, profile)) };
}
