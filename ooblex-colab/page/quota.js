// @ts-check
// A tunnel or proxy whose quota is used up: it is asked again ever more rarely, since each question may count.

import { RungError } from "./ladder.js";

/** What such a tunnel answers by pages or texts of its own; refusals of the server are JSON. */
const STATUSES = [402, 429, 509];
/** The first pause, doubled each time, up to the longest, in milliseconds. */
const FIRST = 5000;
const LONGEST = 300_000;

/** Knows until when nothing is asked. Times come in as milliseconds. */
export class Quota {
  constructor() {
    this.until = -Infinity;
    this.pause = FIRST;
    this.status = 0;
  }

  /**
   * An answer came.
   * @param {{ status: number, headers: Headers }} answer
   * @param {number} now
   */
  learn({ status, headers }, now) {
    if (!STATUSES.includes(status) || /json/i.test(headers.get("Content-Type") ?? "")) {
      this.pause = FIRST;
      return;
    }
    // Of several answers at a time one counts.
    if (now < this.until) return;
    const wished = 1000 * Number(headers.get("Retry-After") ?? 0) || 0;
    this.status = status;
    this.until = now + Math.min(LONGEST, Math.max(this.pause, wished));
    this.pause = Math.min(LONGEST, 2 * this.pause);
  }

  /** Throws as long as nothing is to be asked. @param {number} now */
  check(now) {
    if (now >= this.until) return;
    const seconds = Math.ceil((this.until - now) / 1000);
    throw new RungError(`the quota of the tunnel or proxy is used up (${this.status}): it lets nothing pass; asked again in ${seconds} s`);
  }
}

/** Of the way by which this page came. */
export const quota = new Quota();
