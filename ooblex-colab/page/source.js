// @ts-check
// Where the pictures come from: a camera, the screen, a file, or a test pattern.

/** Says in words why there is no camera. @param {unknown} error */
export function explainCameraError(error) {
  const name = error instanceof DOMException ? error.name : "";
  switch (name) {
    case "NotAllowedError":
    case "SecurityError":
      return "The browser does not allow this page to use the camera. Allow it in the address bar, then try again.";
    case "NotFoundError":
    case "OverconstrainedError":
      return "No camera was found. Connect one, then try again.";
    case "NotReadableError":
    case "AbortError":
      return "The camera is in use by another program or does not respond.";
    default:
      return `The camera could not be started: ${error instanceof Error ? error.message : error}`;
  }
}

/** Why this page cannot ask for a camera at all; empty if it can. */
export function cameraObstacle() {
  if (!navigator.mediaDevices?.getUserMedia) {
    return window.isSecureContext
      ? "This browser offers no camera to web pages."
      : "Browsers give cameras only to pages that come over HTTPS or from this machine (localhost).";
  }
  // @ts-expect-error: Chromium's alone
  const allowed = document.featurePolicy?.allowsFeature("camera") ?? true;
  if (!allowed && window.top !== window) return "The page is shown inside another one that does not pass the camera on. Open it in a tab of its own.";
  return "";
}

/** The cameras; their names are known only after one was allowed. */
export async function cameras() {
  const devices = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
  return devices.filter(({ kind, deviceId }) => kind === "videoinput" && deviceId !== "");
}

/** Pictures a second of what is painted here. */
const PAINTED = 30;

/**
 * @typedef {{ kind: "camera" | "screen" | "file" | "pattern", device?: string, height: number, mirror: boolean, file?: File }} Choice
 */

/** A source that runs. */
export class Source {
  /** @param {MediaStream} media */
  constructor(media) {
    this.media = media;
    /** @type {(() => void)[]} */
    this.cleanups = [];
    this.onEnd = (/** @type {string} */ _why) => {};
  }

  get track() {
    return this.media.getVideoTracks()[0];
  }

  stop() {
    for (const track of this.media.getTracks()) track.stop();
    for (const clean of this.cleanups.splice(0)) clean();
  }
}

/**
 * Opens a source.
 * @param {Choice} choice
 * @returns {Promise<Source>}
 */
export async function openSource(choice) {
  const { kind, height, mirror } = choice;
  if (kind === "pattern") return painted(Math.round((height * 16) / 9), height, drawPattern);
  if (kind === "file") {
    if (!choice.file) throw new Error("No file was chosen.");
    const video = await playing((v) => (v.src = URL.createObjectURL(/** @type {File} */ (choice.file))));
    video.loop = true;
    const source = fromVideo(video, height, mirror);
    source.cleanups.push(() => URL.revokeObjectURL(video.src));
    return source;
  }
  const size = { width: { ideal: Math.round((height * 16) / 9) }, height: { ideal: height }, frameRate: { ideal: 30 } };
  const media =
    kind === "screen"
      ? await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { ideal: 30 } }, audio: false })
      : await navigator.mediaDevices.getUserMedia({
          video: { ...size, ...(choice.device ? { deviceId: { exact: choice.device } } : { facingMode: "user" }) },
          audio: false,
        });
  const [track] = media.getVideoTracks();
  track.contentHint = kind === "screen" ? "detail" : "motion";
  let source = new Source(media);
  if (mirror) {
    source = fromVideo(await playing((v) => (v.srcObject = media)), height, true);
    source.cleanups.push(() => media.getTracks().forEach((t) => t.stop()));
  }
  track.addEventListener("ended", () => source.onEnd(kind === "screen" ? "The screen is no longer shared." : "The camera was disconnected."));
  return source;
}

/** A video that plays what it is given. @param {(video: HTMLVideoElement) => void} give */
async function playing(give) {
  const video = document.createElement("video");
  Object.assign(video, { muted: true, playsInline: true });
  give(video);
  await new Promise((done, failed) => {
    video.addEventListener("loadeddata", done, { once: true });
    video.addEventListener("error", () => failed(new Error(video.error?.message || "The browser cannot play this file.")), { once: true });
  });
  await video.play();
  return video;
}

/** A video, painted: mirrored if wanted. @param {HTMLVideoElement} video @param {number} height @param {boolean} mirror */
function fromVideo(video, height, mirror) {
  const scale = Math.min(1, height / Math.min(video.videoWidth, video.videoHeight));
  const [w, h] = [video.videoWidth, video.videoHeight].map((side) => 2 * Math.round((side * scale) / 2));
  const source = painted(w, h, (context) => {
    context.save();
    if (mirror) {
      context.translate(w, 0);
      context.scale(-1, 1);
    }
    context.drawImage(video, 0, 0, w, h);
    context.restore();
  });
  source.cleanups.push(() => {
    video.pause();
    video.srcObject = null;
  });
  return source;
}

/**
 * @param {number} width
 * @param {number} height
 * @param {(context: CanvasRenderingContext2D, width: number, height: number, count: number) => void} paint
 */
function painted(width, height, paint) {
  const canvas = document.createElement("canvas");
  Object.assign(canvas, { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  if (!context) throw new Error("The browser has no canvas.");
  let count = 0;
  const step = () => paint(context, width, height, count++);
  step();
  const timer = setInterval(step, 1000 / PAINTED);
  const source = new Source(canvas.captureStream(PAINTED));
  source.cleanups.push(() => clearInterval(timer));
  return source;
}

const BARS = ["#c8c8c8", "#c8c83c", "#3cc8c8", "#3cc83c", "#c83cc8", "#c83c3c", "#3c3cc8"];

/** Bars, a ball that moves, and a count by which frames can be told apart. @type {Parameters<typeof painted>[2]} */
function drawPattern(context, width, height, count) {
  BARS.forEach((colour, i) => {
    context.fillStyle = colour;
    context.fillRect(Math.floor((i * width) / BARS.length), 0, Math.ceil(width / BARS.length), height);
  });
  context.fillStyle = "#16191c";
  context.fillRect(0, height * 0.72, width, height * 0.28);
  const radius = height / 12;
  const way = width - 2 * radius;
  const at = (count * width) / 180;
  context.fillStyle = "#ffffff";
  context.beginPath();
  context.arc(radius + Math.abs(((at + way) % (2 * way)) - way), height * 0.36, radius, 0, 2 * Math.PI);
  context.fill();
  context.font = `600 ${Math.round(height / 9)}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.fillText(`Test pattern  ${count}`, width / 2, height * 0.895);
}
