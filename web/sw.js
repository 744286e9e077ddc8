// Makes the page work without a network once it was loaded: every file of it is kept, and taken from there when the server does not
// answer. While it answers, what it says counts.

const KEPT = "bootmae-page";

// Weights are kept by the page itself (src/weights.js), and the references of Check are fetched for it alone.
const mine = ({ pathname }) => !pathname.endsWith(".safetensors");

addEventListener("install", (event) => {
  const keep = async () => {
    const [kept, files] = await Promise.all([caches.open(KEPT), fetch("files.json").then((answer) => answer.json())]);
    await kept.addAll(["./", ...files]);
    await skipWaiting();
  };
  event.waitUntil(keep());
});

addEventListener("activate", (event) => event.waitUntil(clients.claim()));

addEventListener("fetch", (event) => {
  const { request } = event;
  const url = new URL(request.url);
  if (request.method !== "GET" || url.origin !== location.origin || !mine(url)) return;
  const answer = async () => {
    const kept = await caches.open(KEPT);
    try {
      const fresh = await fetch(request);
      if (fresh.ok && fresh.status === 200 && !fresh.redirected) await kept.put(request, fresh.clone()).catch(() => {});
      return fresh;
    } catch (error) {
      const held = await kept.match(request, { ignoreSearch: true, ignoreVary: true });
      if (held) return held;
      throw error;
    }
  };
  event.respondWith(answer());
});
