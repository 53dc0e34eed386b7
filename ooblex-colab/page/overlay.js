// @ts-check
// The source's own picture with what the server finds in it: the picture does not come back.

import { FindingsAsked, FindingsSocket } from "./findings.js";
import { now } from "./frames.js";
import { Held } from "./held.js";
import { Ladder } from "./ladder.js";
import { Quantiles } from "./pace.js";
import { Sketch } from "./sketch.js";
import { toSocket } from "./watch.js";

/** What the rungs are called. */
export const FINDINGS = /** @type {Record<string, string>} */ ({ findings: "Findings over a WebSocket", asked: "Findings by requests" });

/** Shows one stream of this page. */
export class Overlay {
  /**
   * @param {import("./watch.js").Server & { weighed: (path: string) => Promise<{ answer: any, bytes: number }> }} server
   * @param {string} stream
   * @param {{ socket: boolean, style: (model: string) => import("./sketch.js").Style, onChange: (state: import("./ladder.js").State) => void }} to
   *   `socket`: whether WebSockets may be used
   */
  constructor(server, stream, to) {
    this.server = server;
    this.stream = stream;
    this.to = to;
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.sketch = new Sketch();
    this.held = new Held((picture, found, captured) => this.show(picture, found, captured));
    /** @type {Ladder | null} */
    this.ladder = null;
    /** @type {FindingsSocket | FindingsAsked | null} */
    this.way = null;
    /** Bytes of the ways before this one. */
    this.before = 0;
    this.shown = 0;
    this.ages = new Quantiles();
    this.oldest = 0;
  }

  /** Bytes that came. */
  get bytes() {
    return this.before + (this.way?.bytes ?? 0);
  }

  get dropped() {
    return this.held.dropped;
  }

  /** The stream runs, or another connection publishes it now. */
  start() {
    this.pause();
    const { server, stream, to } = this;
    const path = `streams/${encodeURIComponent(stream)}/annotations`;
    const begin = async (/** @type {FindingsSocket | FindingsAsked} */ way, /** @type {AbortSignal} */ signal) => {
      await way.open(signal);
      this.before = this.bytes;
      this.way = way;
      return { ended: way.ended, stop: () => way.stop() };
    };
    const tell = (/** @type {import("./held.js").Found} */ found) => this.held.tell(found);
    const rungs = [
      { name: "findings", open: (/** @type {AbortSignal} */ signal) => begin(new FindingsSocket(toSocket(server.url(path)), tell), signal) },
      { name: "asked", open: (/** @type {AbortSignal} */ signal) => begin(new FindingsAsked(() => server.weighed(path), tell), signal) },
    ];
    this.ladder = new Ladder(rungs.filter(({ name }) => to.socket || name === "asked"), to.onChange, { upgrades: "beside" });
    this.ladder.start();
  }

  /** Nothing is published at the moment. */
  pause() {
    this.ladder?.stop();
    this.ladder = null;
  }

  hurry() {
    this.ladder?.hurry();
  }

  /** @param {HTMLCanvasElement} picture @param {import("./held.js").Found} found @param {number} captured */
  show(picture, found, captured) {
    const { canvas, context } = this;
    if (!context) return;
    const { width, height } = picture;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    context.drawImage(picture, 0, 0);
    this.sketch.draw(context, found.items, this.to.style);
    canvas.dataset.frame = String(found.sequence);
    const age = now() - captured;
    this.shown += 1;
    this.ages.add(age);
    this.oldest = Math.max(this.oldest, age);
  }
}
