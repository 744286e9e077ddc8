// The camera as long as it is wanted: it is asked for by a click, and switched off by another, or when the page is left.

const LARGEST_SIDE = 320; // pixels of a frame: more than any network here looks at

const REFUSALS = {
  NotAllowedError: "The browser did not allow the camera. Its permission can be changed beside the page's address.",
  NotFoundError: "This computer has no camera that the browser can see.",
  NotReadableError: "The camera is in use by another program.",
};
const MISSING = "This browser offers no camera here; pages opened over https or from localhost can ask for one.";

// Why the camera could not be opened, in words.
export const refusal = (error) => REFUSALS[error.name] ?? (error.message === MISSING ? MISSING : `The camera could not be opened: ${error.message}`);

export async function openCamera() {
  if (!navigator.mediaDevices?.getUserMedia) throw new Error(MISSING);
  return navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
}

export const closeCamera = (stream) => stream?.getTracks().forEach((track) => track.stop());

// What a video shows now: `{rgba, width, height}`, no side longer than `most`.
export function frame(video, most = Infinity) {
  const scale = Math.min(1, most / Math.max(video.videoWidth, video.videoHeight));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(video.videoWidth * scale));
  canvas.height = Math.max(1, Math.round(video.videoHeight * scale));
  const { width, height } = canvas;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(video, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  return { rgba: new Uint8Array(data.buffer), width, height };
}

// `onchange(on)` is called when the camera goes on or off.
export class Live {
  #video;
  #onchange;
  #stream = null;
  #opening = null;

  constructor(video, onchange) {
    [this.#video, this.#onchange] = [video, onchange];
    addEventListener("pagehide", () => this.off());
  }

  get on() {
    return this.#stream !== null;
  }

  // Fails, in words, where there is no camera.
  open() {
    return (this.#opening ??= this.#open().finally(() => (this.#opening = null)));
  }

  async #open() {
    if (this.on) return;
    try {
      this.#stream = await openCamera();
      this.#stream.getTracks().forEach((track) => track.addEventListener("ended", () => this.off()));
      this.#video.srcObject = this.#stream;
      await this.#video.play();
    } catch (error) {
      this.off();
      throw new Error(refusal(error));
    }
    this.#onchange(true);
  }

  off() {
    closeCamera(this.#stream);
    const was = this.on;
    this.#stream = this.#video.srcObject = null;
    if (was) this.#onchange(false);
  }

  frame() {
    return frame(this.#video, LARGEST_SIDE);
  }
}
