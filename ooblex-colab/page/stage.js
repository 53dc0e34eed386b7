// @ts-check
// The place of the picture: output alone or beside the input, full screen, saving and recording.

/** Pictures a second of a recording. */
const RECORDED = 30;
/** Formats of recordings, the most widely played first. */
const FORMATS = [
  { type: "video/mp4;codecs=avc1.42E01F", suffix: "mp4" },
  { type: "video/webm;codecs=vp8", suffix: "webm" },
  { type: "video/webm", suffix: "webm" },
];

/** The time for a file's name. */
const stamp = () => new Date().toISOString().replace(/[:.]/g, "-").slice(0, 19);

/** @param {Blob} blob @param {string} name */
function save(blob, name) {
  const object = URL.createObjectURL(blob);
  Object.assign(document.createElement("a"), { href: object, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(object), 10_000);
}

/** @param {HTMLElement} element */
function sizeOf(element) {
  if (element instanceof HTMLImageElement) return [element.naturalWidth, element.naturalHeight];
  if (element instanceof HTMLVideoElement) return [element.videoWidth, element.videoHeight];
  return element instanceof HTMLCanvasElement ? [element.width, element.height] : [0, 0];
}

/** Shows one picture at a time; the one that is shown has the id `picture`. */
export class Stage {
  /** @param {HTMLElement} figure */
  constructor(figure) {
    this.figure = figure;
    /** @type {HTMLElement | null} */
    this.element = figure.querySelector("#picture");
    /** @type {MediaRecorder | null} */
    this.recorder = null;
  }

  get recording() {
    return this.recorder !== null;
  }

  /** Puts an element in the place of the present one. @param {HTMLElement} element */
  show(element) {
    if (element !== this.element) {
      this.element?.removeAttribute("id");
      element.id = "picture";
      element.setAttribute("role", "img");
      element.setAttribute("aria-label", "Live picture");
      const old = this.figure.querySelector("canvas, img, video");
      if (old) old.replaceWith(element);
      else this.figure.prepend(element);
      this.element = element;
    }
    this.figure.dataset.state = "live";
    this.fit();
  }

  /** Covers the picture with a sentence. @param {"waiting" | "lost"} state @param {string} text */
  veil(state, text) {
    this.figure.dataset.state = state;
    const veil = this.figure.querySelector(".veil");
    if (veil && veil.textContent !== text) veil.textContent = text;
  }

  /** Gives the frame around the picture its proportions, within reason: a tall phone picture gets bars. */
  fit() {
    // An image may have been replaced by what was left of it.
    this.element = this.figure.querySelector("#picture") ?? this.element;
    const [width, height] = this.element ? sizeOf(this.element) : [0, 0];
    if (width === 0 || height === 0) return;
    this.figure.style.setProperty("--ratio", String(Math.min(16 / 9, Math.max(4 / 5, width / height))));
  }

  async fullScreen() {
    if (document.fullscreenElement) return document.exitFullscreen();
    if (this.figure.requestFullscreen) return this.figure.requestFullscreen();
    // iPhones show nothing but videos in full screen.
    throw new Error("this browser shows no part of a page in full screen");
  }

  /**
   * Begins to record what is shown, whatever way it comes.
   * @param {string} name of the file without its suffix
   * @param {() => void} onStop
   */
  record(name, onStop) {
    const format = "MediaRecorder" in window ? FORMATS.find(({ type }) => MediaRecorder.isTypeSupported(type)) : undefined;
    if (!format) throw new Error("this browser does not record for pages");
    const canvas = document.createElement("canvas");
    const [width, height] = this.element ? sizeOf(this.element) : [0, 0];
    if (width === 0) throw new Error("there is no picture yet");
    // Recordings keep their size; what changes meanwhile is fitted in.
    Object.assign(canvas, { width: 2 * Math.floor(width / 2), height: 2 * Math.floor(height / 2) });
    const context = canvas.getContext("2d", { alpha: false });
    const draw = () => {
      const [w, h] = this.element ? sizeOf(this.element) : [0, 0];
      if (w === 0 || !context) return;
      const scale = Math.min(canvas.width / w, canvas.height / h);
      const [x, y] = [(canvas.width - w * scale) / 2, (canvas.height - h * scale) / 2];
      context.drawImage(/** @type {HTMLCanvasElement} */ (this.element), x, y, w * scale, h * scale);
    };
    draw();
    const timer = setInterval(draw, 1000 / RECORDED);
    const recorder = new MediaRecorder(canvas.captureStream(RECORDED), { mimeType: format.type, videoBitsPerSecond: 4_000_000 });
    /** @type {Blob[]} */
    const parts = [];
    recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
    recorder.addEventListener("stop", () => {
      clearInterval(timer);
      this.recorder = null;
      save(new Blob(parts, { type: format.type }), `${name}-${stamp()}.${format.suffix}`);
      onStop();
    });
    recorder.start(1000);
    this.recorder = recorder;
  }

  stopRecording() {
    this.recorder?.stop();
  }

  /** Saves the picture as it is shown. @param {string} name of the file without its suffix */
  async snapshot(name) {
    const [width, height] = this.element ? sizeOf(this.element) : [0, 0];
    if (width === 0) throw new Error("nothing is shown yet");
    const canvas = Object.assign(document.createElement("canvas"), { width, height });
    canvas.getContext("2d")?.drawImage(/** @type {HTMLCanvasElement} */ (this.element), 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/png"));
    if (!blob) throw new Error("the browser makes no picture of it");
    save(blob, `${name}-${stamp()}.png`);
  }
}
