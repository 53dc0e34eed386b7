// @ts-check
// The MJPEG picture: shows a stream, notices when it stands still, and connects again.

/** Pause before the first new attempt, and the longest one, in milliseconds. */
const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 8000;
/** A picture that stays the same for this long while the server processes frames is not being delivered. */
const FROZEN_AFTER = 5000;
/** At most one such reconnection in this time: a camera may really look at something that does not move. */
const THAW_PAUSE = 20000;
/** A hidden page stops watching after this long. */
const HIDDEN_AFTER = 20000;
/** Side of the thumbnail by which pictures are compared. */
const THUMBNAIL = 24;

/** Shows one MJPEG stream in an `<img>`. */
export class PictureView {
  /**
   * @param {HTMLImageElement} image
   * @param {(state: "waiting" | "live" | "lost") => void} onState
   */
  constructor(image, onState) {
    this.image = image;
    this.onState = onState;
    this.url = "";
    this.attempts = 0;
    this.retry = 0;
    this.hiding = 0;
    this.print = "";
    this.printAt = 0;
    this.framesAtPrint = 0;
    this.thawedAt = 0;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = THUMBNAIL;
    this.thumbnail = canvas.getContext("2d", { willReadFrequently: true });
    document.addEventListener("visibilitychange", () => this.onVisibility());
    this.listen(image);
  }

  /** @param {HTMLImageElement} image */
  listen(image) {
    image.addEventListener("load", () => {
      if (image !== this.image || !image.src) return;
      this.attempts = 0;
      this.fit();
      this.onState("live");
    });
    image.addEventListener("error", () => {
      if (image !== this.image || !this.url) return;
      this.onState("lost");
      this.connectLater();
    });
  }

  /** Gives the frame around the picture its proportions, within reason: a tall phone picture gets bars. */
  fit() {
    const { naturalWidth, naturalHeight } = this.image;
    if (naturalWidth === 0 || naturalHeight === 0) return;
    const ratio = Math.min(16 / 9, Math.max(4 / 5, naturalWidth / naturalHeight));
    this.image.parentElement?.style.setProperty("--ratio", String(ratio));
  }

  /**
   * Shows a stream; the same one is left alone.
   * @param {string} url
   */
  show(url) {
    if (url === this.url) return;
    this.url = url;
    this.attempts = 0;
    this.onState("waiting");
    this.connect();
  }

  /** Connects (again), keeping the picture until the new one is there. */
  connect() {
    clearTimeout(this.retry);
    this.printAt = 0;
    const fresh = /** @type {HTMLImageElement} */ (this.image.cloneNode(false));
    fresh.removeAttribute("src");
    const old = this.image;
    this.image = fresh;
    this.listen(fresh);
    const swap = () => {
      if (old.isConnected && this.image === fresh) old.replaceWith(fresh);
      // Without a source the browser lets go of the old connection.
      old.removeAttribute("src");
      this.fit();
    };
    fresh.addEventListener("load", swap, { once: true });
    fresh.addEventListener("error", swap, { once: true });
    const separator = this.url.includes("?") ? "&" : "?";
    fresh.src = this.attempts === 0 && !old.src ? this.url : `${this.url}${separator}_=${Date.now()}`;
  }

  connectLater() {
    clearTimeout(this.retry);
    const pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** this.attempts);
    this.attempts += 1;
    this.retry = setTimeout(() => this.connect(), pause);
  }

  /**
   * Compares the picture with what the server says; called about once a second.
   * @param {number} frames frames that the server has processed so far
   */
  watch(frames) {
    this.fit();
    if (document.hidden || !this.thumbnail || this.image.naturalWidth === 0) return;
    const now = performance.now();
    let print = "";
    try {
      this.thumbnail.drawImage(this.image, 0, 0, THUMBNAIL, THUMBNAIL);
      print = this.thumbnail.getImageData(0, 0, THUMBNAIL, THUMBNAIL).data.join();
    } catch {
      return;
    }
    if (print !== this.print || this.printAt === 0 || frames < this.framesAtPrint) {
      [this.print, this.printAt, this.framesAtPrint] = [print, now, frames];
    } else if (now - this.printAt > FROZEN_AFTER && frames - this.framesAtPrint > 10 && now - this.thawedAt > THAW_PAUSE) {
      this.thawedAt = now;
      this.connect();
    }
  }

  onVisibility() {
    clearTimeout(this.hiding);
    if (document.hidden) {
      this.hiding = setTimeout(() => this.image.removeAttribute("src"), HIDDEN_AFTER);
    } else if (this.url && !this.image.getAttribute("src")) {
      this.connect();
    }
  }
}
