// The demonstration's weights: fetched once, with progress, and kept in the browser's cache where it has one.

const CACHE = "bootmae-weights";

// What tells one version of the file from another, as far as the server says; null if it says nothing.
function version(response) {
  const named = response.headers.get("etag") ?? response.headers.get("last-modified");
  return named ?? response.headers.get("content-length");
}

async function openCache() {
  try {
    return await caches.open(CACHE);
  } catch {
    return null; // private windows and insecure contexts have none
  }
}

// The cached file if the server still has that version, or cannot be asked.
async function cached(cache, url) {
  const held = await cache?.match(url);
  if (!held) return null;
  const now = await fetch(url, { method: "HEAD" }).catch(() => null);
  return !now || (now.ok && version(now) !== null && version(now) === version(held)) ? held.blob() : null;
}

// Resolves to the file as a Blob, or to null if the server has none; `onprogress(bytes, total)`, total 0 if unknown.
export async function fetchWeights(url, onprogress) {
  const cache = await openCache();
  const held = await cached(cache, url);
  if (held) return held;
  const response = await fetch(url);
  if (response.status === 404) return null;
  if (!response.ok) throw new Error(`the server answered ${response.status}`);
  const total = Number(response.headers.get("content-length") ?? 0);
  const parts = [];
  let bytes = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    bytes += value.length;
    onprogress(bytes, Math.max(total, total && bytes));
  }
  const blob = new Blob(parts);
  // Only a whole file is kept, and a full disk is no reason to fail.
  await cache?.put(url, new Response(blob, { headers: response.headers })).catch(() => {});
  return blob;
}
