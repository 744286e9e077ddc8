// Pictures of kinds that the library does not read and the browser may: drawn by the browser, once, as PNG.

const OTHERS = /^image\/(avif|hei[cf]|svg\+xml|jxl)/;
const ENDINGS = /\.(avif|hei[cf]|svg|jxl)$/i;
const LARGEST_SIDE = 4096;

// What the library reads of a file: the file itself, or a PNG of it. Fails where the browser does not show it either.
export async function readable(file, name = file.name ?? "") {
  return OTHERS.test(file.type ?? "") || ENDINGS.test(name) ? redrawn(file, name) : file;
}

// A PNG of what the browser shows of a file, scaled to at most 4096 pixels a side.
export async function redrawn(file, name = file.name ?? "") {
  const type = file.type || (/\.svg$/i.test(name) ? "image/svg+xml" : "");
  const url = URL.createObjectURL(type === file.type ? file : new Blob([file], { type }));
  try {
    const image = new Image();
    image.src = url;
    await image.decode().catch(() => {
      throw new Error("This browser does not show pictures of this kind; a JPEG or PNG of it can be read.");
    });
    // A drawing may have no size of its own.
    const [width, height] = [image.naturalWidth || 512, image.naturalHeight || 512];
    const scale = Math.min(1, LARGEST_SIDE / Math.max(width, height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(width * scale));
    canvas.height = Math.max(1, Math.round(height * scale));
    canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
    return await new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
  } finally {
    URL.revokeObjectURL(url);
  }
}
