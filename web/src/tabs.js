// Tabs: one stop for the Tab key, arrow keys, Home and End between them.

const all = [...document.querySelectorAll('[role="tablist"] [role="tab"]')];

// Shows the part of that name.
export function select(name) {
  for (const tab of all) {
    const chosen = tab.getAttribute("aria-controls") === name;
    tab.setAttribute("aria-selected", String(chosen));
    tab.tabIndex = chosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = !chosen;
  }
}

// Listens to the tabs: `onselect(name)` is called when a person chose one.
export function listen(onselect) {
  function go(tab) {
    const name = tab.getAttribute("aria-controls");
    select(name);
    onselect(name);
  }

  for (const [i, tab] of all.entries()) {
    tab.addEventListener("click", () => go(tab));
    tab.addEventListener("keydown", ({ key }) => {
      const to = { ArrowLeft: i - 1, ArrowRight: i + 1, Home: 0, End: -1 }[key];
      const next = to === undefined ? null : all.at(to % all.length);
      next?.focus();
      if (next) go(next);
    });
  }
}
