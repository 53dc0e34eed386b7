// @ts-check
// Requests through a notebook: the cell that shows this page hands them to the notebook's kernel, which asks the server. It
// is for what the notebook's port proxy does not pass.

import { RungError } from "./ladder.js";

/** The cell answers at once where it answers at all. */
const GREETING = 3000;
/** Requests that may be on their way: a kernel that runs a cell answers none before that cell has ended. */
const MOST = 4;

/** Why a kernel may not answer. */
export const BUSY = ": it may be running another cell";

/** @typedef {{ id: number, status: number, type: string, body: ArrayBuffer }} Answer */

/** The line to the kernel. */
export class Kernel {
  /**
   * @param {Window} cell
   * @param {string} origin of the cell: nobody else gets the line
   * @param {string} nonce by which the cell knows its page
   */
  constructor(cell, origin, nonce) {
    this.cell = cell;
    this.origin = origin;
    this.nonce = nonce;
    /** @type {Promise<MessagePort> | null} */
    this.line = null;
    /** @type {Map<number, (answer: Answer) => void>} */
    this.waiting = new Map();
    this.last = 0;
  }

  /** Opens the line once; a cell that does not answer is asked again with the next request. */
  open() {
    this.line ??= new Promise((done, failed) => {
      const { port1, port2 } = new MessageChannel();
      const late = setTimeout(() => {
        this.line = null;
        port1.close();
        failed(new RungError("the cell that shows this page does not answer; run it again"));
      }, GREETING);
      port1.onmessage = ({ data }) => {
        if (data === "ready") {
          clearTimeout(late);
          done(port1);
          return;
        }
        this.waiting.get(data.id)?.(data);
        this.waiting.delete(data.id);
      };
      this.cell.postMessage({ ooblex: this.nonce }, this.origin, [port2]);
    });
    return this.line;
  }

  /**
   * As `fetch`, for what the kernel's side allows.
   * @param {string | URL} url of this server
   * @param {RequestInit} [init]
   * @returns {Promise<Response>}
   */
  async fetch(url, { method = "GET", headers, body, signal } = {}) {
    const line = await this.open();
    signal?.throwIfAborted();
    if (this.waiting.size >= MOST) throw new RungError(`the notebook's kernel does not answer${BUSY}`);
    const page = new URL(".", document.baseURI);
    const { pathname, search } = new URL(url, page);
    const path = pathname.slice(page.pathname.length) + search;
    const type = new Headers(headers).get("Content-Type") ?? "";
    const sent = body == null ? null : typeof body === "string" ? new TextEncoder().encode(body) : /** @type {Uint8Array} */ (body);
    const id = (this.last += 1);
    /** @type {Answer} */
    const answer = await new Promise((done, failed) => {
      // Whoever no longer waits still counts as waiting: the kernel has the request before it.
      signal?.addEventListener("abort", () => failed(new RungError(`the notebook's kernel did not answer in time${BUSY}`)), { once: true });
      this.waiting.set(id, done);
      line.postMessage({ id, method, path, type, body: sent });
    });
    return new Response(answer.body, { status: answer.status, headers: { "Content-Type": answer.type } });
  }
}

/** @type {Kernel | null | undefined} */
let kernel;

/** The kernel of the notebook that shows this page, or that opened it in a tab; null where none does. */
export function ofNotebook() {
  if (kernel !== undefined) return kernel;
  // Behind the `#`, which no proxy sees.
  const given = new URLSearchParams(location.hash.slice(1));
  const [nonce, origin] = [given.get("kernel"), given.get("cell")];
  const cell = window.parent === window ? window.opener : window.parent;
  kernel = nonce && origin && cell ? new Kernel(cell, origin, nonce) : null;
  return kernel;
}
