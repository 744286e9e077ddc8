// `bootmae serve` for the tests: the program as `cargo build` leaves it.

import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const REPOSITORY = fileURLToPath(new URL("../..", import.meta.url));
const TARGET = resolve(REPOSITORY, process.env.CARGO_TARGET_DIR ?? "target");
const START_TIMEOUT_MS = 20_000;

// The program's path.
export const PROGRAM = resolve(TARGET, "debug", process.platform === "win32" ? "bootmae.exe" : "bootmae");

// Serves `folder` on a free port and resolves to `{ origin, process, close }`. `rest` are further flags, `env` further
// variables of the environment.
export async function serve(folder, { rest = [], env = {} } = {}) {
  if (!existsSync(PROGRAM)) {
    throw new Error(`${PROGRAM} is not built: run \`cargo build\` first`);
  }
  const child = spawn(PROGRAM, ["serve", "--port", "0", "--folder", folder, ...rest], {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  const exit = new Promise((done) => child.once("exit", done));
  const close = async () => {
    child.kill();
    await exit;
  };
  const lines = createInterface({ input: child.stdout });
  const line = await Promise.race([
    new Promise((said) => lines.once("line", said)),
    exit.then(() => null),
    new Promise((late) => setTimeout(late, START_TIMEOUT_MS, null).unref()),
  ]);
  const origin = line?.match(/http:\/\/127\.0\.0\.1:\d+/)?.[0];
  if (!origin) {
    await close();
    throw new Error(`\`bootmae serve\` named no address; it said: ${line}`);
  }
  return { origin, process: child, close };
}
