// A thread that lays pictures out so that neighbours stay together: UMAP (McInnes, Healy and Melville, 2018), by umap-js.
// `{neighbours, distances, seed}` is answered with `{share}` as it goes on, and in the end `{places}` `[pictures, 2]`.

self.window = self; // what umap-js adds itself to
importScripts("../vendor/umap-js.min.js");

// Numbers from 0 to 1 that depend on the seed alone (mulberry32).
function random(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

addEventListener("message", ({ data: { neighbours, distances, seed } }) => {
  const map = new self.UMAP.UMAP({ nComponents: 2, nNeighbors: neighbours[0].length, minDist: 0.15, random: random(seed) });
  map.setPrecomputedKNN(neighbours, distances);
  // It looks at the number of points alone.
  const rounds = map.initializeFit(neighbours.map(() => [0]));
  for (let round = 0; round < rounds; round++) {
    map.step();
    if (round % 20 === 0) postMessage({ share: round / rounds });
  }
  postMessage({ places: Float32Array.from(map.getEmbedding().flat()) });
});
