// Reports as plain text.

const error = (value) => (Number.isFinite(value) ? value.toExponential(2) : "not finite"); // JSON has no NaN: null

function table(rows, indent = "  ") {
  const widths = [];
  for (const row of rows) row.forEach((cell, i) => (widths[i] = Math.max(widths[i] ?? 0, cell.length)));
  return rows.map((row) => (indent + row.map((cell, i) => cell.padEnd(widths[i])).join("  ")).trimEnd());
}

// The report of `verify`: verdict, adapter, and one line for each group of compared tensors.
export function formatReport({ adapter, kind, pass, groups }) {
  const rows = Object.entries(groups).map(([name, { worst, tensor }]) => [name, error(worst), tensor]);
  return [`${pass ? "PASS" : "FAIL"} on ${adapter} (${kind})`, "worst error of each group:", ...table(rows)].join("\n");
}

// The report of `self_test`: how many operations agree with their references, and the worst error of each.
export function formatOperations({ adapter, operations }) {
  const failed = operations.filter(({ pass }) => pass !== true);
  const rows = operations.map(({ name, operation, case: shapes, pass, worst, tensor, forward_error, gradient_error }) => [
    pass === true ? "ok" : "FAIL",
    worst === undefined ? `${error(forward_error)} forward, ${error(gradient_error)} gradient` : error(worst),
    [name ?? operation, shapes, tensor && `(${tensor})`].filter(Boolean).join(" "),
  ]);
  const verdict = `${failed.length ? "FAIL" : "PASS"} on ${adapter}: ${operations.length - failed.length} of ${operations.length} samples agree`;
  return [verdict, "normalised mean square error of each:", ...table(rows)].join("\n");
}

// The report of `check`: speed, tuned kernel variants, limits.
export function formatMeasures({ matmul_gflops, copy_gb_s, tuned, limits }) {
  const speed = (value, unit) => (Number.isFinite(value) ? `${value.toPrecision(3)} ${unit}` : "not measured");
  return [
    `matmuls: ${speed(matmul_gflops, "GFLOP/s")}`,
    `copies:   ${speed(copy_gb_s, "GB/s")}`,
    "tuned kernels:",
    ...(tuned.length ? tuned.map((line) => `  ${line}`) : ["  none"]),
    "limits:",
    ...table(Object.entries(limits).map(([name, value]) => [name, String(value)])),
  ].join("\n");
}

// What the browser says of itself and of the adapter.
export function formatBrowser({ userAgent, info, isolated }) {
  const rows = Object.entries(info).map(([name, value]) => [name, value === "" ? "(not told)" : String(value)]);
  return [`browser: ${userAgent}`, `cross-origin isolated: ${isolated ? "yes" : "no"}`, "adapter, as the browser tells:", ...table(rows)].join("\n");
}

// Titled parts under each other.
export const formatSections = (sections) => sections.map(([title, text]) => `== ${title} ==\n${text}`).join("\n\n");
