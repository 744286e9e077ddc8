// What this browser has of WebGPU. Only the computing thread opens a device; here the browser is only asked.

const FIELDS = ["vendor", "architecture", "device", "description", "subgroupMinSize", "subgroupMaxSize", "isFallbackAdapter"];
const SOFTWARE = /swiftshader|llvmpipe|lavapipe|basic render|warp/i;

// The adapter's own words, by field; fields that the browser does not know are left out.
export function adapterFields(adapter) {
  const fields = {};
  for (const name of FIELDS) {
    const value = adapter.info?.[name];
    if (value !== undefined) fields[name] = value;
  }
  if (fields.isFallbackAdapter === undefined && adapter.isFallbackAdapter !== undefined) {
    fields.isFallbackAdapter = adapter.isFallbackAdapter;
  }
  return fields;
}

// The vendors' names as they write them; browsers give them in small letters.
const VENDORS = { amd: "AMD", apple: "Apple", arm: "Arm", google: "Google", intel: "Intel", microsoft: "Microsoft", nvidia: "NVIDIA", qualcomm: "Qualcomm" };

// What a person is told of the adapter. Most browsers keep back all but vendor and architecture, some those too.
export function adapterName({ vendor, architecture, device, description }) {
  if (description) return description;
  return [VENDORS[vendor] ?? vendor, architecture, device].filter(Boolean).join(" ") || "the graphics adapter that the browser chose";
}

// Resolves to `{missing}`, why the page cannot work here, or to `{info, software}`.
export async function look() {
  if (!window.isSecureContext) {
    return { missing: "This page was opened over plain http. Browsers offer WebGPU only over https, and to pages from localhost." };
  }
  if (!navigator.gpu) return { missing: "This browser has no WebGPU, or has it switched off." };
  if (typeof WebAssembly !== "object") return { missing: "This browser has no WebAssembly, or has it switched off." };
  const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" }).catch(() => null);
  if (!adapter) return { missing: "This browser has WebGPU but found no graphics adapter that it can use." };
  const info = adapterFields(adapter);
  const software = info.isFallbackAdapter === true || Object.values(info).some((value) => SOFTWARE.test(String(value)));
  return { info, software };
}
