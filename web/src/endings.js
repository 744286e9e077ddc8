// What is said when a run ends by itself: what happened, what is left of it, and what to do next.

const WHAT = {
  diverged: (step) => `Training diverged at step ${step + 1}: its numbers grew beyond all bounds.`,
  gpu: (step) => `The GPU stopped working at step ${step + 1}.`,
  images: (step) => `The pictures ran out at step ${step + 1}: too many of them cannot be read.`,
  crash: (step) => `The computing part of the page stopped at step ${step + 1}.`,
  other: (step) => `The run broke off at step ${step + 1}.`,
};

// `ended` is what the library says: `{kind, reason, tried}`; `step` the steps done, `good` the step of the state that is
// kept, 0 without one; `rate` the peak learning rate as the form has it.
export function sayEnd({ kind, reason, tried }, { step, good, rate }) {
  const left = good > 0
    ? `The state after step ${good} is kept: continue from it, save it, or use it in Reconstruct.`
    : "Nothing of it could be kept, since it ended before its first good state.";
  const next = {
    diverged: ` Lower the peak learning rate first (it is ${rate}).`,
    crash: " Start the computing part again first: the button is at the top of the page.",
  }[kind] ?? "";
  return { note: (WHAT[kind] ?? WHAT.other)(step), error: `${why(kind, reason, tried, good)} ${left}${next}`.trim() };
}

function why(kind, reason, tried, good) {
  if (kind === "diverged") return tried ? `Going back ${tried === 1 ? "once" : `${tried} times`}, to step ${good}, did not help.` : "";
  if (kind === "gpu" && tried) return "The browser lost it and could not open it again.";
  return /[.!?]$/.test(reason) ? reason : `${reason}.`;
}
