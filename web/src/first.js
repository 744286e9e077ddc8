// What stands before the program is there: shows the part of the page that the address names, and asks for the program once that is
// painted, so that on a slow line words come before a megabyte of code.

import { select } from "./tabs.js";
import { OWN, parse } from "./url-state.js";

const FIRST_PHOTO = "cat";
const PATIENCE_MS = 2000; // in a frame that nobody has scrolled to nothing is painted

export const state = parse(location.hash);
document.body.classList.toggle("embed", state.embed);
select(state.tab);

// Settles once something of the page is painted, or where nothing will be or the browser does not say.
function painted() {
  return new Promise((resolve) => {
    const told = window.PerformanceObserver?.supportedEntryTypes?.includes("paint");
    if (document.hidden || !told) resolve();
    else new PerformanceObserver(resolve).observe({ type: "paint", buffered: true });
    setTimeout(resolve, PATIENCE_MS);
  });
}

// A file that is dropped before the program listens does not lead away from the page.
for (const type of ["dragover", "drop"]) {
  addEventListener(type, (event) => {
    if (event.dataTransfer?.types.includes("Files")) event.preventDefault();
  });
}

painted().then(() => {
  if (state.photo !== OWN) Object.assign(document.getElementById("waiting"), { src: `photos/${state.photo ?? FIRST_PHOTO}.jpg`, hidden: false });
  document.head.append(document.getElementById("program").content);
});
