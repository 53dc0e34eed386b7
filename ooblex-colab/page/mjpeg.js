// @ts-check
// MJPEG in an `<img>`: the browser does it all, and tells little about it.

import { now } from "./frames.js";
import { PLAIN } from "./http.js";
import { Late, RungError } from "./ladder.js";
import { quota } from "./quota.js";

/** A stream that has not begun by then is waited for while something else is shown. */
const BEGIN = 1000;
/** A tunnel that holds streamed answers back gives nothing within this time; what it holds costs traffic all the same. */
const LATEST = 6000;
/** A picture that stays the same for this long while the server processes frames is not being delivered. */
const FROZEN = 5000;
/** Side of the thumbnail by which pictures are compared. */
const THUMBNAIL = 24;

/** Shows one MJPEG stream. */
export class MjpegDown {
  /**
   * @param {string} url
   * @param {string} snapshot by which it is found out what is wrong
   */
  constructor(url, snapshot) {
    this.snapshot = snapshot;
    this.codec = "";
    this.image = document.createElement("img");
    this.image.alt = "Live picture";
    const separator = url.includes("?") ? "&" : "?";
    this.url = `${url}${separator}_=${Date.now()}`;
    this.print = "";
    this.printAt = 0;
    this.framesAtPrint = 0;
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = THUMBNAIL;
    this.thumbnail = canvas.getContext("2d", { willReadFrequently: true });
    this.stopped = false;
    this.control = new AbortController();
    /** @type {Promise<RungError>} */
    this.ended = new Promise((done) => (this.fail = done));
  }

  /** Resolves with the first picture; `Late` if it does not come soon. @param {AbortSignal} signal */
  open(signal) {
    const begun = this.load(signal);
    const late = new Late(`no byte of MJPEG came within ${BEGIN / 1000} s, as where a tunnel or proxy holds streamed answers back; it is still waited for`, begun, () => this.stop());
    return Promise.race([begun, new Promise((_, failed) => setTimeout(() => failed(late), BEGIN))]);
  }

  /** @param {AbortSignal} signal */
  async load(signal) {
    quota.check(now());
    const { image } = this;
    const outcome = await new Promise((done) => {
      image.addEventListener("load", () => done("load"), { once: true });
      image.addEventListener("error", () => done("error"), { once: true });
      AbortSignal.any([signal, this.control.signal]).addEventListener("abort", () => done("abort"), { once: true });
      setTimeout(() => done("late"), LATEST);
      image.src = this.url;
    });
    if (outcome === "load") {
      image.addEventListener("error", () => void this.diagnose().then((why) => this.fail?.(why)));
      return;
    }
    this.stop();
    if (outcome === "late") throw new RungError(`no byte of MJPEG came within ${LATEST / 1000} s: a tunnel or proxy holds streamed answers back`);
    throw outcome === "abort" ? new RungError("stopped") : await this.diagnose();
  }

  /** What is wrong, by asking for a single picture the way an `<img>` does. */
  async diagnose() {
    try {
      const response = await fetch(this.snapshot, { cache: "no-store", signal: AbortSignal.timeout(2000) });
      quota.learn(response, now());
      quota.check(now());
      if (/^text\/html/i.test(response.headers.get("Content-Type") ?? "")) {
        return new RungError(`the tunnel or proxy shows a page of its own where the picture should be; pictures that are asked for with ${Object.keys(PLAIN)[0]} pass`);
      }
      const answer = response.ok ? null : await response.json().catch(() => null);
      return new RungError(answer?.detail ?? "the MJPEG stream was interrupted", { stop: response.status === 401 || response.status === 403 });
    } catch (error) {
      return error instanceof RungError ? error : new RungError("the server cannot be reached");
    }
  }

  /**
   * Compares the picture with what the server says; called about once a second.
   * @param {number} frames frames that the server has processed so far
   */
  watch(frames) {
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
    } else if (now - this.printAt > FROZEN && frames - this.framesAtPrint > 10) {
      // A camera may also look at what does not move; then this costs one new connection now and then.
      this.fail?.(new RungError(`the picture stood still for ${FROZEN / 1000} s while the server went on`));
    }
  }

  stop() {
    if (this.stopped) return;
    this.stopped = true;
    this.control.abort();
    // What is on the screen stays; without a source the browser lets go of the connection.
    if (this.image.isConnected) {
      const still = document.createElement("canvas");
      Object.assign(still, { id: this.image.id, width: this.image.naturalWidth, height: this.image.naturalHeight });
      if (still.width > 0) {
        still.getContext("2d")?.drawImage(this.image, 0, 0);
        this.image.replaceWith(still);
      }
    }
    this.image.removeAttribute("src");
  }
}
