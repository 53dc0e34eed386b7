// @ts-check
// One session of the live protocol (docs/LIVE_PROTOCOL.md): video both ways, or one way, over one WebSocket.

import { Down } from "./down.js";
import { now } from "./frames.js";
import { RungError } from "./ladder.js";
import { Clock, Silence } from "./pace.js";
import { quota } from "./quota.js";
import { Up } from "./up.js";
import { PROTOCOL, parse } from "./wire.js";

/** @typedef {import("./wire.js").Codec} Codec */

/** A way that takes longer to begin is not taken. */
const BEGIN = 2500;
/** The server is asked for its time this often. Its answers also show that the connection lives. */
const PING = 500;
/** Silence after which a connection is given up. */
const SILENT = 2000;
/** Time in which something that comes has to be shown. */
const BLIND = 2000;

/** What the server means by closing the socket without a sentence of its own. */
const CLOSED = /** @type {Record<number, string>} */ ({
  1006: "the connection was interrupted, or the way to the server passes no WebSocket",
  1008: "the server does not allow this page to do that",
  1009: "a picture was larger than the server allows",
  1011: "the server failed",
  1012: "the server ends",
  1013: "the server has as many connections as it allows",
});
const POLICY = 1008;

/**
 * Finds out whether a WebSocket passes.
 * @param {string} url
 * @param {AbortSignal} signal
 */
export async function passes(url, signal) {
  quota.check(now());
  const socket = new WebSocket(url, PROTOCOL);
  await new Promise((done, failed) => {
    const timer = setTimeout(() => socket.close(), BEGIN);
    signal.addEventListener("abort", () => socket.close(), { once: true });
    socket.addEventListener("open", () => (socket.close(1000), done(undefined)));
    socket.addEventListener("close", () => (clearTimeout(timer), failed(new RungError(CLOSED[1006]))));
  });
}

/**
 * @typedef {object} Wanted
 * @property {string} url
 * @property {{ track: MediaStreamTrack, codecs: Codec[], held?: import("./held.js").Held | null }} [publish]
 * @property {{ canvas: HTMLCanvasElement, codecs: Codec[] }} [view]
 * @property {string} [resume] token of an earlier session
 */

/** A session. It works once `open` is resolved, and until `ended` is. */
export class LiveSession {
  /** @param {Wanted} wanted */
  constructor(wanted) {
    this.wanted = wanted;
    this.clock = new Clock();
    /** @type {Up | null} */
    this.up = null;
    /** @type {Down | null} */
    this.down = null;
    /** @type {any} the server's `welcome` */
    this.welcome = null;
    /** @type {any} the newest `quality` */
    this.quality = null;
    /** @type {any} the newest `stats` */
    this.stats = null;
    /** @type {RungError | null} what the server said last before it closed */
    this.said = null;
    this.timer = 0;
    this.stopped = false;
    this.heardAt = now();
    /** When something was shown last, or there was nothing to show. */
    this.seenAt = now();
    this.silence = new Silence();
    /** The first picture is on the canvas. */
    this.first = new Promise((done) => (this.isFirst = () => done(null)));
    /** @type {Promise<RungError>} */
    this.ended = new Promise((done) => (this.fail = (/** @type {RungError} */ error) => (this.close(), done(error))));
  }

  /** @param {AbortSignal} signal */
  async open(signal) {
    const begun = new Promise((done) => (this.begun = () => done(null)));
    const late = new Promise((done) => (this.patience = setTimeout(() => done(this.late()), BEGIN)));
    const aborted = new Promise((done) => signal.addEventListener("abort", () => done(new RungError("stopped")), { once: true }));
    this.connect();
    const why = await Promise.race([begun, late, aborted, this.ended]);
    clearTimeout(this.patience);
    if (!why) return;
    this.close();
    throw why;
  }

  /** Why it has not begun in time; null if there is just nothing to show yet. */
  late() {
    if (!this.welcome) return new RungError(`the server did not answer within ${BEGIN / 1000} s`);
    if (this.up && this.up.acknowledged === 0) {
      return new RungError(this.up.sent === 0 ? "the browser encoded nothing" : "the server acknowledged no picture");
    }
    if (this.down && this.down.received > 0) return this.unseen();
    return null;
  }

  unseen() {
    const { late, undecodable } = this.down?.dropped ?? { late: 0, undecodable: 0 };
    const budget = this.welcome.view?.budget_ms;
    return new RungError(late >= undecodable ? `every picture was older than ${budget} ms when it came` : "no picture could be decoded");
  }

  connect() {
    quota.check(now());
    const { url, publish, view, resume } = this.wanted;
    const socket = new WebSocket(url, PROTOCOL);
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    let asked = 0;
    socket.addEventListener("open", () => {
      asked = now();
      this.tell({
        type: "hello",
        ...(publish && { publish: { codecs: publish.codecs } }),
        ...(view && { view: { codecs: view.codecs } }),
        ...(resume && { resume }),
      });
    });
    socket.addEventListener("message", ({ data }) => {
      if (this.stopped) return;
      this.heardAt = now();
      if (typeof data !== "string") return this.onPicture(data);
      const said = JSON.parse(data);
      if (said.type !== "welcome") return this.onMessage(said);
      this.clock.add(asked, now(), said.time / 1000);
      this.begin(said);
    });
    socket.addEventListener("close", ({ code, reason }) => {
      const sentence = reason || this.said?.message || CLOSED[code] || "the session has ended";
      const stop = this.said?.stop === true || (code === POLICY && !this.said);
      this.fail?.(new RungError(sentence, { stop }));
    });
  }

  /** @param {any} welcome */
  begin(welcome) {
    this.welcome = welcome;
    const { publish, view } = this.wanted;
    if (publish && welcome.publish) {
      this.up = new Up(publish.track, welcome.publish, {
        send: (bytes) => this.socket?.readyState === WebSocket.OPEN && this.socket.send(/** @type {BufferSource} */ (bytes)),
        backlog: () => this.socket?.bufferedAmount ?? 0,
        stamp: (milliseconds) => 1000 * (milliseconds + this.clock.offset),
        fail: (error) => this.fail?.(error),
        held: publish.held ?? undefined,
      });
    }
    if (view && welcome.view) {
      this.down = new Down(view.canvas, welcome.view.budget_ms, {
        ack: (seq, age, shown) => this.tell({ type: "ack", seq, age_ms: Math.round(10 * age) / 10, shown }),
        key: () => this.tell({ type: "key" }),
        age: (captured) => now() + this.clock.offset - captured / 1000,
        fail: (error) => this.fail?.(error),
        shown: () => {
          this.seenAt = now();
          this.isFirst?.();
          this.begun?.();
        },
      });
    }
    let seen = { received: 0, shown: 0 };
    this.seenAt = now();
    let ticked = now();
    this.timer = window.setInterval(() => {
      this.tell({ type: "ping", t: now() });
      const at = now();
      // A page that was itself held up has not yet read what came meanwhile.
      if (at - ticked > 3 * PING) this.heardAt = this.seenAt = at;
      ticked = at;
      if (at - this.heardAt > SILENT) return this.fail?.(new RungError(`the server was silent for ${SILENT / 1000} s`));
      const { received, shown } = this.down ?? { received: 0, shown: 0 };
      // While nothing comes there is nothing to show.
      if (received === seen.received || shown !== seen.shown) [this.seenAt, seen] = [at, { received, shown }];
      seen.received = received;
      if (at - this.seenAt > BLIND) this.fail?.(this.unseen());
    }, PING);
    this.tell({ type: "ping", t: now() });
  }

  /** @param {ArrayBuffer} data */
  onPicture(data) {
    try {
      this.down?.push(parse(data));
    } catch (error) {
      this.fail?.(new RungError(`the server sent what this page cannot read: ${error instanceof Error ? error.message : error}`));
    }
  }

  /** @param {any} said */
  onMessage(said) {
    switch (said.type) {
      case "ack":
        this.up?.onAck(said);
        if (this.up && !this.down) this.begun?.();
        break;
      case "key":
        this.up?.key();
        break;
      case "pong":
        this.clock.add(said.t, now(), said.time / 1000);
        break;
      case "quality":
        if (this.quality && this.quality.stream !== said.stream) this.down?.moveOn();
        this.quality = said;
        break;
      case "stats":
        this.stats = said;
        break;
      case "error": {
        const stop = said.status === 401 || said.status === 403;
        this.said = new RungError(said.detail ?? said.title ?? "the server refused", { stop });
        break;
      }
    }
  }

  /**
   * Compares what comes with what the server says; called about once a second.
   * @param {number} frames frames that the server has processed so far
   */
  watch(frames) {
    if (this.down && this.silence.lasts(now(), this.down.received, frames)) {
      this.fail?.(new RungError("nothing came although the server went on"));
    }
  }

  /** @param {object} said */
  tell(said) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(said));
  }

  close() {
    if (this.stopped) return;
    this.stopped = true;
    clearInterval(this.timer);
    clearTimeout(this.patience);
    this.up?.stop();
    this.down?.stop();
    this.socket?.close(1000);
  }
}
