// The Teach section: classes from pictures or the camera, a classifier on the network's features that is learnt from them in the
// tab, and what it says of other pictures.

import { colourOf } from "./map.js";
import { chosen, download, picker, shownName } from "./files.js";
import { foldersAsClasses } from "./classes.js";
import { picturesAmong } from "./collection.js";
import { Live } from "./live.js";
import { counted } from "./pictures.js";
import { readable } from "./readable.js";

const RECORD_MS = 300; // between two pictures of a recording
const LONGEST_RECORDING = 40; // pictures
const SHOWN = 12; // of the newest pictures of a class
const MOST = 2000; // pictures of a class
const MOST_CLASSES = 100;
const FILE = "bootmae-classifier.safetensors";

const element = (id) => document.getElementById(id);
const made = (tag, fields = {}) => Object.assign(document.createElement(tag), fields);
// Whole per cents; only what is certain is 100.
const percent = (share) => `${share < 1 ? Math.min(99, Math.round(100 * share)) : 100} %`;

export class Teach {
  #engine;
  #encoder;
  #setState;
  #classes = []; // {name, examples: [{source, view, feature, weights}], row}, weights those that made the feature
  #taught = null; // {names, weights} of what was learnt
  #live;
  #recording = null; // {of, timer}
  #watching = false;
  #busy = 0;
  #number = 0;

  // `encoder` gives features, `setState(state)` tells the page what goes on.
  constructor({ engine, encoder, setState }) {
    [this.#engine, this.#encoder, this.#setState] = [engine, encoder, setState];
    this.#live = new Live(element("teach-video"), (on) => this.#cameraChanged(on));
    element("teach-camera").addEventListener("click", () => this.#toggleCamera());
    element("add-class").addEventListener("click", () => this.#addClass().row.querySelector("input").focus());
    picker(element("teach-folder"), element("teach-folder-input"), (files) => this.take(chosen(files)));
    picker(element("try-files"), element("try-files-input"), (files) => this.#try(chosen(files)));
    element("learn").addEventListener("click", () => this.#learn());
    element("save-classifier").addEventListener("click", () => this.#save());
    encoder.addEventListener("change", () => this.#networkChanged());
    engine.addEventListener("restart", () => this.#forget());
    this.#addClass();
    this.#addClass();
  }

  // Takes files: each folder among them is a class. Those of one folder are tried on, where something was learnt, and else
  // become examples of the first class.
  async take(files) {
    const pictures = picturesAmong(files);
    if (pictures.length === 0) return this.#complain(files.length ? "None of the files has the name of a picture." : "There is no file in it.");
    const folders = foldersAsClasses(pictures.map(({ name }) => name));
    if (folders.names.length > MOST_CLASSES) return this.#complain(`These are ${folders.names.length} folders; at most ${MOST_CLASSES} classes can be taught.`);
    if (folders.names.length === 0) {
      if (this.#taught) return this.#try(pictures);
      return this.#add(this.#classes.find(({ examples }) => examples.length === 0) ?? this.#addClass(), pictures);
    }
    // Classes that nobody has put anything into make way.
    for (const empty of this.#classes.filter(({ examples }) => examples.length === 0)) this.#remove(empty);
    for (const [number, name] of folders.names.entries()) {
      const of = this.#classes.find((other) => other.name === name) ?? this.#addClass(name);
      await this.#add(of, pictures.filter((_, i) => folders.of[i] === number));
    }
  }

  // --- classes

  #addClass(name = `Class ${++this.#number}`) {
    const of = { name, examples: [], row: made("li", { className: "class" }) };
    const label = made("input", { type: "text", value: name, maxLength: 100, ariaLabel: "Name of the class", autocomplete: "off" });
    label.addEventListener("input", () => {
      of.name = label.value.trim() || label.placeholder;
      this.#forget();
      this.#controls();
    });
    label.placeholder = name;
    const file = made("input", { type: "file", accept: "image/*", multiple: true, hidden: true });
    const choose = made("button", { type: "button", textContent: "Add pictures" });
    picker(choose, file, (files) => this.#add(of, chosen(files)));
    const record = made("button", { type: "button", textContent: "Record", className: "record" });
    record.addEventListener("click", () => this.#toggleRecording(of));
    const remove = made("button", { type: "button", textContent: "Remove", className: "remove" });
    remove.addEventListener("click", () => {
      this.#remove(of);
      element("add-class").focus();
    });
    const head = made("div", { className: "row" });
    head.append(label, choose, file, record, remove);
    of.row.append(head, made("p", { className: "note" }), made("ul", { className: "views" }));
    this.#classes.push(of);
    element("teach-classes").append(of.row);
    this.#showClass(of);
    this.#controls();
    return of;
  }

  #remove(of) {
    if (this.#recording?.of === of) this.#stopRecording();
    of.row.remove();
    this.#classes = this.#classes.filter((other) => other !== of);
    this.#forget();
    this.#controls();
  }

  #showClass(of) {
    const [note, views] = [of.row.querySelector(".note"), of.row.querySelector(".views")];
    note.textContent = of.examples.length ? counted(of.examples.length, "picture") : "No pictures yet.";
    views.replaceChildren(
      ...of.examples.slice(-SHOWN).map(({ view }) => {
        const item = made("li");
        const canvas = made("canvas", { width: view.width, height: view.height });
        canvas.getContext("2d").putImageData(view, 0, 0);
        item.append(canvas);
        return item;
      }),
    );
    views.setAttribute("aria-hidden", "true");
  }

  // Adds pictures to a class, with their features.
  async #add(of, files) {
    const room = files.slice(0, Math.max(0, MOST - of.examples.length));
    await this.#work(async () => {
      const skipped = await this.#examples(room.map(({ name, file }) => () => readable(file, name)), (examples) => {
        of.examples.push(...examples);
        this.#showClass(of);
      });
      const more = files.length - room.length;
      const lines = [
        skipped.length ? `${counted(skipped.length, "file")} could not be read (${shownName(room[skipped[0].at].name)}: ${skipped[0].reason}).` : "",
        more ? `A class takes at most ${MOST} pictures; ${more} were left out.` : "",
      ];
      this.#complain(lines.filter(Boolean).join(" "));
    });
  }

  // Features of pictures: `onexamples` is told of those that can be read, as they come; resolves to those that cannot be.
  async #examples(sources, onexamples) {
    const { width } = await this.#encoder.ready();
    const { weights } = this.#encoder;
    const skipped = [];
    const kept = [];
    const keeping = sources.map((source, i) => async () => (kept[i] = await source()));
    await this.#encoder.features(keeping, ({ first, views, features, ...shape }) => {
      const examples = [];
      let row = 0;
      views.forEach(({ rgba, error }, i) => {
        if (error) skipped.push({ at: first + i, reason: error });
        else {
          const view = new ImageData(new Uint8ClampedArray(rgba.buffer), shape.width, shape.height);
          examples.push({ source: kept[first + i], view, feature: features.slice(row * width, (row + 1) * width), weights });
          row++;
        }
      });
      onexamples(examples);
    });
    return skipped;
  }

  // --- camera

  async #toggleCamera() {
    if (this.#live.on) return this.#live.off();
    this.#complain("");
    try {
      await this.#live.open();
    } catch (error) {
      this.#complain(error.message);
    }
  }

  #cameraChanged(on) {
    element("teach-camera").textContent = on ? "Switch the camera off" : "Switch the camera on";
    element("teach-stage").hidden = !on;
    if (!on) this.#stopRecording();
    this.#controls();
    this.#watch();
  }

  #toggleRecording(of) {
    const was = this.#recording?.of;
    this.#stopRecording();
    if (was === of) return;
    let [taken, busy] = [0, false];
    const take = async () => {
      if (busy || !this.#live.on) return;
      busy = true;
      const frame = this.#live.frame();
      try {
        await this.#examples([async () => frame], (examples) => {
          of.examples.push(...examples);
          this.#showClass(of);
        });
      } catch (error) {
        this.#stopRecording();
        this.#complain(error.message);
      }
      busy = false;
      if (++taken >= LONGEST_RECORDING || of.examples.length >= MOST) this.#stopRecording();
    };
    this.#recording = { of, timer: setInterval(take, RECORD_MS) };
    take();
    this.#controls();
  }

  #stopRecording() {
    clearInterval(this.#recording?.timer);
    this.#recording = null;
    this.#controls();
  }

  // Says what the camera shows, as long as it is on and something is learnt.
  async #watch() {
    if (this.#watching) return;
    this.#watching = true;
    while (this.#live.on && this.#taught && document.visibilityState === "visible" && !element("teach").hidden) {
      if (this.#recording || this.#busy) {
        await new Promise((resolve) => setTimeout(resolve, RECORD_MS));
        continue;
      }
      try {
        const frame = this.#live.frame();
        const [told] = await this.#tell([async () => frame]);
        if (told && this.#taught) this.#bars(told.probabilities, "The camera");
      } catch (error) {
        this.#complain(error.message);
        break;
      }
      await new Promise((resolve) => requestAnimationFrame(resolve));
    }
    this.#watching = false;
  }

  // The section is shown again.
  shown() {
    this.#watch();
  }

  // --- learning

  get #teachable() {
    return this.#classes.length > 1 && this.#classes.every(({ examples }) => examples.length > 1);
  }

  async #learn() {
    const names = this.#classes.map(({ name }) => name);
    if (new Set(names).size < names.length) return this.#complain("Two classes have the same name.");
    await this.#work(async () => {
      await this.#renew();
      await this.#encoder.ready();
      const { weights } = this.#encoder;
      const examples = this.#classes.flatMap(({ examples }) => examples);
      if (examples.some((example) => example.weights !== weights)) throw new Error("Another network was opened meanwhile: press Learn again.");
      const features = new Float32Array(examples.length * examples[0].feature.length);
      examples.forEach(({ feature }, i) => features.set(feature, i * feature.length));
      const of = Uint32Array.from(this.#classes.flatMap(({ examples }, number) => examples.map(() => number)));
      const { unseen, seconds } = await this.#engine.call("teach", [features, of, names]);
      this.#taught = { names, weights };
      this.#complain("");
      element("teach-note").textContent =
        `Learnt from ${counted(examples.length, "picture")} in ${seconds.toFixed(1)} s. Of pictures that it has not learnt from, such a classifier tells ` +
        `${percent(unseen.top1)} right (five-fold cross-validation).`;
      this.#confusion(names, unseen.confusion);
    });
    this.#watch();
  }

  // Takes the features of those examples anew that another network made.
  async #renew() {
    await this.#encoder.ready();
    const { weights } = this.#encoder;
    for (const of of this.#classes.filter(({ examples }) => examples.some((example) => example.weights !== weights))) {
      const [renewed, before] = [[], of.examples.length];
      await this.#examples(of.examples.map(({ source }) => async () => source), (examples) => renewed.push(...examples));
      of.examples = [...renewed, ...of.examples.slice(before)]; // others may have been added meanwhile
    }
  }

  #confusion(names, rows) {
    const table = made("table");
    table.append(made("caption", { textContent: "Pictures not learnt from, by what they were taken for" }));
    const head = made("tr");
    head.append(made("td"), ...names.map((name) => made("th", { scope: "col", textContent: shownName(name) })));
    const body = rows.map((row, i) => {
      const line = made("tr");
      line.append(made("th", { scope: "row", textContent: shownName(names[i]) }), ...row.map((count, j) => made("td", { textContent: String(count), className: i === j ? "right" : count ? "wrong" : "" })));
      return line;
    });
    table.append(head, ...body);
    element("confusion").replaceChildren(...(names.length <= 12 ? [table] : []));
  }

  // What was learnt does not hold any more.
  #forget() {
    this.#taught = null;
    element("teach-note").textContent = "";
    element("confusion").replaceChildren();
    element("bars").replaceChildren();
    element("try-note").textContent = "";
    element("tried").replaceChildren();
    this.#controls();
  }

  // A network that was taught before tells its classes at once.
  #networkChanged() {
    this.#forget();
    const { classes, weights } = this.#encoder;
    if (classes.length > 0) {
      this.#taught = { names: classes, weights };
      const names = classes.length > 12 ? "" : `: ${classes.map(shownName).join(", ")}`;
      element("teach-note").textContent = `${weights.title} tells ${classes.length} classes apart already${names}. Try it on pictures or the camera, or teach it others.`;
    }
    this.#controls();
    this.#watch();
  }

  // --- trying

  // What is said of pictures: `[{view, probabilities}]` of those that can be read.
  async #tell(sources) {
    const told = [];
    const batches = [];
    const skipped = await this.#examples(sources, (examples) => batches.push(examples));
    for (const { view, feature } of batches.flat()) told.push({ view, probabilities: await this.#engine.call("probabilities", [feature]) });
    told.skipped = skipped;
    return told;
  }

  async #try(files) {
    if (!this.#taught) return this.#complain("Nothing is learnt yet.");
    const pictures = files.slice(0, 100);
    await this.#work(async () => {
      const told = await this.#tell(pictures.map(({ name, file }) => () => readable(file, name)));
      const bad = new Set(told.skipped.map(({ at }) => at));
      const names = pictures.filter((_, i) => !bad.has(i)).map(({ name }) => name);
      this.#complain(bad.size ? `${counted(bad.size, "file")} could not be read: ${told.skipped[0].reason}` : "");
      element("tried").replaceChildren(
        ...told.map(({ view, probabilities }, i) => {
          const best = probabilities.indexOf(Math.max(...probabilities));
          const item = made("li");
          const canvas = made("canvas", { width: view.width, height: view.height, role: "img", ariaLabel: shownName(names[i]) });
          canvas.getContext("2d").putImageData(view, 0, 0);
          item.append(canvas, made("p", { textContent: `${this.#taught.names[best]}: ${percent(probabilities[best])}` }), made("p", { className: "note", textContent: shownName(names[i].split("/").at(-1)) }));
          return item;
        }),
      );
      if (told.length === 1) this.#bars(told[0].probabilities, shownName(names[0]));
    });
  }

  #bars(probabilities, title) {
    const best = probabilities.indexOf(Math.max(...probabilities));
    const { names } = this.#taught;
    const words = `${title}: ${names[best]}, ${percent(probabilities[best])}.`;
    const bars = element("bars");
    if (bars.childElementCount !== names.length) {
      bars.replaceChildren(
        ...names.map((name, number) => {
          const item = made("li");
          const bar = made("meter", { min: 0, max: 1, ariaLabel: name });
          bar.style.setProperty("--bar", colourOf(number));
          item.append(made("span", { textContent: shownName(name) }), bar, made("span", { className: "value" }));
          return item;
        }),
      );
    }
    [...bars.children].forEach((item, number) => {
      item.querySelector("meter").value = probabilities[number];
      item.querySelector(".value").textContent = percent(probabilities[number]);
      item.classList.toggle("best", number === best);
    });
    const note = element("try-note");
    // A camera would have it read out without end.
    if (note.dataset.best !== String(best) || title !== "The camera") note.textContent = words;
    note.dataset.best = String(best);
  }

  async #save() {
    await this.#work(async () => {
      const blob = await this.#engine.call("classifier");
      download(FILE, blob);
      element("save-note").textContent = `Saved ${FILE} (${(blob.size / 1e6).toFixed(1)} MB). In the terminal: bootmae predict --checkpoint ${FILE} PICTURE`;
    });
  }

  // --- what is said

  // Does `work` while the controls wait; what goes wrong is said.
  async #work(work) {
    this.#busy++;
    this.#setState("running");
    this.#controls();
    let failed = false;
    try {
      await work();
    } catch (error) {
      failed = true;
      this.#complain(error.message);
    }
    this.#busy--;
    if (!this.#busy) this.#setState(failed ? "failed" : "done");
    this.#controls();
  }

  #controls() {
    const [busy, taught] = [this.#busy > 0, this.#taught !== null];
    element("learn").disabled = busy || !this.#teachable || this.#recording !== null;
    element("save-classifier").disabled = busy || !taught;
    element("try-files").disabled = busy || !taught;
    element("try-hint").hidden = taught;
    if (!taught) element("save-note").textContent = "";
    for (const of of this.#classes) {
      const [record, remove] = [of.row.querySelector(".record"), of.row.querySelector(".remove")];
      if (record) {
        record.disabled = !this.#live.on || busy;
        record.textContent = this.#recording?.of === of ? "Stop recording" : "Record";
      }
      if (remove) remove.disabled = busy || this.#classes.length < 3;
    }
    const few = this.#classes.filter(({ examples }) => examples.length < 2).map(({ name }) => name);
    element("learn-hint").textContent = few.length ? `Each class needs at least 2 pictures; ten or more are better. Missing: ${few.map(shownName).join(", ")}.` : "";
  }

  #complain(text) {
    element("teach-error").textContent = text;
  }
}
