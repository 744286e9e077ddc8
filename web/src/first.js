// What stands before the program is there: shows the part of the page that the address names, and asks for the program once that is
// painted, so that on a slow line words come before a megabyte of code.

import { select } from "./tabs.js";
import { OWN, parse } from "./url-state.js";

const FIRST_PHOTO = "cat";
const PATIENCE_MS = 2000; // a browser that says nothing of what it paints

export const state = parse(location.hash);
document.body.classList.toggle("embed", state.embed);
select(state.tab);

// Settles once something of the page is painted, or where nothing will be.
function painted() {
  return new Promise((resolve) => {
    if (document.hidden) resolve();
    new PerformanceObserver(resolve).observe({ type: "paint", buffered: true });
    setTimeout(resolve, PATIENCE_MS);
  });
}

painted().then(() => {
  if (state.photo !== OWN) Object.assign(document.getElementById("waiting"), { src: `photos/${state.photo ?? FIRST_PHOTO}.jpg`, hidden: false });
  document.head.append(document.getElementById("program").content);
});
