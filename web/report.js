// The report of `verify` as plain text: verdict, adapter, and one line for each group of compared tensors.

export function formatReport({ adapter, kind, pass, groups }) {
  const names = Object.keys(groups);
  const width = Math.max(0, ...names.map((name) => name.length));
  return [
    `${pass ? "PASS" : "FAIL"} on ${adapter} (${kind})`,
    "worst error of each group:",
    ...names.map((name) => {
      const { worst, tensor } = groups[name];
      // JSON has no infinity or NaN: such an error arrives as null.
      const error = worst === null ? "not finite" : worst.toExponential(2);
      return `  ${name.padEnd(width)}  ${error}  ${tensor}`;
    }),
  ].join("\n");
}
