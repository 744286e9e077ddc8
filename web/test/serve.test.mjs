// The file server that the browser tests and `make serve` use hands out its own folder and nothing else.

import assert from "node:assert/strict";
import { mkdtemp, mkdir, rm, symlink, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { serve } from "../serve.mjs";

let folder, server;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "bootmae-serve-"));
  await mkdir(join(folder, "root"));
  await mkdir(join(folder, "root-beside"));
  await writeFile(join(folder, "secret.txt"), "secret");
  await writeFile(join(folder, "root-beside", "secret.txt"), "secret");
  await writeFile(join(folder, "root", "index.html"), "<p>index</p>");
  await writeFile(join(folder, "root", "a.wasm"), "wasm");
  await symlink(join(folder, "secret.txt"), join(folder, "root", "link.txt"));
  server = await serve(join(folder, "root"));
});

after(async () => {
  await server?.close();
  await rm(folder, { recursive: true });
});

// `fetch` would tidy `..` away, so the path goes out as written.
function status(path, method = "GET") {
  const { hostname, port } = new URL(server.origin);
  return new Promise((resolve, reject) => {
    request({ hostname, port, path, method }, (response) => {
      response.resume();
      resolve(response.statusCode);
    }).on("error", reject).end();
  });
}

test("files are served with their types", async () => {
  const index = await fetch(`${server.origin}/`);
  assert.equal(await index.text(), "<p>index</p>");
  assert.match(index.headers.get("content-type"), /^text\/html/);
  assert.equal((await fetch(`${server.origin}/a.wasm`)).headers.get("content-type"), "application/wasm");
});

test("nothing outside the folder is served", async () => {
  const paths = ["/../secret.txt", "/%2e%2e/secret.txt", "/..%2fsecret.txt", "/..%2froot-beside%2fsecret.txt", "/link.txt", "/%00", "/%"];
  for (const path of paths) {
    assert.equal(await status(path), 404, path);
  }
});

test("only reading is allowed", async () => {
  assert.equal(await status("/", "POST"), 405);
  assert.equal(await status("/", "HEAD"), 200);
});
