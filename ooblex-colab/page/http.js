// @ts-check
// The ways without WebSocket and WebRTC: pictures by single requests.

import { eachFrame, now, release } from "./frames.js";
import { RungError } from "./ladder.js";
import { Pace, Quantiles, pauseBefore, sizeWithin } from "./pace.js";
import { quota } from "./quota.js";
import { picturesASecond } from "./tunnel.js";
import { JpegMaker } from "./up.js";

/** Some tunnels put a page of their own before what browsers ask for, unless asked not to. */
export const PLAIN = { "ngrok-skip-browser-warning": "1" };

/** Most uploads a second. One is on its way at a time: of two, the later one might arrive first. */
const UPLOADS = 15;
/** Most snapshots a second. */
const SNAPSHOTS = 10;
const DEADLINE = 4000;
/** Failures in a row after which a way has ended. */
const MOST_FAILURES = 3;
const BEGIN = 3000;

/**
 * Fetches something that is no page: HTML is said to be what it is. While a quota is used up nothing is asked.
 * @param {string | URL} url
 * @param {RequestInit} [init]
 */
export async function fetchPlain(url, init = {}) {
  quota.check(now());
  // Without encryption it is by the referrer that the server knows its own page.
  const response = await fetch(url, { referrerPolicy: "same-origin", ...init, headers: { ...PLAIN, ...init.headers } });
  quota.learn(response, now());
  quota.check(now());
  if (/^text\/html/i.test(response.headers.get("Content-Type") ?? "")) {
    throw new RungError(`the tunnel or proxy answered with a page of its own (${response.status}) where the server's answer was expected; open this address in a new tab and follow that page once`);
  }
  return response;
}

/** @param {Response} response */
async function refusal(response) {
  const answer = await response.json().catch(() => null);
  return new RungError(answer?.detail ?? `the tunnel or proxy answered ${response.status} in place of the server`, { stop: response.status === 401 || response.status === 403 });
}

/** @typedef {{ ask?: typeof fetchPlain, most?: number }} Way who carries the requests, and the most of them in a second */

/** Publishes a track as pictures by POST. */
export class HttpUp {
  /**
   * @param {MediaStreamTrack} track stays the caller's
   * @param {string | URL} url
   * @param {Way & { height?: number, silent?: string, held?: import("./held.js").Held | null }} [way] `silent`: what may be
   *   wrong where nothing is answered; `held`: where what is sent stays until its findings come
   */
  constructor(track, url, { ask = fetchPlain, most = UPLOADS, height = 720, silent = "", held = null } = {}) {
    this.held = held;
    held?.begin();
    this.silent = silent;
    this.track = track;
    this.url = url;
    this.ask = ask;
    this.height = height;
    this.jpeg = new JpegMaker();
    this.sent = 0;
    this.acknowledged = 0;
    this.bytes = 0;
    this.dropped = { window: 0 };
    this.tripTimes = new Quantiles();
    this.encodeTimes = new Quantiles();
    this.flying = false;
    this.failures = 0;
    this.most = most;
    this.pace = new Pace(most);
    this.codec = "jpeg";
    this.size = { width: 0, height: 0 };
    this.control = new AbortController();
    /** @type {Promise<RungError>} */
    this.ended = new Promise((done) => (this.fail = (/** @type {RungError} */ error) => (this.stop(), done(error))));
  }

  /** Resolves with the first picture that the server has taken. @param {AbortSignal} signal */
  async open(signal) {
    const first = new Promise((done) => (this.first = () => done(null)));
    const late = new Promise((done) => setTimeout(() => done(new RungError(`the server took no picture within ${BEGIN / 1000} s${this.silent}`)), BEGIN));
    const aborted = new Promise((done) => signal.addEventListener("abort", () => done(new RungError("stopped")), { once: true }));
    this.stopFrames = eachFrame(this.track, (taken) => void this.onFrame(taken));
    const why = await Promise.race([first, late, aborted, this.ended]);
    if (!why) return;
    this.stop();
    throw why;
  }

  /** @param {import("./frames.js").Taken} taken */
  async onFrame(taken) {
    this.pace.setMost(picturesASecond(this.most));
    if (this.control.signal.aborted || taken.width === 0 || !this.pace.isDue(taken.captured)) return release(taken);
    if (this.flying) {
      this.dropped.window += 1;
      return release(taken);
    }
    this.pace.take(taken.captured);
    this.flying = true;
    try {
      const began = now();
      this.size = sizeWithin(taken.width, taken.height, this.height);
      this.held?.keep(taken);
      const body = await this.jpeg.make(taken, this.size);
      this.encodeTimes.add(now() - began);
      this.sent += 1;
      this.bytes += body.length;
      const sentAt = now();
      const headers = { "Content-Type": "image/jpeg" };
      const signal = AbortSignal.any([this.control.signal, AbortSignal.timeout(DEADLINE)]);
      const response = await this.ask(this.url, { method: "POST", body: /** @type {BodyInit} */ (body), headers, signal });
      if (!response.ok) throw await refusal(response);
      this.held?.numbered(taken.captured, Number(response.headers.get("X-Ooblex-Sequence")));
      this.tripTimes.add(now() - sentAt);
      this.failures = 0;
      this.acknowledged += 1;
      this.first?.();
    } catch (error) {
      if (this.control.signal.aborted) return;
      this.failures += 1;
      const known = error instanceof RungError ? error : new RungError("the server takes no pictures by HTTP at the moment");
      if (known.stop || this.failures >= MOST_FAILURES) this.fail?.(known);
    } finally {
      this.flying = false;
    }
  }

  stop() {
    this.control.abort();
    this.stopFrames?.();
  }
}

/** Shows snapshots, one after the other, on a canvas. */
export class SnapshotDown {
  /** @param {HTMLCanvasElement} canvas @param {string | URL} url @param {Way} [way] */
  constructor(canvas, url, { ask = fetchPlain, most = SNAPSHOTS } = {}) {
    this.canvas = canvas;
    this.url = url;
    this.ask = ask;
    this.most = most;
    this.shown = 0;
    this.received = 0;
    this.bytes = 0;
    this.codec = "";
    this.control = new AbortController();
    /** @type {Promise<RungError>} */
    this.ended = new Promise((done) => (this.fail = (/** @type {RungError} */ error) => (this.stop(), done(error))));
  }

  /** Resolves with the first picture. @param {AbortSignal} signal */
  async open(signal) {
    await this.step(AbortSignal.any([signal, this.control.signal, AbortSignal.timeout(DEADLINE)]));
    void this.go();
  }

  async go() {
    let failures = 0;
    for (;;) {
      const began = now();
      try {
        await this.step(AbortSignal.any([this.control.signal, AbortSignal.timeout(DEADLINE)]));
        failures = 0;
      } catch (error) {
        if (this.control.signal.aborted) return;
        failures += 1;
        const known = error instanceof RungError ? error : new RungError("the server gives no snapshots at the moment");
        if (known.stop || failures >= MOST_FAILURES) return this.fail?.(known);
        await new Promise((done) => setTimeout(done, pauseBefore(failures, Math.random(), 200)));
      }
      const rest = 1000 / picturesASecond(this.most) - (now() - began);
      if (rest > 0) await new Promise((done) => setTimeout(done, rest));
      if (this.control.signal.aborted) return;
    }
  }

  /** @param {AbortSignal} signal */
  async step(signal) {
    const response = await this.ask(this.url, { cache: "no-store", signal });
    if (!response.ok) throw await refusal(response);
    const blob = await response.blob();
    this.received += 1;
    this.bytes += blob.size;
    const image = await createImageBitmap(blob);
    const { width, height } = image;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.canvas.getContext("2d", { alpha: false })?.drawImage(image, 0, 0);
    image.close();
    this.shown += 1;
  }

  stop() {
    this.control.abort();
  }
}
