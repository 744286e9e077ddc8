// Files that come from or go to the visitor.

// This program's weights and checkpoints, and what safetensors and `torch.save` write.
const WEIGHTS = /\.(safetensors|tar|pth|pt|bin|ckpt)$/i;

// The weights among files, as `{name, source: {file, config, processor}}`, the latter two being the files of that name
// beside them, as Hugging Face has them, or null; null where no file has weights.
export function weightsAmong(files) {
  const weights = files.find(({ name }) => WEIGHTS.test(name));
  if (!weights) return null;
  const folder = weights.name.slice(0, weights.name.lastIndexOf("/") + 1);
  const beside = (name) => files.find((other) => other.name === folder + name)?.file ?? null;
  const source = { file: weights.file, config: beside("config.json"), processor: beside("preprocessor_config.json") };
  return { name: weights.name, source };
}

// A name as it is shown: one line, not too long.
export function shownName(name) {
  const line = name.replace(/\s+/g, " ");
  return line.length > 80 ? `${line.slice(0, 50)}…${line.slice(-25)}` : line;
}

export function download(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// Opens the file dialog of `input` when `button` is pressed, and hands over what was chosen.
export function picker(button, input, onfiles) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    if (files.length) onfiles(files);
  });
}

async function walk(entry, path, found) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    found.push({ name: path + file.name, file });
  } else if (entry.isDirectory) {
    const reader = entry.createReader();
    for (;;) {
      // A reader hands out some entries at a time, and none at the end.
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (some.length === 0) break;
      // A folder that cannot be read hides no others.
      for (const inner of some) await walk(inner, `${path}${entry.name}/`, found).catch(() => {});
    }
  }
}

// Every file of a drop or paste, those in folders included, as `{name, file}`. The list of items is only readable
// during the event, so it is taken apart before anything is awaited.
export function dropped(transfer) {
  const items = [...transfer.items].filter(({ kind }) => kind === "file");
  const entries = items.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile()).filter(Boolean);
  return (async () => {
    const found = [];
    for (const entry of entries) {
      if (entry instanceof File) found.push({ name: entry.name, file: entry });
      else await walk(entry, "", found);
    }
    return found;
  })();
}

// Files of an `<input>` as `{name, file}`, named with their folders.
export const chosen = (files) => files.map((file) => ({ name: file.webkitRelativePath || file.name, file }));

// The photos that come with the page, `{name, get}`: each is fetched when its turn comes. `wanted` chooses among the list's entries.
export async function shippedPhotos(wanted = () => true) {
  const ask = async (path) => {
    const answer = await fetch(path);
    if (!answer.ok) throw new Error(`the server answered ${answer.status}`);
    return answer;
  };
  const listed = await (await ask("photos/index.json")).json();
  return listed.filter(wanted).map(({ file }) => ({ name: file, get: async () => (await ask(`photos/${file}`)).blob() }));
}

const LONGEST_LIST = 200;

// Lists files that were skipped, `{name, reason}`, in a `<details>` whose parts are named after it.
export function listSkipped(id, skipped) {
  const part = (name) => document.getElementById(id + name);
  part("").hidden = skipped.length === 0;
  part("-summary").textContent = `Skipped: ${skipped.length}`;
  const lines = skipped.slice(0, LONGEST_LIST).map(({ name, reason }) => `${shownName(name)}: ${reason}`);
  if (skipped.length > LONGEST_LIST) lines.push(`and ${new Intl.NumberFormat("en").format(skipped.length - LONGEST_LIST)} more`);
  part("-list").replaceChildren(...lines.map((textContent) => Object.assign(document.createElement("li"), { textContent })));
}
