// A question before something is lost. Escape and Cancel change nothing.

const element = (id) => document.getElementById(id);

// `choices` are `[value, text]`, the first one that which loses nothing. Resolves to the value chosen, or to null.
export function ask(title, text, choices) {
  const dialog = element("ask");
  element("ask-title").textContent = title;
  element("ask-text").textContent = text;
  const buttons = [...choices, ["", "Cancel"]].map(([value, words], i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.value = value;
    button.textContent = words;
    if (i === 0) button.className = "primary";
    button.addEventListener("click", () => dialog.close(value));
    return button;
  });
  element("ask-choices").replaceChildren(...buttons);
  dialog.returnValue = "";
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue || null), { once: true });
    dialog.showModal();
  });
}
