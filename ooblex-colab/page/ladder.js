// @ts-check
// Which way of transport runs. The rungs are tried from the best one down; the first that works is kept until it ends,
// and each better one has a reason why it does not run.

import { pauseBefore } from "./pace.js";

/** A rung that ran for this long is worth trying again first when it ends. */
const PROVEN = 5000;
/** While a lower rung runs, better ones are tried again after this, then ever more rarely. */
const UPGRADE = 30_000;
const LONGEST_UPGRADE = 240_000;

/** A way does not work: the message is for people; `final` says that it will not work later either. */
export class RungError extends Error {
  /** @param {string} message @param {{ final?: boolean, stop?: boolean }} [kind] `stop`: no other rung will do either */
  constructor(message, { final = false, stop = false } = {}) {
    super(message);
    this.final = final;
    this.stop = stop;
  }
}

/**
 * A way has not begun in time, but still may: those below it are tried meanwhile.
 * @template T
 */
export class Late extends RungError {
  /**
   * @param {string} message
   * @param {Promise<any>} coming rejects once it will not begin any more
   * @param {() => void} stop gives it up
   * @param {(begun: any) => T} [make] what `coming` resolves with is made into this once it takes over, and not before:
   *   it is shown then
   */
  constructor(message, coming, stop, make = (begun) => begun) {
    super(message);
    this.coming = coming;
    this.stopWaiting = stop;
    this.make = make;
  }

  /** The same for what is made of it. @template U @param {(begun: T) => U} make @returns {Late<U>} */
  map(make) {
    return new Late(this.message, this.coming, this.stopWaiting, (begun) => make(this.make(begun)));
  }
}

/**
 * @typedef {{ ended: Promise<RungError>, stop: () => void }} Running `ended` is resolved when it no longer works
 * @typedef {{ name: string, open: (signal: AbortSignal) => Promise<Running>, probe?: (signal: AbortSignal) => Promise<void> }} Rung
 *   `open` resolves once it works, throws why not, and cleans up after itself when it throws; `probe` finds out whether
 *   it may work without disturbing the one that runs
 * @typedef {{ phase: "idle" | "trying" | "running" | "waiting" | "refused", rung: string, reasons: [string, string][],
 *   wait: number }} State
 * @typedef {{ now: () => number, random: () => number, sleep: (ms: number, signal: AbortSignal) => Promise<void> }} World
 */

/** @type {World} */
const WORLD = {
  now: () => performance.now(),
  random: Math.random,
  sleep: (ms, signal) =>
    new Promise((done) => {
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", () => (clearTimeout(timer), done()), { once: true });
    }),
};

/** Keeps the best rung that works running. */
export class Ladder {
  /**
   * @param {Rung[]} rungs best first
   * @param {(state: State) => void} onChange
   * @param {{ upgrades: "beside" | "probed", world?: World }} options how better ones are tried again while a lower one
   *   runs: beside it, or by a probe, if two must not run at a time
   */
  constructor(rungs, onChange, { upgrades, world = WORLD }) {
    this.rungs = rungs;
    this.upgrades = upgrades;
    this.onChange = onChange;
    this.world = world;
    this.upgradeAfter = UPGRADE;
    /** @type {Map<string, RungError>} why rungs do not run */
    this.reasons = new Map();
    /** @type {Running | null} */
    this.running = null;
    /** @type {{ at: number, coming: Promise<{ begin: () => Running } | { failed: unknown }>, stop: () => void } | null} one that
     *   may still begin */
    this.late = null;
    this.control = new AbortController();
    /** @type {State} */
    this.state = { phase: "idle", rung: "", reasons: [], wait: 0 };
  }

  start() {
    void this.run(this.control.signal);
  }

  stop() {
    this.control.abort();
    this.giveUpLate();
    this.running?.stop();
    this.running = null;
  }

  /** Cuts a pause short, or tries the better rungs now, e.g. after a change of networks. */
  hurry() {
    this.wake?.abort();
  }

  /** @param {AbortSignal} signal */
  async run(signal) {
    let attempt = 0;
    let first = 0;
    while (!signal.aborted) {
      const outcome = await this.climb(first, signal);
      if (signal.aborted) return;
      if (outcome === "stop") return this.tell("refused", "", 0);
      if (outcome !== null) {
        // It worked for a while: the same one first, then the ones below it.
        [attempt, first] = [0, outcome];
        continue;
      }
      // Whatever was skipped or failed gets its chance again.
      first = 0;
      const wait = pauseBefore(attempt, this.world.random());
      attempt += 1;
      this.tell("waiting", "", wait);
      this.wake = new AbortController();
      await this.world.sleep(wait, AbortSignal.any([signal, this.wake.signal]));
    }
  }

  /**
   * Tries the rungs from one on down until one runs, and waits for its end.
   * @param {number} from
   * @param {AbortSignal} signal
   * @returns {Promise<number | "stop" | null>} the rung to go on with, null if none works
   */
  async climb(from, signal) {
    this.giveUpLate();
    for (let at = from; at < this.rungs.length; at += 1) {
      const { name, open } = this.rungs[at];
      if (this.reasons.get(name)?.final) continue;
      this.tell("trying", name, 0);
      try {
        const running = await open(signal);
        if (signal.aborted) {
          running.stop();
          return null;
        }
        const next = await this.hold(at, running, signal);
        if (next !== null || signal.aborted) return next;
      } catch (error) {
        if (error instanceof Late) this.expect(at, error);
        if (signal.aborted) return null;
        if (this.refused(name, error)) return "stop";
      }
    }
    // Nothing works but what may still begin.
    const { late } = this;
    const outcome = await late?.coming;
    if (signal.aborted || !late || !outcome) return null;
    if ("begin" in outcome) return this.hold(late.at, outcome.begin(), signal);
    return this.refused(this.rungs[late.at].name, outcome.failed) ? "stop" : null;
  }

  /** @param {number} at @param {Late<Running>} late */
  expect(at, late) {
    const coming = late.coming.then((begun) => ({ begin: () => late.make(begun) }), (failed) => ({ failed }));
    this.late = { at, coming, stop: late.stopWaiting };
    if (this.control.signal.aborted) this.giveUpLate();
  }

  giveUpLate() {
    this.late?.stop();
    this.late = null;
  }

  /**
   * Lets a rung run until it ends, or until a better one is found to work meanwhile.
   * @param {number} at
   * @param {Running} running
   * @param {AbortSignal} signal
   * @returns {Promise<number | "stop" | null>} as `climb`; null also if it ended too early to be tried again
   */
  async hold(at, running, signal) {
    let began = this.adopt(at, running);
    for (;;) {
      const timer = new AbortController();
      this.wake = timer;
      const until = AbortSignal.any([signal, timer.signal]);
      const { late } = this;
      const what = await Promise.race([
        running.ended,
        ...(late ? [late.coming] : []),
        ...(at > 0 ? [this.world.sleep(this.upgradeAfter, until)] : []),
      ]);
      timer.abort();
      if (signal.aborted) return null;
      if (late && what && "begin" in what) {
        running.stop();
        this.late = null;
        [at, running] = [late.at, what.begin()];
        began = this.adopt(at, running);
        continue;
      }
      if (late && what && "failed" in what) {
        this.late = null;
        this.refused(this.rungs[late.at].name, what.failed);
        this.tell("running", this.rungs[at].name, 0);
        continue;
      }
      const why = /** @type {RungError | void} */ (what);
      if (why) {
        running.stop();
        this.running = null;
        this.reasons.set(this.rungs[at].name, why);
        if (why.stop) return "stop";
        return this.world.now() - began >= PROVEN ? at : null;
      }
      this.upgradeAfter = Math.min(2 * this.upgradeAfter, LONGEST_UPGRADE);
      const better = await this.better(at, signal);
      if (!better) continue;
      running.stop();
      if (!better.running) return better.at;
      [at, running] = [better.at, better.running];
      began = this.adopt(at, running);
    }
  }

  /** @param {number} at @param {Running} running */
  adopt(at, running) {
    if (this.late && this.late.at >= at) this.giveUpLate();
    this.running = running;
    this.reasons.delete(this.rungs[at].name);
    this.tell("running", this.rungs[at].name, 0);
    return this.world.now();
  }

  /**
   * The first rung above one that works now, or that a probe says may work.
   * @param {number} below
   * @param {AbortSignal} signal
   */
  async better(below, signal) {
    for (let at = 0; at < below && !signal.aborted; at += 1) {
      const { name, open, probe } = this.rungs[at];
      // What may still begin by itself is not begun a second time.
      if (this.reasons.get(name)?.final || this.late?.at === at || (this.upgrades === "probed" && !probe)) continue;
      try {
        if (this.upgrades === "probed") {
          await probe?.(signal);
          return { at, running: null };
        }
        const running = await open(signal);
        if (!signal.aborted) return { at, running };
        running.stop();
      } catch (error) {
        if (error instanceof Late) this.expect(at, error);
        if (!signal.aborted) this.refused(name, error);
      }
    }
    return null;
  }

  /**
   * Notes why a rung does not work; true if no other will do either.
   * @param {string} name
   * @param {unknown} error
   */
  refused(name, error) {
    const known = error instanceof RungError ? error : new RungError(error instanceof Error ? error.message : String(error));
    this.reasons.set(name, known);
    return known.stop;
  }

  /** @param {State["phase"]} phase @param {string} rung @param {number} wait */
  tell(phase, rung, wait) {
    const at = this.rungs.findIndex(({ name }) => name === rung);
    const better = at < 0 ? this.rungs : this.rungs.slice(0, at);
    const reasons = better.flatMap(({ name }) => {
      const why = this.reasons.get(name);
      return why ? [/** @type {[string, string]} */ ([name, why.message])] : [];
    });
    this.state = { phase, rung, reasons, wait };
    this.onChange(this.state);
  }
}
