// @ts-check
// Rates from counters: pictures a second and bytes a minute.

import { now } from "./frames.js";

/** The span over which rates are taken, in milliseconds. */
const SPAN = 5000;

/** The rate of a counter that only rises. */
class Meter {
  constructor() {
    /** @type {unknown} */
    this.of = null;
    /** @type {{ at: number, count: number }[]} */
    this.points = [];
  }

  /** A second. @param {unknown} of another object is another counter @param {number} count */
  rate(of, count) {
    if (of !== this.of) [this.of, this.points] = [of, []];
    const at = now();
    this.points.push({ at, count });
    while (this.points.length > 2 && at - this.points[0].at > SPAN) this.points.shift();
    const [first] = this.points;
    return at - first.at < 500 ? null : Math.max(0, (1000 * (count - first.count)) / (at - first.at));
  }
}

/** What a way takes of a data plan. */
class Volume extends Meter {
  /** @param {object | null | undefined} way with `bytes`, if it knows them */
  perMinute(way) {
    const bytes = way && "bytes" in way ? this.rate(way, Number(way.bytes)) : null;
    return bytes === null ? "" : `${((bytes * 60) / 1e6).toFixed(1)} MB/min`;
  }
}

/** @typedef {{ bytes: number, sent: number, size: { width: number, height: number }, tripTimes: import("./pace.js").Quantiles }} Sender */

/** What is sent and received. */
export class Traffic {
  constructor() {
    this.up = new Volume();
    this.down = new Volume();
    this.frames = new Meter();
  }

  /** How a source is sent, in a few words. @param {Sender | null} sender */
  sending(sender) {
    if (!sender) return "";
    const rate = this.frames.rate(sender, sender.sent);
    const { width, height } = sender.size;
    const trip = sender.tripTimes.p50;
    return [
      width > 0 ? `Sending ${width}×${height}` : "Sending",
      rate === null ? "" : `${Math.round(rate)} pictures/s`,
      trip === null ? "" : `acknowledged after ${Math.round(trip)} ms`,
    ].filter(Boolean).join(", ");
  }
}
