// A static file server for one folder, on 127.0.0.1 only: `node serve.mjs FOLDER [PORT]`, or `serve(folder, port)`.

import { createReadStream } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, sep } from "node:path";
import { pathToFileURL } from "node:url";

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".jpg": "image/jpeg",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".png": "image/png",
  ".safetensors": "application/octet-stream",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
};

// The file that a request names, with its size, or null: its real path must lie inside the real root, so neither `..`
// nor a symbolic link leads out of it.
async function resolve(root, url) {
  try {
    const path = decodeURIComponent(new URL(url, "http://localhost").pathname);
    const file = await realpath(join(root, path.endsWith("/") ? `${path}index.html` : path));
    const found = await stat(file);
    return file.startsWith(root + sep) && found.isFile() ? { file, size: found.size } : null;
  } catch {
    return null;
  }
}

// Serves `folder` and resolves to `{ origin, close }`; port 0 takes a free one.
export async function serve(folder, port = 0) {
  const root = await realpath(folder);
  const server = createServer(async (request, response) => {
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.writeHead(405, { Allow: "GET, HEAD" }).end();
      return;
    }
    const found = await resolve(root, request.url);
    if (found === null) {
      response.writeHead(404, { "Content-Type": "text/plain" }).end("not found\n");
      return;
    }
    response.writeHead(200, {
      "Content-Type": TYPES[extname(found.file)] ?? "application/octet-stream",
      "Content-Length": found.size,
      "Cache-Control": "no-store",
      "X-Content-Type-Options": "nosniff",
    });
    if (request.method === "HEAD") {
      response.end();
    } else {
      createReadStream(found.file).on("error", () => response.destroy()).pipe(response);
    }
  });
  await new Promise((listening, failed) => {
    server.once("error", failed);
    server.listen(port, "127.0.0.1", listening);
  });
  const close = () =>
    new Promise((closed) => {
      server.close(closed);
      server.closeAllConnections();
    });
  return { origin: `http://127.0.0.1:${server.address().port}`, close };
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { origin } = await serve(process.argv[2] ?? "dist", Number(process.argv[3] ?? 8080));
  console.log(`Serving on ${origin} (Ctrl-C stops it)`);
}
