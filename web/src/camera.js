// A still from the camera. It is asked for only by a click, and switched off whenever the dialog closes.

import { closeCamera, frame, openCamera, refusal } from "./live.js";

export function camera({ button, dialog, oncapture }) {
  const part = (name) => dialog.querySelector(`#camera-${name}`);
  const [note, video, capture, cancel] = ["note", "video", "capture", "cancel"].map(part);
  let stream = null;

  function off() {
    closeCamera(stream);
    stream = video.srcObject = null;
    capture.disabled = true;
  }

  button.addEventListener("click", async () => {
    dialog.showModal();
    note.textContent = "Waiting for the camera…";
    try {
      const opened = await openCamera();
      if (!dialog.open) {
        closeCamera(opened);
        return;
      }
      stream = video.srcObject = opened;
      await video.play();
      note.textContent = "The picture stays on this computer.";
      capture.disabled = false;
    } catch (error) {
      off();
      note.textContent = refusal(error);
    }
  });

  capture.addEventListener("click", () => {
    const taken = frame(video);
    dialog.close();
    oncapture(taken);
  });

  cancel.addEventListener("click", () => dialog.close());
  dialog.addEventListener("close", off);
  addEventListener("pagehide", off);
}
