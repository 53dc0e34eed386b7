// @ts-check
// Pictures that stay here until the server has said what is in them.

/** Pictures that wait at most, and findings: a server that takes longer has fewer of them shown. */
const MOST = 16;

/**
 * @typedef {{ kind: string, label: string, score: number, box?: number[], points: number[][], point_scores?: number[], model: string,
 *   mask?: { width: number, height: number, runs: number[] } }} Item
 * @typedef {{ sequence: number, items: Item[] }} Found
 */

/** Brings pictures and findings together, by the number of the frame that a picture became. */
export class Held {
  /** @param {(picture: HTMLCanvasElement, found: Found, captured: number) => void} show gets each picture once, in order */
  constructor(show) {
    this.show = show;
    /** @type {Map<number, { picture: HTMLCanvasElement, frame: number | null }>} by the time of capture, oldest first */
    this.waiting = new Map();
    /** @type {Map<number, Found>} without a picture yet, by frame */
    this.found = new Map();
    /** @type {HTMLCanvasElement[]} to be used again */
    this.spare = [];
    this.dropped = { unmatched: 0 };
  }

  /** Frames are numbered anew from here on: another connection publishes. */
  begin() {
    for (const captured of this.waiting.keys()) this.forget(captured);
    this.found.clear();
  }

  /** Keeps a copy of what is about to be sent. @param {import("./frames.js").Taken} taken stays the caller's */
  keep({ picture, width, height, captured }) {
    for (const oldest of this.waiting.keys()) {
      if (this.waiting.size < MOST) break;
      this.dropped.unmatched += 1;
      this.forget(oldest);
    }
    const copy = this.spare.pop() ?? document.createElement("canvas");
    if (copy.width !== width || copy.height !== height) Object.assign(copy, { width, height });
    copy.getContext("2d", { alpha: false })?.drawImage(picture, 0, 0, width, height);
    this.waiting.set(captured, { picture: copy, frame: null });
  }

  /** A picture became this frame of the stream. @param {number} captured @param {number} frame */
  numbered(captured, frame) {
    const waiting = this.waiting.get(captured);
    if (!waiting) return;
    waiting.frame = frame;
    const found = this.found.get(frame);
    if (found) this.match(captured, waiting.picture, found);
  }

  /** This was found in a frame. @param {Found} found */
  tell(found) {
    for (const [captured, { picture, frame }] of this.waiting) {
      if (frame === found.sequence) return this.match(captured, picture, found);
    }
    this.found.set(found.sequence, found);
    for (const oldest of this.found.keys()) {
      if (this.found.size <= MOST) break;
      this.found.delete(oldest);
    }
  }

  /** @param {number} captured @param {HTMLCanvasElement} picture @param {Found} found */
  match(captured, picture, found) {
    this.show(picture, found, captured);
    // What is older would be shown after what is newer.
    for (const earlier of this.waiting.keys()) {
      if (earlier < captured) this.dropped.unmatched += 1;
      if (earlier <= captured) this.forget(earlier);
    }
    for (const frame of this.found.keys()) if (frame <= found.sequence) this.found.delete(frame);
  }

  /** @param {number} captured */
  forget(captured) {
    const waiting = this.waiting.get(captured);
    if (waiting) this.spare.push(waiting.picture);
    this.waiting.delete(captured);
  }
}
