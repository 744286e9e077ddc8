// The page's side of worker.js: `call` sends one call and resolves to its answer. When the thread crashes, everything
// outstanding and everything later is refused with the reason, until `restart` makes a new thread. That happens only when
// a person asks for it, so a failure that comes back cannot loop. While its program loads, `loading` events say how far it is:
// `[bytes, of]`, `of` 0 where that is not known.

export class Engine extends EventTarget {
  #url;
  #worker = null;
  #pending = new Map();
  #next = 0;

  constructor(url = new URL("worker.js", import.meta.url)) {
    super();
    this.#url = url;
    // Why the thread cannot be used, in words; null while it can.
    this.dead = null;
    this.restart();
  }

  restart() {
    this.#worker?.terminate();
    this.dead = null;
    const worker = new Worker(this.#url, { type: "module" });
    worker.addEventListener("message", ({ data }) => this.#receive(data));
    worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.#crash(worker, event.message || "its program could not be loaded");
    });
    worker.addEventListener("messageerror", () => this.#crash(worker, "an answer could not be read"));
    this.#worker = worker;
    this.dispatchEvent(new Event("restart"));
  }

  // `args` are copied to the thread; buffers named in `transfer` are handed over.
  call(name, args = [], transfer = []) {
    if (this.dead) return Promise.reject(new Error(this.dead));
    const id = this.#next++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      try {
        this.#worker.postMessage({ id, call: name, args }, transfer);
      } catch (error) {
        this.#pending.delete(id);
        reject(error);
      }
    });
  }

  #receive({ id, ok, error, crash, loading }) {
    if (loading) {
      this.dispatchEvent(new CustomEvent("loading", { detail: loading }));
      return;
    }
    if (crash !== undefined) {
      this.#crash(this.#worker, crash);
      return;
    }
    const waiting = this.#pending.get(id);
    this.#pending.delete(id);
    if (error === undefined) waiting?.resolve(ok);
    else waiting?.reject(new Error(error));
  }

  #crash(worker, reason) {
    if (worker !== this.#worker || this.dead) return;
    this.dead = `The computing part of the page stopped: ${reason}`;
    worker.terminate();
    for (const { reject } of this.#pending.values()) reject(new Error(this.dead));
    this.#pending.clear();
    this.dispatchEvent(new Event("crash"));
  }
}
