// The Explore section: a folder of pictures as the network sees it. A map of all of them, the nearest of one, how well classes
// are told apart by their neighbours, and pictures that are there twice.

import { foldersAsClasses } from "./classes.js";
import { collect, doubles, picturesAmong } from "./collection.js";
import { chosen, listSkipped, picker, shippedPhotos, shownName } from "./files.js";
import { colourOf, PictureMap } from "./map.js";
import { counted } from "./pictures.js";

const MOST = 5000; // pictures: each is compared with each
const NEAREST = 15; // neighbours of each that are kept, and that UMAP takes
const SHOWN = 12; // of these shown
const VOTERS = 20; // neighbours that vote for a class
const LONGEST_LIST = 100;
const UMAP = "vendor/umap-js.min.js";

const element = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en");
const percent = (share, digits = 1) => `${(100 * share).toFixed(digits)} %`;
const fixed = (value) => value.toFixed(3).replace("-", "−");
const made = (tag, fields = {}) => Object.assign(document.createElement(tag), fields);

export class Explore {
  #engine;
  #encoder;
  #setState;
  #map;
  #turn = 0;
  #found = null; // what `collect` gave, with `near`, `classes`, `title` and `weights`
  #places = {}; // by kind of map
  #kind = "principal";
  #urls = new Map(); // addresses of pictures, by number
  #mapping = null; // the thread that makes the other map
  #files = [];
  #title = "";

  // `encoder` gives features, `setState(state)` tells the page what goes on.
  constructor({ engine, encoder, setState }) {
    [this.#engine, this.#encoder, this.#setState] = [engine, encoder, setState];
    this.#map = new PictureMap(element("map"), {
      onpoint: (number) => (element("map-readout").textContent = number === null ? "" : this.#words(number)),
      onchoose: (number) => this.choose(number),
    });
    element("explore-shipped").addEventListener("click", () => this.#takeShipped());
    picker(element("explore-folder"), element("explore-folder-input"), (files) => this.take(chosen(files)));
    picker(element("explore-files"), element("explore-files-input"), (files) => this.take(chosen(files)));
    element("explore-stop").addEventListener("click", () => this.#stop());
    element("explore-again").addEventListener("click", () => this.#look());
    for (const radio of document.querySelectorAll('#explore [name="map-kind"]')) {
      radio.addEventListener("change", () => this.#showMap(radio.value));
    }
    encoder.addEventListener("change", () => this.#networkChanged());
  }

  // Takes files in place of the ones before.
  async take(files, title = "") {
    const pictures = picturesAmong(files);
    if (pictures.length === 0) {
      this.#say(files.length ? `None of the ${whole.format(files.length)} files has the name of a picture.` : "There is no file in it.");
      return;
    }
    [this.#files, this.#title] = [pictures, title];
    await this.#look();
  }

  async #takeShipped() {
    const before = this.#files;
    try {
      const photos = await shippedPhotos();
      // Others may have been chosen meanwhile.
      if (this.#files === before) await this.take(photos, "the shipped photos");
    } catch (error) {
      this.#complain(`The shipped photos could not be loaded: ${error.message}`);
    }
  }

  #stop() {
    this.#turn++;
    element("explore-stop").disabled = true;
    this.#progress(null);
    this.#say("Stopped.");
    this.#setState("done");
  }

  // Looks at the files that were taken.
  async #look() {
    const turn = ++this.#turn;
    const stopped = () => turn !== this.#turn;
    const files = this.#files.slice(0, MOST);
    const began = performance.now();
    this.#complain("");
    element("explore-again").hidden = true;
    element("explore-stop").disabled = false;
    this.#progress(0);
    this.#say(`Reading the network…`);
    this.#setState("running");
    try {
      const { weights } = this.#encoder;
      const found = await collect(this.#encoder, files, {
        stopped,
        onprogress: (count) => {
          if (stopped()) return;
          this.#progress(count / files.length);
          this.#say(`Looked at ${whole.format(count)} of ${counted(files.length, "picture")}…`);
        },
      });
      if (stopped()) return;
      if (found.items.length < 2) throw new Error(found.items.length ? "One picture has no neighbours: choose more." : `None of the files can be read: ${found.skipped[0]?.reason ?? ""}`);
      if (found.features.some((value) => !Number.isFinite(value))) throw new Error("The network's features are not finite: it diverged.");
      const near = await this.#nearest(found);
      const classes = foldersAsClasses(found.items.map(({ name }) => name));
      const principal = await this.#engine.call("principal", [found.features, found.width]);
      const told = classes.names.length ? await this.#leftOut(found, classes) : null;
      if (stopped()) return;
      found.bitmaps = await Promise.all(found.items.map(({ view }) => createImageBitmap(view)));
      if (stopped()) return;
      this.#show({ ...found, near, classes, told, weights, seconds: (performance.now() - began) / 1000 }, principal);
      this.#setState("done");
    } catch (error) {
      if (stopped()) return;
      this.#complain(error.message);
      this.#say("");
      this.#setState("failed");
    }
    this.#progress(null);
    element("explore-stop").disabled = true;
  }

  // The nearest others of each picture: lists of `[cosine, number]`.
  async #nearest({ features, width, items }) {
    const k = Math.min(NEAREST, items.length - 1);
    const flat = await this.#engine.call("nearest", [features, width, k]);
    return items.map((_, i) => Array.from({ length: k }, (_, n) => [flat[2 * (i * k + n)], flat[2 * (i * k + n) + 1]]));
  }

  #leftOut({ features, width, items }, { of, names }) {
    return this.#engine.call("left_out", [features, width, Uint32Array.from(of), names.length, Math.min(VOTERS, items.length - 1)]);
  }

  #show(found, principal) {
    this.#urls.forEach((url) => URL.revokeObjectURL(url));
    this.#urls.clear();
    this.#found?.bitmaps.forEach((bitmap) => bitmap.close());
    this.#mapping?.terminate();
    [this.#mapping, this.#found, this.#places] = [null, found, { principal }];
    const { items, skipped, seconds, classes, told } = found;
    const from = this.#title ? ` (${this.#title})` : "";
    const over = this.#files.length > MOST ? ` The first ${whole.format(MOST)} of ${whole.format(this.#files.length)} are shown.` : "";
    const left = skipped.length ? ` ${counted(skipped.length, "file")} ${skipped.length === 1 ? "was" : "were"} skipped.` : "";
    this.#say(`${counted(items.length, "picture")}${from}, looked at in ${seconds.toFixed(1)} s.${left}${over}`);
    listSkipped("explore-skipped", skipped);
    element("map-card").hidden = element("near-card").hidden = false;
    this.#legend(classes, told);
    this.#doubles();
    this.#showMap(this.#kind);
    this.choose(0);
  }

  // The classes with their colours, and how well neighbours tell them.
  #legend({ names, of }, told) {
    element("classes-card").hidden = names.length === 0;
    if (names.length === 0) return;
    const sizes = names.map((_, number) => of.filter((other) => other === number).length);
    element("classes-note").textContent =
      `${percent(told.top1)} of the pictures have the class that their ${told.k} nearest neighbours vote for, by the cosine of the features. ` +
      `Always naming the largest class would be right for ${percent(told.chance)}. Classes are the folders; the network has not been told them.`;
    element("classes").replaceChildren(
      ...names.map((name, number) => {
        const item = made("li");
        const swatch = made("span", { className: "swatch" });
        swatch.style.backgroundColor = colourOf(number);
        item.append(swatch, `${shownName(name)}: ${counted(sizes[number], "picture")}, ${percent(told.classes[number] ?? 0, 0)} right`);
        return item;
      }),
    );
  }

  #doubles() {
    const { items, near } = this.#found;
    const groups = doubles(items, near);
    element("doubles-note").textContent = groups.length ? `${counted(groups.length, "group")} of pictures that show the same:` : "No two pictures show the same.";
    const shown = groups.slice(0, LONGEST_LIST).map((group) => {
      const item = made("li");
      item.append(...group.map((number) => this.#button(number, shownName(items[number].name))));
      return item;
    });
    if (groups.length > shown.length) shown.push(made("li", { textContent: `and ${whole.format(groups.length - shown.length)} more groups` }));
    element("doubles").replaceChildren(...shown);
  }

  // --- the map

  async #showMap(kind) {
    this.#kind = kind;
    if (!this.#found) return;
    for (const radio of document.querySelectorAll('#explore [name="map-kind"]')) radio.checked = radio.value === kind;
    if (kind === "neighbours" && !this.#places.neighbours && !(await this.#layOut())) return;
    if (this.#kind !== kind) return;
    const { bitmaps, classes } = this.#found;
    const items = bitmaps.map((view, i) => ({ view, colour: classes.names.length ? colourOf(classes.of[i]) : null }));
    this.#map.show(items, this.#places[kind]);
    element("map").setAttribute("aria-label", `Map of ${counted(items.length, "picture")}`);
    element("map-note").textContent = {
      principal: "Laid out along the two directions in which the features vary most (principal components): what lies far apart differs most.",
      neighbours: "Laid out so that nearest neighbours stay together (UMAP): groups mean something, distances between groups little.",
    }[kind];
  }

  // Makes the map that keeps neighbours together, in a thread of its own; false if it cannot be.
  async #layOut() {
    const found = this.#found;
    element("map-note").textContent = "Laying out…";
    try {
      if (found.items.length < 5) throw new Error("a map of neighbours needs at least 5 pictures");
      const there = await fetch(UMAP, { method: "HEAD" });
      if (!there.ok) throw new Error("this copy of the page comes without umap-js");
      this.#mapping?.terminate();
      const worker = (this.#mapping = new Worker(new URL("map-worker.js", import.meta.url)));
      const places = await new Promise((resolve, reject) => {
        worker.onmessage = ({ data: { share, places } }) => {
          if (places) resolve(places);
          else if (this.#kind === "neighbours") element("map-note").textContent = `Laying out: ${Math.round(100 * share)} %`;
        };
        worker.onerror = (event) => {
          event.preventDefault();
          reject(new Error(event.message || "its program could not be loaded"));
        };
        // Each picture is its own nearest neighbour there.
        const lists = (of, own) => found.near.map((others, i) => [own(i), ...others.map(of)]);
        worker.postMessage({
          neighbours: lists(([, other]) => other, (i) => i),
          distances: lists(([cosine]) => Math.max(0, 1 - cosine), () => 0),
          seed: 1,
        });
      });
      worker.terminate();
      if (this.#found !== found) return false;
      this.#places.neighbours = places;
      return true;
    } catch (error) {
      this.#kind = "principal";
      await this.#showMap("principal");
      element("map-note").textContent = `The map of neighbours could not be made: ${error.message}.`;
      return false;
    }
  }

  // --- one picture

  #words(number) {
    const { items, classes } = this.#found;
    const of = classes.names.length ? `, of ${shownName(classes.names[classes.of[number]])}` : "";
    return `${shownName(items[number].name.split("/").at(-1))}${of}`;
  }

  // A picture, from its file; where the browser does not show that, as the network sees it.
  #image(number, alt) {
    const { items } = this.#found;
    const { file, view } = items[number];
    if (!this.#urls.has(number)) this.#urls.set(number, URL.createObjectURL(file));
    const image = made("img", { alt, src: this.#urls.get(number), loading: "lazy", decoding: "async" });
    image.addEventListener("error", () => {
      const canvas = made("canvas", { width: view.width, height: view.height, role: "img", ariaLabel: alt });
      canvas.getContext("2d").putImageData(view, 0, 0);
      image.replaceWith(canvas);
    });
    return image;
  }

  #button(number, words) {
    const button = made("button", { type: "button", title: this.#found.items[number].name });
    button.append(this.#image(number, this.#words(number)), made("span", { textContent: words }));
    button.addEventListener("click", () => {
      this.choose(number);
      element("near-title").scrollIntoView({ block: "nearest" });
    });
    return button;
  }

  // Shows a picture and its nearest.
  choose(number) {
    const { near } = this.#found;
    this.#map.choose(number);
    element("near-chosen").replaceChildren(this.#image(number, this.#words(number)), made("p", { textContent: this.#words(number), className: "note" }));
    element("near").replaceChildren(
      ...near[number].slice(0, SHOWN).map(([cosine, other]) => {
        const item = made("li");
        item.append(this.#button(other, fixed(cosine)));
        return item;
      }),
    );
  }

  // --- what is said

  #networkChanged() {
    const { weights } = this.#encoder;
    const old = this.#found && this.#found.weights !== weights;
    element("explore-again").hidden = !old;
  }

  #progress(share) {
    const bar = element("explore-progress");
    bar.classList.toggle("idle", share === null);
    bar.value = share ?? 0;
  }

  #say(text) {
    element("explore-note").textContent = text;
  }

  #complain(text) {
    element("explore-error").textContent = text;
  }
}
