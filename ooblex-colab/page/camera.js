// @ts-check
// The camera, and the way without WebRTC: pictures go to the server over a WebSocket, never faster than it
// acknowledges them.

/** Most pictures a second. */
const MOST_PER_SECOND = 15;
/** Pictures on their way that are not acknowledged yet. */
const MOST_IN_FLIGHT = 2;
/** JPEG quality, 0 to 1. */
const QUALITY = 0.8;
/** An acknowledgement that takes longer than this will not come any more. */
const LOST_AFTER = 5000;
const LONGEST_PAUSE = 8000;

/** What the server means by closing the socket. */
const CLOSE_REASONS = /** @type {Record<number, string>} */ ({
  1008: "The server does not allow publishing from this page.",
  1009: "The camera's pictures are larger than the server allows.",
  1013: "The server has as many streams as it allows. Try again later.",
});

/**
 * Says in words why there is no camera.
 * @param {unknown} error
 * @returns {string}
 */
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
  if (navigator.mediaDevices && navigator.mediaDevices.getUserMedia) return "";
  return window.isSecureContext
    ? "This browser offers no camera to web pages."
    : "Browsers give cameras only to pages that come over HTTPS or from this machine (localhost).";
}

/** Asks for the camera. */
export function openCamera() {
  const wanted = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30 } };
  return navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
}

/**
 * A way to the server is of no use: the message is for people, `final` says that no other way will do either.
 */
export class SendError extends Error {
  /** @param {string} message @param {boolean} [final] */
  constructor(message, final = false) {
    super(message);
    this.final = final;
  }
}

/** Publishes what the camera shows as single pictures. */
export class PictureSender {
  /**
   * @param {MediaStream} media stays the caller's
   * @param {string} url of the WebSocket
   * @param {{ onProblem: (message: string) => void, onState: (text: string) => void, onEnd: (error: SendError) => void }} to
   *   `onProblem` is for what may pass, `onState` is called once a second
   */
  constructor(media, url, to) {
    this.media = media;
    this.url = url;
    this.to = to;
    this.canvas = document.createElement("canvas");
    this.video = document.createElement("video");
    this.video.muted = true;
    this.video.playsInline = true;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {number[]} when each picture on its way was sent */
    this.inFlight = [];
    this.encoding = false;
    this.sent = 0;
    this.attempts = 0;
    /** @type {number | null} */
    this.roundTrip = null;
    this.timers = /** @type {number[]} */ ([]);
    this.retry = 0;
    this.running = false;
  }

  async start() {
    this.running = true;
    this.video.srcObject = this.media;
    await this.video.play();
    if (!this.running) return;
    this.connect();
    let before = 0;
    this.timers = [
      window.setInterval(() => this.tick(), Math.ceil(1000 / MOST_PER_SECOND)),
      window.setInterval(() => {
        const trip = this.roundTrip === null ? "" : `, acknowledged after ${Math.round(this.roundTrip)} ms`;
        this.to.onState(`Single pictures, ${this.sent - before}/s${trip}`);
        before = this.sent;
      }, 1000),
    ];
  }

  stop() {
    this.running = false;
    this.timers.forEach((timer) => clearInterval(timer));
    this.timers = [];
    clearTimeout(this.retry);
    this.video.srcObject = null;
    const socket = this.socket;
    this.socket = null;
    this.inFlight = [];
    socket?.close(1000);
  }

  connect() {
    const socket = new WebSocket(this.url);
    this.socket = socket;
    this.inFlight = [];
    socket.addEventListener("open", () => {
      this.attempts = 0;
      this.to.onProblem("");
    });
    socket.addEventListener("message", (event) => {
      if (socket === this.socket) this.onReply(event.data);
    });
    socket.addEventListener("close", (event) => {
      if (socket !== this.socket || !this.running) return;
      const reason = CLOSE_REASONS[event.code];
      if (reason) {
        this.stop();
        this.to.onEnd(new SendError(reason, true));
        return;
      }
      this.to.onProblem("The connection to the server is interrupted; trying again.");
      const pause = Math.min(LONGEST_PAUSE, 500 * 2 ** this.attempts);
      this.attempts += 1;
      this.retry = window.setTimeout(() => this.connect(), pause);
    });
  }

  /** @param {unknown} data */
  onReply(data) {
    const began = this.inFlight.shift();
    if (began !== undefined) this.roundTrip = performance.now() - began;
    if (typeof data !== "string") return;
    const reply = JSON.parse(data);
    if (reply.type === "error") this.to.onProblem(reply.detail ?? "The server refused a picture.");
  }

  tick() {
    const socket = this.socket;
    const now = performance.now();
    if (this.inFlight.length > 0 && now - this.inFlight[0] > LOST_AFTER && socket?.readyState === WebSocket.OPEN) {
      socket.close();
      return;
    }
    const ready = socket?.readyState === WebSocket.OPEN && this.video.videoWidth > 0;
    if (!ready || this.encoding || this.inFlight.length >= MOST_IN_FLIGHT) return;
    const context = this.canvas.getContext("2d");
    if (!context) return;
    if (this.canvas.width !== this.video.videoWidth || this.canvas.height !== this.video.videoHeight) {
      this.canvas.width = this.video.videoWidth;
      this.canvas.height = this.video.videoHeight;
    }
    context.drawImage(this.video, 0, 0);
    this.encoding = true;
    this.canvas.toBlob(
      (blob) => {
        this.encoding = false;
        if (!blob || socket !== this.socket || socket?.readyState !== WebSocket.OPEN) return;
        this.inFlight.push(performance.now());
        this.sent += 1;
        socket.send(blob);
      },
      "image/jpeg",
      QUALITY,
    );
  }
}
