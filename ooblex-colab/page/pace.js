// @ts-check
// How fast and how large: the server's clock, the bit rate that the way up takes, the ages of pictures. Nothing here
// touches the page or reads a clock; times come in as milliseconds.

/** Exchanges among which the one with the shortest way counts. */
const EXCHANGES = 20;

/** Estimates how far the server's clock is ahead of this page's. */
export class Clock {
  constructor() {
    /** @type {{ way: number, offset: number }[]} */
    this.exchanges = [];
  }

  /**
   * @param {number} sent by this page's clock
   * @param {number} received by this page's clock
   * @param {number} server in between, by the server's
   */
  add(sent, received, server) {
    if (!(received >= sent)) return;
    this.exchanges.push({ way: received - sent, offset: server - (sent + received) / 2 });
    if (this.exchanges.length > EXCHANGES) this.exchanges.shift();
  }

  get best() {
    if (this.exchanges.length === 0) return null;
    return this.exchanges.reduce((best, other) => (other.way < best.way ? other : best));
  }

  /** Milliseconds to add to this page's time; 0 before the first exchange. */
  get offset() {
    return this.best?.offset ?? 0;
  }

  /** The offset is off by at most this; null before the first exchange. */
  get error() {
    return this.best ? this.best.way / 2 : null;
  }

  /** The newest way there and back; null before the first exchange. */
  get roundTrip() {
    return this.exchanges.at(-1)?.way ?? null;
  }
}

/** Half and 99 % of the newest values stay below these. */
export class Quantiles {
  /** @param {number} [keep] */
  constructor(keep = 300) {
    this.keep = keep;
    /** @type {number[]} */
    this.values = [];
  }

  /** @param {number} value */
  add(value) {
    this.values.push(value);
    if (this.values.length > this.keep) this.values.shift();
  }

  /** @param {number} share 0 to 1 @returns {number | null} */
  at(share) {
    if (this.values.length === 0) return null;
    const sorted = [...this.values].sort((a, b) => a - b);
    return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  }

  get p50() {
    return this.at(0.5);
  }

  get p99() {
    return this.at(0.99);
  }
}

/** An acknowledgement may be this much later than the fastest ones before the link counts as full. */
const LATE = 80;
/** The fastest acknowledgement is forgotten after this: a route may have become longer. */
const MEMORY = 30_000;
/** One reaction to a full link in this time: what is on its way was sent at the old rate. */
const SETTLE = 700;
/** Pause between two steps up. */
const CLIMB = 1000;
const STEP_KBPS = 120;
const BACK = 0.7;

/** The bit rate: up in steps while acknowledgements come in time, down by a factor when they do not (AIMD). */
export class Rate {
  /** @param {{ least: number, most: number, start: number }} kbps */
  constructor({ least, most, start }) {
    this.least = least;
    this.most = most;
    this.kbps = Math.min(most, Math.max(least, start));
    this.fastest = Infinity;
    this.fastestAt = 0;
    this.loweredAt = -Infinity;
    this.raisedAt = -Infinity;
  }

  /**
   * A picture was acknowledged.
   * @param {number} now
   * @param {number} took since it was sent
   */
  acknowledged(now, took) {
    if (took <= this.fastest || now - this.fastestAt > MEMORY) [this.fastest, this.fastestAt] = [took, now];
    if (took > this.fastest + LATE) {
      this.full(now);
    } else if (now - this.raisedAt >= CLIMB && now - this.loweredAt >= CLIMB) {
      this.raisedAt = now;
      this.kbps = Math.min(this.most, this.kbps + STEP_KBPS);
    }
  }

  /**
   * A picture was not sent because earlier ones are still on their way.
   * @param {number} now
   * @param {number} waited since the oldest of them was sent: a long way alone does not make a link full
   */
  held(now, waited) {
    if (waited > this.fastest + LATE) this.full(now);
  }

  /** The link takes no more. @param {number} now */
  full(now) {
    if (now - this.loweredAt < SETTLE) return;
    this.loweredAt = now;
    this.kbps = Math.max(this.least, Math.round(this.kbps * BACK));
  }
}

/** Lets at most so many pictures a second pass, evenly over time even if they come unevenly. */
export class Pace {
  /** @param {number} perSecond */
  constructor(perSecond) {
    this.distance = 1000 / perSecond;
    this.due = -Infinity;
  }

  /** From now on. @param {number} perSecond */
  setMost(perSecond) {
    this.distance = 1000 / perSecond;
  }

  /** @param {number} at */
  isDue(at) {
    // A tenth of the distance may be missing: cameras are not punctual.
    return at >= this.due - 0.1 * this.distance;
  }

  /** A picture passes. @param {number} at */
  take(at) {
    this.due = Math.max(this.due, at - this.distance) + this.distance;
  }
}

/** Frames that a server which sends nothing must have processed to be at fault, and for how long. */
const MISSED = 30;
const SILENT = 2000;

/** Notices that nothing comes although the server goes on. */
export class Silence {
  constructor() {
    /** What had come and been processed when something came last, and until when all was well. */
    this.last = { received: -1, frames: 0, at: 0 };
  }

  /**
   * Called about once a second.
   * @param {number} now
   * @param {number} received pictures that came here
   * @param {number} frames frames that the server has processed
   */
  lasts(now, received, frames) {
    const { last } = this;
    if (received !== last.received || frames < last.frames) this.last = { received, frames, at: now };
    else if (frames < last.frames + MISSED) last.at = now;
    return now - this.last.at > SILENT;
  }
}

/** Heights, with the rate from which they look better than the next smaller one. */
const HEIGHTS = [
  { height: 720, from: 800 },
  { height: 480, from: 420 },
  { height: 360, from: 220 },
  { height: 240, from: 0 },
];
/** A larger size has to be worth this much more, lest the size goes to and fro. */
const HYSTERESIS = 1.3;

/**
 * The height for a bit rate.
 * @param {number} kbps
 * @param {number} present
 */
export function heightFor(kbps, present) {
  const fit = (/** @type {number} */ rate) => HEIGHTS.find(({ from }) => rate >= from)?.height ?? 240;
  const [eager, careful] = [fit(kbps), fit(kbps / HYSTERESIS)];
  return present >= eager ? eager : Math.max(present, careful);
}

/**
 * The size that a picture is sent in: not enlarged, proportions kept, even numbers (4:2:0 has half as many colours).
 * @param {number} width
 * @param {number} height
 * @param {number} most height, or width of an upright picture
 */
export function sizeWithin(width, height, most) {
  const scale = Math.min(1, most / Math.min(width, height));
  const even = (/** @type {number} */ size) => Math.max(2, 2 * Math.round((size * scale) / 2));
  return { width: even(width), height: even(height) };
}

/**
 * Pause before an attempt: doubled each time, cut at `longest`, and different in each page, so that pages do not all
 * come back at the same moment.
 * @param {number} attempt from 0
 * @param {number} random 0 to 1
 */
export function pauseBefore(attempt, random, first = 500, longest = 8000) {
  return Math.min(longest, first * 2 ** Math.min(attempt, 16)) * (0.5 + random / 2);
}
