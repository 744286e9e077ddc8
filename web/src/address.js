// The page's address and its history. Changing the part of the page adds an entry, so that Back leads to the part before;
// any other change rewrites the entry that is there. Entries that belong together, from one link on, have its number:
// between them Back changes the part alone, and whatever goes on there goes on.

import { format, parse } from "./url-state.js";

const DELAY_MS = 200; // browsers limit how often a page may write its address

export class Address {
  #state;
  #link;
  #writing = null;

  // `state` is the page's state, which is changed here; `onpart()` is called when another part is to be shown, `onlink()`
  // when everything else may have changed too.
  constructor(state, { onpart, onlink }) {
    this.#state = state;
    this.#link = history.state?.link ?? Date.now();
    this.#write("replaceState");
    addEventListener("popstate", (event) => {
      clearTimeout(this.#writing);
      this.#writing = null;
      const there = parse(location.hash);
      const same = event.state?.link === this.#link;
      Object.assign(state, same ? { tab: there.tab } : there);
      this.#link = event.state?.link ?? Date.now();
      this.#write("replaceState");
      onpart();
      if (!same) onlink();
    });
  }

  // Shows another part of the page.
  go(tab) {
    if (tab === this.#state.tab) return;
    this.#write("replaceState");
    this.#state.tab = tab;
    this.#write("pushState");
  }

  // Writes the state soon.
  save() {
    this.#writing ??= setTimeout(() => this.#write("replaceState"), DELAY_MS);
  }

  #write(how) {
    clearTimeout(this.#writing);
    this.#writing = null;
    try {
      history[how]({ link: this.#link }, "", format(this.#state));
    } catch {
      // Refused for being too frequent; the next change writes it.
    }
  }
}
