// @ts-check
// What the user chose, kept until the server has taken it.

import { Refusal } from "./server.js";

/** All streams, and those that begin later. */
export const ALL = "";

/** @typedef {{ effect: string, params: import("./effects.js").Params }} Choice */

/** Brings choices to the server, one at a time and the newest of each stream; those of a stream that is not there wait for it. */
export class Choices {
  /**
   * @param {object} to
   * @param {(stream: string, choice: Choice) => Promise<unknown>} to.send throws a `Refusal` if the server does not want it
   * @param {(stream: string) => boolean} to.isThere
   * @param {(stream: string, choice: Choice) => void} to.taken
   * @param {(why: string) => void} to.refused
   * @param {(why: string) => void} to.delayed it did not get through
   */
  constructor(to) {
    this.to = to;
    /** @type {Map<string, Choice>} by stream, in the order in which they go */
    this.waiting = new Map();
    this.sending = false;
    /** Choices that the server has taken: what it said before the last one is old. */
    this.taken = 0;
  }

  /** @param {string} stream or `ALL` @param {Choice} choice */
  choose(stream, choice) {
    if (stream === ALL) this.waiting.clear();
    this.waiting.set(stream, choice);
    return this.go();
  }

  /** Whether something that a stream will have is still to be taken. @param {string} stream */
  concern(stream) {
    return this.waiting.has(stream) || this.waiting.has(ALL);
  }

  /** Sends what can be sent. What does not get through stays, for another time. */
  async go() {
    if (this.sending) return;
    this.sending = true;
    for (let next; (next = this.next); ) if (!(await this.send(...next))) break;
    this.sending = false;
  }

  get next() {
    return [...this.waiting].find(([stream]) => stream === ALL || this.to.isThere(stream));
  }

  /**
   * @param {string} stream
   * @param {Choice} choice
   * @returns {Promise<boolean>} whether the server had its say
   */
  async send(stream, choice) {
    /** @type {unknown} */
    let error = null;
    await this.to.send(stream, choice).catch((why) => (error = why));
    const why = error instanceof Error ? error.message : String(error);
    if (error && !(error instanceof Refusal && error.isFinal)) {
      this.to.delayed(why);
      return false;
    }
    // Something newer may have been chosen meanwhile.
    if (this.waiting.get(stream) === choice) this.waiting.delete(stream);
    if (error) this.to.refused(why);
    else {
      this.taken += 1;
      this.to.taken(stream, choice);
    }
    return true;
  }
}
