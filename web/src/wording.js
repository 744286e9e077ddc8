// What the library says, in the words of the page: it speaks of the program's flags and settings, visitors see fields.

const FLAG = /`?--([a-z-]+)( [A-Z]+)?`?/g;

// Settings that are one field of the page.
const ALIASES = { image_height: "image_size", image_width: "image_size", micro_batches: "batch_size" };

// A message in words of the page, and the field of `form` that it is about, or null.
export function reworded(message, form) {
  const labels = new Map();
  for (const field of form?.elements ?? []) if (field.name && field.labels?.length) labels.set(field.name, field);
  let about = null;
  const named = (name) => {
    const field = labels.get(ALIASES[name] ?? name);
    about ??= field ?? null;
    return field ? `“${field.labels[0].textContent}”` : null;
  };
  const text = message
    .replace(/^configuration: (the settings: |the page's settings: )?/, "")
    .replace(FLAG, (all, flag) => named(flag.replaceAll("-", "_")) ?? all)
    .replace(/`?\b([a-z]+(?:_[a-z]+)+|width|depth|heads|steps)\b`?/g, (all, name) => named(name) ?? all)
    .replace(/masked must be 1 to 0 of 1 patches/, () => `one patch is too few: take a larger ${named("image_size") ?? "image size"}, or smaller patches`)
    .replace(/invalid value: .*expected (u64|usize).*/, "a whole number of at least 1 is needed")
    .replace(/\b(u64|usize|u32)\b/g, "whole number")
    .replace(/\bf(32|64)\b/g, "number");
  return { text: text.charAt(0).toUpperCase() + text.slice(1), about };
}
