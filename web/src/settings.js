// The settings of a run: the form, and what is read from it. What was entered last is kept for the next visit.

// What the presets set, shown where a field is left empty.
const PRESETS = {
  nano: { image_size: 32, patch_size: 4, width: 128, depth: 6, heads: 4, peak_learning_rate: 0.001 },
  tiny: { image_size: 32, patch_size: 4, width: 192, depth: 12, heads: 3, peak_learning_rate: 0.001 },
};
// What the methods set: how patches are hidden, and what is said of it.
const METHODS = {
  bootmae: { name: "BootMAE", masking: "blocks" },
  mae: { name: "MAE", masking: "random" },
};
const MODEL = ["image_size", "patch_size", "width", "depth", "heads"];
const TRAINING = ["steps", "batch_size", "peak_learning_rate", "seed", "save_every_steps"];
// What a run that goes on may change.
const RESUMED = ["steps", "peak_learning_rate"];
// What only this page does with a run, at any time.
const SHOWN = ["preview_every"];
const STORED = "bootmae-settings";

export class Settings {
  #form;
  #fields; // those that hold a setting, by name

  // `onchange()` is called when the visitor changes something.
  constructor(form, onchange) {
    this.#form = form;
    this.#fields = Object.fromEntries([...form.elements].filter(({ name }) => name).map((field) => [field.name, field]));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", ({ target }) => {
      // Each method has its own way of hiding patches.
      if (target === this.#fields.kind) this.#fields.masking.value = "";
      this.#showPreset();
      this.#store();
      onchange();
    });
    this.#restore();
    this.#showPreset();
  }

  // What stands in the fields, as text.
  get values() {
    return Object.fromEntries(Object.entries(this.#fields).map(([name, { value }]) => [name, value]));
  }

  // Puts text into the fields; one that a field does not take is left out.
  fill(values) {
    for (const [name, field] of Object.entries(this.#fields)) {
      if (typeof values?.[name] !== "string") continue;
      const before = field.value;
      field.value = values[name];
      if (field.value !== values[name]) field.value = before;
    }
    this.#showPreset();
    this.#store();
  }

  // The wished length of the run in steps.
  get steps() {
    return this.#fields.steps.valueAsNumber || 0;
  }

  // `bootmae` or `mae`.
  get method() {
    return this.#fields.kind.value;
  }

  // Steps between two looks at nearest neighbours: null to let the time decide, 0 for never.
  get neighboursEvery() {
    const { valueAsNumber } = this.#fields.knn_every;
    return Number.isInteger(valueAsNumber) && valueAsNumber >= 0 ? valueAsNumber : null;
  }

  get peakRate() {
    return this.#fields.peak_learning_rate.value || this.#fields.peak_learning_rate.placeholder;
  }

  // Marks the field that something is wrong with; none with null.
  mark(field) {
    for (const other of Object.values(this.#fields)) other.toggleAttribute("aria-invalid", false);
    field?.setAttribute("aria-invalid", "true");
    if (field?.closest("details")) field.closest("details").open = true;
  }

  // `which`: "all", "resumed" (what a run that goes on may change) or "none".
  enable(which) {
    for (const [name, field] of Object.entries(this.#fields)) {
      field.disabled = !(which === "all" || SHOWN.includes(name) || (which === "resumed" && RESUMED.includes(name)));
    }
  }

  // The settings of a new run.
  read() {
    this.#refuseUnreadable();
    const { preset, kind, masking } = this.#fields;
    const hidden = masking.value ? { masking: masking.value } : {};
    return {
      model: { preset: preset.value, kind: kind.value, ...hidden, ...this.#given(MODEL) },
      training: this.#given(TRAINING),
    };
  }

  // What a run that goes on takes from here.
  changes() {
    this.#refuseUnreadable();
    return this.#given(RESUMED);
  }

  #refuseUnreadable() {
    const unreadable = Object.values(this.#fields).find(({ validity }) => validity.badInput);
    if (unreadable) throw new Error(`${unreadable.labels[0].textContent}: this is not a number.`);
  }

  #given(names) {
    const set = names.map((name) => [name, this.#fields[name].valueAsNumber]).filter(([, value]) => !Number.isNaN(value));
    return Object.fromEntries(set);
  }

  #showPreset() {
    for (const [name, value] of Object.entries(PRESETS[this.#fields.preset.value])) this.#fields[name].placeholder = String(value);
    const { name, masking } = METHODS[this.method];
    this.#fields.masking.options[0].textContent = `as ${name} does: ${masking}`;
    for (const note of document.querySelectorAll("#method-note > p")) note.hidden = note.dataset.method !== this.method;
  }

  #store() {
    try {
      localStorage.setItem(STORED, JSON.stringify(this.values));
    } catch {
      // A browser that keeps nothing says so elsewhere.
    }
  }

  #restore() {
    try {
      this.fill(JSON.parse(localStorage.getItem(STORED)));
    } catch {
      // Nothing kept, or nothing readable: the defaults.
    }
  }
}
