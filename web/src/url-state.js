// The page's state as the part of its address after `#`, so that a link restores what it shows. Whatever is missing or
// out of range there takes its default: an address is text that anyone may have written.

export const TABS = ["reconstruct", "train", "explore", "teach", "check"];
// Instead of an example's name: a picture of the visitor's own, which no link carries.
export const OWN = "own";
export const METHODS = ["bootmae", "mae"];
export const KINDS = ["block", "random"];
export const LARGEST_SEED = 2 ** 32 - 1;
const LARGEST_MASK = 2 ** 16;

export const DEFAULTS = Object.freeze({
  tab: "reconstruct",
  photo: null, // name of an example photo without `.jpg`, or OWN; null for the first
  ratio: 75, // hidden share in per cent
  kind: "block",
  seed: 1,
  own: false,
  paste: true,
  method: null, // what Train trains by; null for what was chosen last
  embed: false, // within another page: nothing but the part
  mask: null, // a mask painted by hand, as `packMask` writes it
});

function integer(text, low, high, otherwise) {
  const value = /^\d{1,10}$/.test(text ?? "") ? Number(text) : NaN;
  return value >= low && value <= high ? value : otherwise;
}

const oneOf = (text, values, otherwise) => (values.includes(text) ? text : otherwise);
const matching = (text, pattern) => (pattern.test(text ?? "") ? text : null);

export function parse(hash) {
  const found = new URLSearchParams(hash.replace(/^#/, ""));
  const flag = (name) => oneOf(found.get(name), ["0", "1"], DEFAULTS[name] ? "1" : "0") === "1";
  return {
    tab: oneOf(found.get("tab"), TABS, DEFAULTS.tab),
    photo: matching(found.get("photo"), /^[a-z0-9-]{1,64}$/),
    ratio: integer(found.get("ratio"), 5, 95, DEFAULTS.ratio),
    kind: oneOf(found.get("kind"), KINDS, DEFAULTS.kind),
    seed: integer(found.get("seed"), 0, LARGEST_SEED, DEFAULTS.seed),
    own: flag("own"),
    paste: flag("paste"),
    embed: flag("embed"),
    method: oneOf(found.get("method"), METHODS, null),
    mask: matching(found.get("mask"), /^[A-Za-z0-9_-]+$/),
  };
}

export function format(state) {
  const { tab, photo, ratio, kind, seed, own, paste, embed, method, mask } = state;
  const fields = { tab, photo, ratio, kind, seed, own: Number(own), paste: Number(paste), embed: embed ? 1 : null, method, mask };
  const written = Object.entries(fields).filter(([, value]) => value !== null);
  return `#${new URLSearchParams(written)}`;
}

// One bit a patch, in raster order from each byte's lowest bit, as base64url.
export function packMask(hidden) {
  const bytes = new Uint8Array(Math.ceil(hidden.length / 8));
  hidden.forEach((bit, i) => {
    if (bit) bytes[i >> 3] |= 1 << (i & 7);
  });
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

// The mask of `patches` patches that `text` holds, or null unless it is one with something hidden and something visible.
export function unpackMask(text, patches) {
  if (!text || patches > LARGEST_MASK) return null;
  let bytes;
  try {
    bytes = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return null;
  }
  if (bytes.length !== Math.ceil(patches / 8)) return null;
  const hidden = Uint8Array.from({ length: patches }, (_, i) => (bytes.charCodeAt(i >> 3) >> (i & 7)) & 1);
  const count = hidden.reduce((sum, bit) => sum + bit, 0);
  return count > 0 && count < patches ? hidden : null;
}
