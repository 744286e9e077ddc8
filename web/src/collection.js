// Pictures with their features: what Explore shows. One after the other they are read, and what cannot be read is listed.

import { readable } from "./readable.js";

// Beside pictures folders hold other files; these are told by their names and not tried.
const PICTURES = /\.(jpe?g|jfif|png|webp|gif|bmp|dib|tiff?|avif|hei[cf]|svg|jxl)$/i;

export const picturesAmong = (files) => files.filter(({ name, file }) => PICTURES.test(name) || /^image\//.test(file?.type ?? ""));

// Features of `files`, `{name, file}` or `{name, get}`, by `encoder`. Resolves to `{items: [{name, file, view}], features, width,
// skipped: [{name, reason}]}`, the features `[items, width]` and each view an ImageBitmap of what the network sees; or null
// where `stopped()` said so. `onprogress(count)` is told how many are done.
export async function collect(encoder, files, { onprogress, stopped }) {
  const [items, skipped, rows] = [[], [], []];
  const { width } = await encoder.ready();
  const fetched = files.map(({ file }) => file);
  const sources = files.map(({ name, file, get }, i) => async () => (fetched[i] = await readable(file ?? (await get()), name)));
  await encoder.features(sources, ({ first, views, features, ...shape }) => {
    views.forEach(({ rgba, error }, i) => {
      const { name } = files[first + i];
      if (error) {
        skipped.push({ name, reason: error });
        return;
      }
      const view = new ImageData(new Uint8ClampedArray(rgba.buffer), shape.width, shape.height);
      items.push({ name, file: fetched[first + i], view });
    });
    rows.push(features);
    onprogress(first + views.length);
  }, stopped);
  if (stopped()) return null;
  const features = new Float32Array(items.length * width);
  rows.reduce((at, some) => (features.set(some, at), at + some.length), 0);
  return { items, features, width, skipped };
}

// How far two views are apart: the mean difference of their pixels, from 0 to 255.
export function apart(one, other) {
  let sum = 0;
  for (let i = 0; i < one.data.length; i++) sum += Math.abs(one.data[i] - other.data[i]);
  return sum / (0.75 * one.data.length);
}

// Pictures that show the same: groups of numbers, from pairs `near[i]` of `[cosine, number]` whose views hardly differ.
export function doubles(items, near, most = 6) {
  const group = items.map((_, i) => i);
  const root = (i) => (group[i] === i ? i : (group[i] = root(group[i])));
  near.forEach((others, i) => {
    for (const [cosine, other] of others) {
      if (cosine > 0.99 && root(i) !== root(other) && apart(items[i].view, items[other].view) <= most) group[root(other)] = root(i);
    }
  });
  const groups = Map.groupBy ? Map.groupBy(items.keys(), root) : new Map();
  if (!Map.groupBy) for (const i of items.keys()) groups.set(root(i), [...(groups.get(root(i)) ?? []), i]);
  return [...groups.values()].filter(({ length }) => length > 1);
}
