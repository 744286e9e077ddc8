// The pictures to train on: chosen, dropped, shipped, or those that the browser kept from before a reload.

import { LARGEST_COLLECTION, words } from "./kept.js";
import { chosen, listSkipped, picker, shippedPhotos } from "./files.js";
import { readable } from "./readable.js";

const COLLECTION_KEY = "bootmae-collection";
const SHIPPED = "the shipped photos";

const element = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;
export const counted = (count, what) => `${whole.format(count)} ${what}${count === 1 ? "" : "s"}`;

// The number of files, and a digest of their names without folders and their sizes, whatever their order.
export async function listing(files) {
  const lines = files.map(({ name, file }) => `${name.split("/").at(-1)}\t${file?.size ?? ""}`).sort();
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(lines.join("\n")));
  return { files: files.length, digest: Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("") };
}

export class Pictures {
  #engine;
  #kept;
  #onchange;
  #title = "";
  #shipped = false;
  #count = 0; // images that the thread holds, 0 once a run has taken them
  #reading = 0;
  #done = Promise.resolve();
  #keeping = Promise.resolve();
  #id = null; // of the collection in the browser's storage
  files = []; // {name, file} of what was chosen
  classes = 0; // how many they have, if these can be told apart
  busy = false; // whether they are being read
  unreadable = false; // whether they were read, and none is a picture

  // `onchange()` is called when other pictures were chosen, and again when they are read.
  constructor({ engine, kept, onchange }) {
    [this.#engine, this.#kept, this.#onchange] = [engine, kept, onchange];
    element("data-shipped").addEventListener("click", () => this.takeShipped());
    picker(element("data-folder"), element("folder-input"), (files) => this.take(chosen(files)));
    picker(element("data-files"), element("files-input"), (files) => this.take(chosen(files)));
  }

  get any() {
    return this.files.length > 0;
  }

  // Takes files as the pictures to train on, in place of the ones before.
  async take(files, title = "") {
    await this.#take(files, { title });
    // Others may have been chosen meanwhile.
    if (this.files === files) this.#keeping = this.#keep();
  }

  // Whether the shipped photos are those to train on then: others may have been chosen meanwhile.
  async takeShipped() {
    const before = this.files;
    try {
      const photos = await shippedPhotos(({ held_out }) => !held_out);
      if (this.files !== before) return false;
      await this.#take(photos, { title: SHIPPED, shipped: true });
      if (this.files !== photos) return false;
      this.#remember({ shipped: true });
      element("data-kept").textContent = "";
      return true;
    } catch (error) {
      if (this.files === before) element("data-note").textContent = `The shipped photos could not be loaded: ${error.message}`;
      return false;
    }
  }

  // Takes the pictures that this tab had before it was reloaded.
  async restore() {
    let held = null;
    try {
      held = JSON.parse(sessionStorage.getItem(COLLECTION_KEY));
    } catch {
      // Nothing kept.
    }
    if (held) await this.reopen(held);
  }

  // Takes the pictures of a run that the browser keeps; false if it has not kept them.
  async reopen(held) {
    if (held?.shipped) return this.takeShipped();
    const before = this.files;
    const collection = await this.#kept.files(held?.id).catch(() => null);
    if (!collection || this.files !== before) return false;
    await this.#take(collection.files, { title: collection.title, id: held.id });
    if (this.files !== collection.files) return false;
    this.#remember({ id: held.id });
    this.#sayKept();
    return true;
  }

  // What a run remembers of its pictures.
  async record() {
    await this.#keeping;
    return { id: this.#id, shipped: this.#shipped, title: this.#title, ...(await listing(this.files)) };
  }

  // Whether these are a run's pictures, in words; empty if they are.
  async differs(record) {
    const own = await listing(this.files);
    if (!record?.digest || own.digest === record.digest) return "";
    const numbers = own.files === record.files ? "other names or sizes" : `${counted(own.files, "file")} instead of ${whole.format(record.files)}`;
    return `These are not the pictures that the run was trained on: ${numbers}.`;
  }

  // Makes sure that the thread has the pictures, which a run uses up.
  async ready() {
    await this.#done;
    if (this.#count === 0) await (this.#done = this.#read());
    if (this.#count === 0) throw new Error("None of the files is a picture to train on.");
  }

  // The thread has lost the pictures, or a run has taken them.
  usedUp() {
    this.#count = 0;
  }

  #take(files, { title, shipped = false, id = null }) {
    [this.files, this.#title, this.#shipped, this.#id] = [files, title, shipped, id];
    this.#done = this.#read();
    return this.#done;
  }

  // Hands the files to the thread, one by one; what it cannot read is listed by name.
  async #read() {
    const turn = ++this.#reading;
    const skipped = [];
    [this.#count, this.classes] = [0, 0];
    [this.busy, this.unreadable] = [true, false];
    listSkipped("skipped", []);
    this.#onchange();
    try {
      await this.#engine.call("images_new");
      for (const [i, { name, file, get }] of this.files.entries()) {
        if (turn !== this.#reading) return;
        element("data-note").textContent = `Reading ${i + 1} of ${this.files.length} files…`;
        try {
          const picture = await readable(file ?? (await get()), name);
          // Other pictures may have been chosen meanwhile, and the thread holds those from then on.
          if (turn !== this.#reading) return;
          const images = await this.#engine.call("images_add", [name, picture]);
          if (turn !== this.#reading) return;
          this.#count += images;
        } catch (error) {
          if (this.#engine.dead) throw error;
          skipped.push({ name, reason: error.message });
        }
      }
      if (turn !== this.#reading) return;
      const classes = this.#count ? await this.#engine.call("images_classes") : 0;
      if (turn !== this.#reading) return;
      this.classes = classes;
      this.unreadable = this.#count === 0;
      const from = this.#title ? ` (${this.#title})` : "";
      const left = skipped.length ? ` ${counted(skipped.length, "file")} ${skipped.length === 1 ? "was" : "were"} skipped.` : "";
      element("data-note").textContent = `${this.#count ? counted(this.#count, "picture") : "No picture"} to train on${from}.${classes ? ` They have ${classes} classes.` : ""}${left}`;
    } catch (error) {
      this.#count = 0;
      element("data-note").textContent = `The pictures could not be read: ${error.message}`;
    }
    this.busy = false;
    listSkipped("skipped", skipped);
    this.#onchange();
  }

  // Keeps the visitor's own pictures for a reload, if they are not too large.
  async #keep() {
    const { files } = this;
    element("data-kept").textContent = "";
    if (this.#kept.missing !== null) return;
    try {
      const id = await this.#kept.keepFiles(this.#title, files);
      if (this.files !== files) {
        if (id) await this.#kept.dropFiles(id);
        return;
      }
      this.#id = id;
      this.#remember(id && { id });
      if (id) {
        this.#sayKept();
        await this.#kept.sweep(id);
      } else {
        element("data-kept").textContent = `More than ${LARGEST_COLLECTION / 2 ** 20} MiB, or than there is room for: choose them again after a reload.`;
      }
    } catch (error) {
      if (this.files === files) element("data-kept").textContent = `Not kept in this browser (${words(error)}): choose them again after a reload.`;
    }
  }

  #sayKept() {
    const bytes = this.files.reduce((sum, { file }) => sum + file.size, 0);
    element("data-kept").textContent = `Kept in this browser for a reload (${megabytes(bytes)}).`;
  }

  #remember(held) {
    try {
      if (held) sessionStorage.setItem(COLLECTION_KEY, JSON.stringify(held));
      else sessionStorage.removeItem(COLLECTION_KEY);
    } catch {
      // Forgotten at a reload.
    }
  }
}
