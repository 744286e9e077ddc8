// A still from the camera. It is asked for only by a click, and switched off whenever the dialog closes.

const REFUSALS = {
  NotAllowedError: "The browser did not allow the camera. Its permission can be changed beside the page's address.",
  NotFoundError: "This computer has no camera that the browser can see.",
  NotReadableError: "The camera is in use by another program.",
};

export function camera({ button, dialog, oncapture }) {
  const part = (name) => dialog.querySelector(`#camera-${name}`);
  const [note, video, capture, cancel] = ["note", "video", "capture", "cancel"].map(part);
  let stream = null;

  function off() {
    stream?.getTracks().forEach((track) => track.stop());
    stream = video.srcObject = null;
    capture.disabled = true;
  }

  button.addEventListener("click", async () => {
    dialog.showModal();
    if (!navigator.mediaDevices?.getUserMedia) {
      note.textContent = "This browser offers no camera here; pages opened over https or from localhost can ask for one.";
      return;
    }
    note.textContent = "Waiting for the camera…";
    try {
      const opened = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
      if (!dialog.open) {
        opened.getTracks().forEach((track) => track.stop());
        return;
      }
      stream = video.srcObject = opened;
      await video.play();
      note.textContent = "The picture stays on this computer.";
      capture.disabled = false;
    } catch (error) {
      off();
      note.textContent = REFUSALS[error.name] ?? `The camera could not be opened: ${error.message}`;
    }
  });

  capture.addEventListener("click", () => {
    const [width, height] = [video.videoWidth, video.videoHeight];
    const canvas = document.createElement("canvas");
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d", { willReadFrequently: true });
    context.drawImage(video, 0, 0);
    const { data } = context.getImageData(0, 0, width, height);
    dialog.close();
    oncapture({ rgba: new Uint8Array(data.buffer), width, height });
  });

  cancel.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", off);
  addEventListener("pagehide", off);
}
