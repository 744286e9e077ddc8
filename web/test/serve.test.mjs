// `bootmae serve` hands out its own folder and nothing else, to this computer alone.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { networkInterfaces, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, before, test } from "node:test";
import { promisify } from "node:util";
import { PROGRAM, serve } from "./server.mjs";

const LARGE = 3_000_000;

let folder, root, server, port;

before(async () => {
  folder = await mkdtemp(join(tmpdir(), "bootmae-serve-"));
  root = join(folder, "root");
  await mkdir(join(root, "pkg"), { recursive: true });
  await mkdir(join(folder, "root-beside"));
  await writeFile(join(folder, "secret.txt"), "secret");
  await writeFile(join(folder, "root-beside", "secret.txt"), "secret");
  await writeFile(join(root, "index.html"), "<p>index</p>");
  await writeFile(join(root, ".hidden"), "secret");
  for (const name of ["a.wasm", "a.css", "a.svg", "a.json", "a.png", "a.jpg", "a.safetensors", "pkg/a.js"]) {
    await writeFile(join(root, name), name);
  }
  await writeFile(join(root, "large.bin"), Buffer.alloc(LARGE, 7));
  await symlink(join(folder, "secret.txt"), join(root, "link.txt"));
  await symlink(folder, join(root, "up"));
  await symlink("a.css", join(root, "inside.css"));
  server = await serve(root);
  port = Number(new URL(server.origin).port);
});

after(async () => {
  await server?.close();
  await rm(folder, { recursive: true });
});

// Sends bytes as they are and resolves to all that comes back. A client library would tidy paths and headers.
async function raw(text, { host = "127.0.0.1" } = {}) {
  const socket = connect({ host, port });
  const pieces = [];
  socket.on("data", (piece) => pieces.push(piece));
  socket.write(text);
  await once(socket, "close");
  return Buffer.concat(pieces).toString("latin1");
}

// Status, headers and body of a request line with the server's own name, or other `headers`.
async function ask(line, headers = [`Host: 127.0.0.1:${port}`]) {
  const answer = await raw(`${line} HTTP/1.1\r\n${headers.map((header) => `${header}\r\n`).join("")}\r\n`);
  const end = answer.indexOf("\r\n\r\n");
  const [first, ...rest] = answer.slice(0, end).split("\r\n");
  const split = rest.map((header) => [header.slice(0, header.indexOf(":")).toLowerCase(), header.slice(header.indexOf(":") + 2)]);
  return { status: Number(first.split(" ")[1]), headers: Object.fromEntries(split), body: answer.slice(end + 4) };
}

const status = async (line, headers) => (await ask(line, headers)).status;

test("files are served whole, with their types", async () => {
  const types = {
    "/": "text/html; charset=utf-8",
    "/index.html?a=b": "text/html; charset=utf-8",
    "/a.css": "text/css; charset=utf-8",
    "/inside.css": "text/css; charset=utf-8",
    "/a.jpg": "image/jpeg",
    "/a.json": "application/json",
    "/a.png": "image/png",
    "/a.safetensors": "application/octet-stream",
    "/a.svg": "image/svg+xml",
    "/a.wasm": "application/wasm",
    "/pkg/a.js": "text/javascript; charset=utf-8",
    "/pkg/%61.js": "text/javascript; charset=utf-8",
  };
  for (const [path, type] of Object.entries(types)) {
    const answer = await ask(`GET ${path}`);
    assert.equal(answer.status, 200, path);
    assert.equal(answer.headers["content-type"], type, path);
  }
  assert.equal(await (await fetch(server.origin)).text(), "<p>index</p>");
  const large = Buffer.from(await (await fetch(`${server.origin}/large.bin`)).arrayBuffer());
  assert.ok(large.equals(Buffer.alloc(LARGE, 7)));
});

test("nothing outside the folder is served", async () => {
  const paths = [
    "/../secret.txt",
    "/%2e%2e/secret.txt",
    "/%2E%2E%2Fsecret.txt",
    "/..%2fsecret.txt",
    "/..%2froot-beside%2fsecret.txt",
    "/pkg/../../secret.txt",
    "/pkg/..%2f..%2fsecret.txt",
    "/%252e%252e%252fsecret.txt",
    "/%c0%ae%c0%ae/secret.txt",
    "/..\\secret.txt",
    "/..%5csecret.txt",
    "/...//secret.txt",
    `/${folder}/secret.txt`,
    `/${encodeURIComponent(`${folder}/secret.txt`)}`,
    `//${folder}/secret.txt`,
    "/link.txt",
    "/up/secret.txt",
    "/up/root/a.css/../../secret.txt",
    "/.hidden",
    "/pkg",
    "/pkg/",
    "/absent",
    "/%00",
    "/a.css%00.html",
    "/%",
    "*",
    "secret.txt",
    "file:///etc/passwd",
    `http://127.0.0.1:${port}/../secret.txt`,
    `http://127.0.0.1:${port}/link.txt`,
  ];
  for (const path of paths) {
    const answer = await ask(`GET ${path}`);
    assert.equal(answer.status, 404, path);
    assert.doesNotMatch(answer.body, /secret|root:/, path);
  }
});

test("a request must name the server by its own address", async () => {
  // Through a tunnel the port is another one.
  for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `LOCALHOST:${port}`, "localhost:9090", "127.0.0.1", "[::1]:9090"]) {
    assert.equal(await status("GET /", [`Host: ${host}`]), 200, host);
    assert.equal(await status(`GET http://${host}/`), 200, host);
  }
  for (const host of ["evil.example", `evil.example:${port}`, "127.0.0.2", `127.0.0.1.nip.io:${port}`, `localhost:${port}.evil.example`, `localhost:${port}@evil.example`, `me@localhost:${port}`, `[::2]:${port}`, ""]) {
    assert.equal(await status("GET /", [`Host: ${host}`]), 421, host);
    assert.equal(await status(`GET http://${host}/`), 421, host);
  }
  assert.equal(await status("GET /", []), 421);
  assert.equal(await status("GET /", [`Host: localhost:${port}`, "Host: evil.example"]), 421);
  assert.equal(await status("POST /", ["Host: evil.example"]), 421);
});

test("only reading is allowed", async () => {
  for (const method of ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "CONNECT", "get"]) {
    const { status, headers } = await ask(`${method} /`);
    assert.deepEqual([status, headers.allow], [405, "GET, HEAD"], method);
  }
  const posted = await fetch(server.origin, { method: "POST", body: "x".repeat(100_000) });
  assert.equal(posted.status, 405);
});

test("HEAD answers as GET does, without the content", async () => {
  for (const path of ["/", "/large.bin", "/absent"]) {
    const [get, head] = [await ask(`GET ${path}`), await ask(`HEAD ${path}`)];
    assert.deepEqual([head.status, head.headers, head.body], [get.status, get.headers, ""], path);
    assert.equal(Number(head.headers["content-length"]), get.body.length, path);
  }
});

test("every answer confines the page", async () => {
  const answers = [await ask("GET /"), await ask("GET /absent"), await ask("POST /"), await ask("GET /", ["Host: evil.example"])];
  for (const { status, headers } of answers) {
    assert.equal(
      headers["content-security-policy"],
      "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; img-src 'self' blob: data:; worker-src 'self'; " +
        "connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      status,
    );
    assert.equal(headers["x-content-type-options"], "nosniff");
    assert.equal(headers["referrer-policy"], "no-referrer");
    assert.equal(headers["cross-origin-opener-policy"], "same-origin");
    assert.equal(headers["cache-control"], "no-cache");
    assert.equal(headers["access-control-allow-origin"], undefined);
  }
});

test("what has not changed is not sent again", async () => {
  const own = `Host: 127.0.0.1:${port}`;
  const { etag } = (await ask("GET /a.json")).headers;
  assert.match(etag, /^"[^"]+"$/);
  for (const tags of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
    const again = await ask("GET /a.json", [own, `If-None-Match: ${tags}`]);
    assert.deepEqual([again.status, again.body, again.headers.etag], [304, "", etag], tags);
  }
  assert.equal(await status("GET /a.json", [own, 'If-None-Match: "other"']), 200);
  await writeFile(join(root, "a.json"), "other1");
  await utimes(join(root, "a.json"), 1, 1);
  const changed = await ask("GET /a.json", [own, `If-None-Match: ${etag}`]);
  assert.deepEqual([changed.status, changed.body], [200, "other1"]);
});

test("heads that are broken or too large are refused", async () => {
  assert.match(await raw("\x16\x03\x01\r\n\r\n"), /^HTTP\/1.1 400 /);
  assert.match(await raw(`GET / HTTP/1.1\r\nHost : localhost:${port}\r\n\r\n`), /^HTTP\/1.1 400 /);
  assert.match(await raw(`GET /${"a".repeat(20_000)}`), /^HTTP\/1.1 431 /);
  assert.equal(await status("GET /", [`Host: localhost:${port}`, ...Array(100).fill("A: b")]), 431);
});

test("slow clients do not block others, and are given up", async () => {
  const began = Date.now();
  const slow = Array.from({ length: 24 }, () => connect({ host: "127.0.0.1", port }));
  const ended = slow.slice(0, 20).map((socket, index) => {
    socket.write(`GET / HTTP/1.1\r\nHost: localhost:${port}\r\n`);
    // One of them goes on a byte at a time, so that no single wait is long.
    const drip = index === 0 ? setInterval(() => socket.write("A"), 200) : null;
    let answer = "";
    socket.on("data", (piece) => (answer += piece));
    socket.on("error", () => {});
    return once(socket, "close").then(() => (clearInterval(drip), answer));
  });
  // These four ask for the large file and read none of it.
  slow.slice(20).forEach((socket) => socket.pause().write(`GET /large.bin HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`));
  for (let turn = 0; turn < 20; turn++) {
    assert.equal(await status("GET /"), 200);
  }
  assert.ok(Date.now() - began < 4000, `20 pages took ${Date.now() - began} ms`);
  for (const answer of await Promise.all(ended)) {
    assert.match(answer, /^HTTP\/1.1 408 /);
  }
  assert.ok(Date.now() - began < 20_000, `slow clients were held for ${Date.now() - began} ms`);
  slow.forEach((socket) => socket.destroy());
});

test("the server is reached through 127.0.0.1 only", async () => {
  const others = Object.values(networkInterfaces()).flat().filter(({ internal }) => !internal).map(({ address }) => address);
  // On Linux the whole of 127.0.0.0/8 is this computer.
  for (const host of ["127.0.0.2", "::1", ...others]) {
    await assert.rejects(raw("GET / HTTP/1.1\r\n\r\n", { host }), host);
  }
});

test("--open shows the page's address in the browser", { skip: process.platform !== "linux" }, async () => {
  const programs = join(folder, "programs");
  await mkdir(programs);
  const opened = join(folder, "opened");
  await writeFile(join(programs, "xdg-open"), `#!/bin/sh\necho "$#" "$@" > "${opened}.part"\nmv "${opened}.part" "${opened}"\n`);
  await chmod(join(programs, "xdg-open"), 0o755);
  const another = await serve(root, { rest: ["--open"], env: { PATH: `${programs}${delimiter}${process.env.PATH}` } });
  try {
    let said = null;
    for (let attempt = 0; said === null && attempt < 100; attempt++) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      said = await readFile(opened, "utf8").catch(() => null);
    }
    assert.equal(said, `1 ${another.origin}\n`);
  } finally {
    await another.close();
  }
});

test("Ctrl-C ends it well", { skip: process.platform === "win32" }, async () => {
  const another = await serve(root);
  another.process.kill("SIGINT");
  assert.deepEqual(await once(another.process, "exit"), [0, null]);
  await another.close();
});

test("a port that is taken and a folder without a page are named, with the next step", async () => {
  const refused = (...rest) => promisify(execFile)(PROGRAM, ["serve", ...rest]).then(() => null, (error) => error);
  const taken = await refused("--folder", root, "--port", String(port));
  assert.equal(taken.code, 2);
  assert.match(taken.stderr, new RegExp(`port ${port} on 127.0.0.1 is taken by another program.*--port`));
  const empty = await refused("--folder", join(root, "pkg"), "--port", "0");
  assert.equal(empty.code, 2);
  assert.match(empty.stderr, /there is no .*index\.html: .*make web/);
});
