// What is kept in the browser's storage (IndexedDB) across reloads: runs with their last state, and the pictures that a
// visitor chose. Nothing of it is sent anywhere.
//
// A run and a collection belong to the tab that wrote them last. A tab holds a lock of its name while it is open, so that
// no other tab takes over or discards what it works on. The name outlives a reload in `sessionStorage`.
//
// | store | key | value |
// |---|---|---|
// | runs | id | `{id, tab, step, steps, bytes, savedAt, settings, pictures}` |
// | states | id | the checkpoint's archive, a Blob |
// | collections | id | `{id, tab, title, files}`, `files` their number |
// | files | [id of the collection, number] | `{name, file}`, `file` a Blob |

const DATABASE = "bootmae";
const STORES = ["runs", "states", "collections", "files"];
const TAB_KEY = "bootmae-tab";
const CLAIM = "bootmae-claim";
const RELOAD_MS = 1000; // how long the lock of a page that is being reloaded may take to be free

export const LARGEST_COLLECTION = 256 * 2 ** 20;
// Of the room that the browser gives, pictures take at most this share: the run comes first.
const COLLECTION_SHARE = 0.25;

const lockName = (tab) => `bootmae-tab-${tab}`;
const filesOf = (id) => IDBKeyRange.bound([id, 0], [id, Infinity]);

function answered(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function openDatabase() {
  const request = indexedDB.open(DATABASE, 1);
  request.onupgradeneeded = () => STORES.forEach((name) => request.result.createObjectStore(name));
  return answered(request);
}

// Holds the lock until the page is left; false if another page has it.
function hold(name, patience) {
  return new Promise((resolve) => {
    const options = { signal: AbortSignal.timeout(patience) };
    const held = () => {
      resolve(true);
      return new Promise(() => {});
    };
    navigator.locks.request(name, options, held).catch(() => resolve(false));
  });
}

async function ownName() {
  const before = sessionStorage.getItem(TAB_KEY);
  // A duplicated tab has a copy of the other's name.
  if (before && (await hold(lockName(before), RELOAD_MS))) return before;
  const name = crypto.randomUUID();
  sessionStorage.setItem(TAB_KEY, name);
  await hold(lockName(name), RELOAD_MS);
  return name;
}

// A storage error as a visitor reads it.
export function words(error) {
  if (error?.name === "QuotaExceededError") return "the browser has no room left for this page";
  return error?.message || String(error);
}

export class Kept {
  #database = null;
  #tab = null;
  // Why nothing can be kept, in words; null if it can.
  missing = null;

  // Opens the storage; where the browser has none, everything here still answers, with nothing kept.
  static async open() {
    const kept = new Kept();
    try {
      kept.#tab = await ownName();
      kept.#database = await openDatabase();
      kept.#database.onversionchange = () => kept.#database.close();
      await kept.sweep();
    } catch (error) {
      kept.#database = null;
      kept.missing = words(error);
    }
    return kept;
  }

  // Lets `work` write to the stores in one transaction: all of it is on the disk afterwards, or nothing.
  async #change(names, work) {
    if (!this.#database) throw new Error(this.missing);
    const transaction = this.#database.transaction(names, "readwrite", { durability: "strict" });
    const done = new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = () => reject(transaction.error ?? new Error("the browser broke off writing"));
    });
    try {
      work(Object.fromEntries(names.map((name) => [name, transaction.objectStore(name)])));
    } catch (error) {
      done.catch(() => {});
      transaction.abort();
      throw error;
    }
    await done;
  }

  #read(name, query) {
    return query(this.#database.transaction(name).objectStore(name));
  }

  async #owned() {
    const { held } = await navigator.locks.query();
    return new Set(held.map(({ name }) => name));
  }

  // Keeps a run: its record and its state, in place of those before.
  async keepRun(run, state) {
    const record = { ...run, tab: this.#tab, bytes: state.size, savedAt: Date.now() };
    await this.#change(["runs", "states"], (store) => {
      store.runs.put(record, run.id);
      store.states.put(state, run.id);
    });
    return record;
  }

  // Runs that no other open tab works on, the newest first.
  async runs() {
    if (!this.#database) return [];
    const owned = await this.#owned();
    const all = await answered(this.#read("runs", (store) => store.getAll()));
    return all
      .filter(({ tab }) => tab === this.#tab || !owned.has(lockName(tab)))
      .sort((a, b) => b.savedAt - a.savedAt);
  }

  isOwn({ tab }) {
    return tab === this.#tab;
  }

  // Makes a run this tab's own and resolves to its record and state.
  claim(id) {
    return this.#alone(id, async (record) => {
      const state = await answered(this.#read("states", (store) => store.get(id)));
      const own = { ...record, tab: this.#tab };
      await this.#change(["runs"], (store) => store.runs.put(own, id));
      return { record: own, state };
    });
  }

  async discard(id) {
    await this.#alone(id, () =>
      this.#change(["runs", "states"], (store) => {
        store.runs.delete(id);
        store.states.delete(id);
      }));
    await this.sweep();
  }

  // Does `work` with a run's record, with no other tab doing so, and only if none works on the run.
  #alone(id, work) {
    return navigator.locks.request(CLAIM, async () => {
      const record = await answered(this.#read("runs", (store) => store.get(id)));
      if (!record) throw new Error("This run is not kept any more.");
      const owned = await this.#owned();
      if (!this.isOwn(record) && owned.has(lockName(record.tab))) throw new Error("This run goes on in another tab.");
      return work(record);
    });
  }

  // Keeps files `{name, file}` as a collection; null, and nothing is kept, if they are too large.
  async keepFiles(title, files) {
    const bytes = files.reduce((sum, { file }) => sum + file.size, 0);
    const { quota = Infinity, usage = 0 } = (await navigator.storage?.estimate?.()) ?? {};
    if (bytes > Math.min(LARGEST_COLLECTION, COLLECTION_SHARE * (quota - usage))) return null;
    const id = crypto.randomUUID();
    await this.#change(["collections", "files"], (store) => {
      files.forEach(({ name, file }, i) => store.files.put({ name, file }, [id, i]));
      store.collections.put({ id, tab: this.#tab, title, files: files.length }, id);
    });
    return id;
  }

  // The collection `{title, files}` of that id, or null.
  async files(id) {
    if (!this.#database || !id) return null;
    const collection = await answered(this.#read("collections", (store) => store.get(id)));
    const files = await answered(this.#read("files", (store) => store.getAll(filesOf(id))));
    return collection && files.length === collection.files ? { title: collection.title, files } : null;
  }

  async dropFiles(id) {
    await this.#change(["collections", "files"], (store) => {
      store.collections.delete(id);
      store.files.delete(filesOf(id));
    });
  }

  // Removes collections that no run has and no open tab; of this tab's all but `current`, where that is given.
  sweep(current = null) {
    return navigator.locks.request(CLAIM, async () => {
      const owned = await this.#owned();
      const runs = await answered(this.#read("runs", (store) => store.getAll()));
      const used = new Set(runs.map(({ pictures }) => pictures?.id));
      for (const { id, tab } of await answered(this.#read("collections", (store) => store.getAll()))) {
        const free = tab === this.#tab ? current !== null && id !== current : !owned.has(lockName(tab));
        if (free && !used.has(id)) await this.dropFiles(id);
      }
    });
  }
}
