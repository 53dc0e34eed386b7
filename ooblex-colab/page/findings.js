// @ts-check
// What was found in each frame, as it comes from the server: over a WebSocket, or asked for time and again.

import { now } from "./frames.js";
import { RungError } from "./ladder.js";
import { pauseBefore } from "./pace.js";
import { quota } from "./quota.js";
import { picturesASecond } from "./tunnel.js";

/** A way that takes longer to begin is not taken. */
const BEGIN = 2500;
/** Most questions a second. */
const QUESTIONS = 10;
/** Failures in a row after which a way has ended. */
const MOST_FAILURES = 3;

/** @typedef {(found: import("./held.js").Found) => void} Tell */

/** Findings as they come. */
export class FindingsSocket {
  /** @param {string} url @param {Tell} tell */
  constructor(url, tell) {
    this.url = url;
    this.tell = tell;
    this.bytes = 0;
    this.received = 0;
    /** @type {Promise<RungError>} */
    this.ended = new Promise((done) => (this.fail = (/** @type {RungError} */ error) => (this.stop(), done(error))));
  }

  /** Resolves with the first findings. @param {AbortSignal} signal */
  async open(signal) {
    quota.check(now());
    const socket = new WebSocket(this.url);
    this.socket = socket;
    const first = new Promise((done) => {
      socket.addEventListener("message", ({ data }) => {
        this.received += 1;
        this.bytes += data.length;
        this.tell(JSON.parse(data));
        done(null);
      });
    });
    socket.addEventListener("close", ({ reason }) => this.fail?.(new RungError(reason || "the connection was interrupted, or the way to the server passes no WebSocket")));
    const late = new Promise((done) => setTimeout(() => done(new RungError(`no findings came within ${BEGIN / 1000} s`)), BEGIN));
    const aborted = new Promise((done) => signal.addEventListener("abort", () => done(new RungError("stopped")), { once: true }));
    const why = await Promise.race([first, late, aborted, this.ended]);
    if (!why) return;
    this.stop();
    throw why;
  }

  stop() {
    this.socket?.close(1000);
  }
}

/** Findings that are asked for, one after the other. */
export class FindingsAsked {
  /** @param {() => Promise<{ answer: import("./held.js").Found, bytes: number }>} ask for the newest @param {Tell} tell */
  constructor(ask, tell) {
    this.ask = ask;
    this.tell = tell;
    this.bytes = 0;
    this.received = 0;
    this.control = new AbortController();
    /** @type {Promise<RungError>} */
    this.ended = new Promise((done) => (this.fail = (/** @type {RungError} */ error) => (this.stop(), done(error))));
  }

  /** Resolves with the first findings. @param {AbortSignal} signal */
  async open(signal) {
    await this.step();
    if (signal.aborted) throw new RungError("stopped");
    void this.go();
  }

  async go() {
    let failures = 0;
    while (!this.control.signal.aborted) {
      const began = now();
      try {
        await this.step();
        failures = 0;
      } catch (error) {
        failures += 1;
        const why = error instanceof Error ? error.message : String(error);
        if (failures >= MOST_FAILURES) return this.fail?.(new RungError(why));
        await new Promise((done) => setTimeout(done, pauseBefore(failures, Math.random(), 200)));
      }
      const rest = 1000 / picturesASecond(QUESTIONS) - (now() - began);
      if (rest > 0) await new Promise((done) => setTimeout(done, rest));
    }
  }

  async step() {
    const { answer, bytes } = await this.ask();
    this.received += 1;
    this.bytes += bytes;
    if (!this.control.signal.aborted) this.tell(answer);
  }

  stop() {
    this.control.abort();
  }
}
