// Bundles each contender's module with its library into one file.

import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

export async function bundle(outdir) {
  await build({
    entryPoints: ["tfjs.js", "jaxjs.js", "bootmae.js"].map(here),
    outdir,
    bundle: true,
    format: "esm",
    target: "es2022",
    external: ["./pkg/*"],
    define: { "process.env.NODE_ENV": '"production"' },
    logLevel: "warning",
  });
}
