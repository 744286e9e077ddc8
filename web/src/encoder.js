// The network whose features Explore and Teach take: the one of Reconstruct, or weights that were opened for them. Its encoder
// is read when features are first asked for.

export class Encoder extends EventTarget {
  #engine;
  #shown; // () => {source, title} of the network of Reconstruct, or null
  #own = null; // {source, title} of weights opened for features alone
  #held = null; // what the thread holds the encoder of
  #description = null;
  #opening = Promise.resolve();

  constructor(engine, shown) {
    super();
    [this.#engine, this.#shown] = [engine, shown];
    engine.addEventListener("restart", () => (this.#held = null));
  }

  // {source, title} of the network that features are taken of; null while there is none.
  get weights() {
    return this.#own ?? this.#shown();
  }

  // The classes that the network tells apart already, as far as it is read.
  get classes() {
    return this.#held !== null && this.#held === this.weights ? this.#description.classes : [];
  }

  // Another network is shown in Reconstruct.
  follow() {
    if (!this.#own) this.dispatchEvent(new Event("change"));
  }

  // Takes these weights from now on, or those of Reconstruct again where there are none. Fails, and changes nothing, where they
  // hold no encoder.
  async choose(weights) {
    this.#opening = this.#opening.catch(() => {}).then(async () => {
      if (weights) await this.#open(weights);
      this.#own = weights;
    });
    await this.#opening;
    this.dispatchEvent(new Event("change"));
  }

  // What is known of the encoder, which is read unless it is held.
  ready() {
    this.#opening = this.#opening.catch(() => {}).then(() => {
      const { weights } = this;
      if (!weights) throw new Error("There is no network yet: open weights, or train a network in Train.");
      return this.#held === weights ? this.#description : this.#open(weights);
    });
    return this.#opening;
  }

  async #open(weights) {
    const before = this.#held;
    this.#held = null;
    try {
      this.#description = await this.#engine.call("encoder_open", [weights.source]);
      this.#held = weights;
      return this.#description;
    } catch (error) {
      this.#held = before; // the thread holds it still
      throw error;
    }
  }

  // Features of pictures, a batch at a time; each of `sources` is called for its picture, a file or `{rgba, width, height}`, when
  // its turn comes. `onbatch({first, views, features, width, height})` is told of each batch: the views are `{rgba}` or
  // `{error}`, the features one row after the other of those without an error. Ends early when `stopped()` says so, and fails where
  // another network is opened meanwhile: features of two do not go together.
  async features(sources, onbatch, stopped = () => false) {
    const { batch } = await this.ready();
    const held = this.#held;
    const same = () => {
      if (this.#held !== held) throw new Error("Another network was opened meanwhile.");
    };
    for (let first = 0; first < sources.length && !stopped(); first += batch) {
      const some = sources.slice(first, first + batch);
      const read = await Promise.all(some.map((source) => source().catch((error) => ({ error: error.message }))));
      same();
      const found = await this.#engine.call("encoder_features", [read]);
      same();
      onbatch({ first, ...found });
    }
  }
}
