// A still from the camera. It is asked for only by a click, and switched off whenever the dialog closes.

import { closeCamera, frame, openCamera, refusal } from "./live.js";

export function camera({ button, dialog, oncapture }) {
  const part = (name) => dialog.querySelector(`#camera-${name}`);
  const [note, video, capture, cancel] = ["note", "video", "capture", "cancel"].map(part);
  let stream = null;
  let turn = 0;

  function off() {
    turn++;
    closeCamera(stream);
    stream = video.srcObject = null;
    capture.disabled = true;
  }

  button.addEventListener("click", async () => {
    dialog.showModal();
    const mine = ++turn;
    note.textContent = "Waiting for the camera…";
    try {
      const opened = await openCamera();
      if (mine !== turn) return closeCamera(opened); // closed meanwhile
      stream = video.srcObject = opened;
      await video.play();
      note.textContent = "The picture stays on this computer.";
      capture.disabled = mine !== turn;
    } catch (error) {
      if (mine !== turn) return;
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
