// @ts-check
// Where the time of a frame goes, from the camera to the screen, as one stacked bar.

import { element, readable } from "./effects.js";

/** @typedef {{ name: string, place: "page" | "network" | "server", p50: number, p99: number | null }} Part */

/** What the server's stages are called; effects go by their own names. */
const STAGES = /** @type {Record<string, string>} */ ({
  decode: "Decode",
  none: "No effect",
  queue: "Wait for the effect",
  handover: "Wait for viewers",
  encode: "Encode",
  send: "Send",
});

/** Parts that are shorter than this are not told apart. */
const LEAST = 0.005;

/**
 * The parts in order of time.
 * @param {{ stage: string, p50: number | null, p99: number | null }[]} stages of the server
 * @param {{ age: { p50: number | null, p99: number | null } | null, encode: { p50: number | null, p99: number | null } | null,
 *   show: { p50: number | null, p99: number | null } | null }} page what this page measures itself
 * @returns {Part[]}
 */
export function parts(stages, page) {
  /** @type {Part[]} */
  const list = [];
  if (page.encode?.p50 != null) list.push({ name: "Encode here", place: "page", p50: page.encode.p50, p99: page.encode.p99 });
  for (const { stage, p50, p99 } of stages) {
    if (p50 !== null) list.push({ name: STAGES[stage] ?? readable(stage), place: "server", p50, p99 });
  }
  if (page.show?.p50 != null) list.push({ name: "Decode and show here", place: "page", p50: page.show.p50, p99: page.show.p99 });
  if (page.age?.p50 != null) {
    // What nobody measured is the way: the network, and waiting in the sockets.
    const rest = page.age.p50 - list.reduce((sum, part) => sum + part.p50, 0);
    if (rest > LEAST) list.splice(list.length - 1, 0, { name: "Network and waiting", place: "network", p50: rest, p99: null });
  }
  return list.filter(({ p50 }) => p50 >= LEAST);
}

/** @param {number | null} value */
const ms = (value) => (value === null ? "–" : `${value < 10 ? value.toFixed(2) : value.toFixed(1)} ms`);

/** Shows the parts. */
export class Ledger {
  /** @param {HTMLElement} bar @param {HTMLElement} rows body of a table */
  constructor(bar, rows) {
    this.bar = bar;
    this.rows = rows;
  }

  /** @param {Part[]} list */
  render(list) {
    const sum = list.reduce((total, { p50 }) => total + p50, 0);
    const pieces = list.map(({ name, place, p50 }, i) => {
      const piece = element("i", { className: place, title: `${name}: ${ms(p50)}` });
      piece.style.flexGrow = String(p50 / Math.max(sum, LEAST));
      piece.style.setProperty("--shade", String(i % 3));
      return piece;
    });
    this.bar.replaceChildren(...pieces);
    const text = list.map(({ name, p50 }) => `${name} ${ms(p50)}`).join(", ");
    this.bar.setAttribute("aria-label", list.length > 0 ? `Median time of a frame: ${text}` : "No frames yet");
    const rows = list.map(({ name, place, p50, p99 }, i) => {
      const swatch = element("i", { className: `swatch ${place}` });
      swatch.style.setProperty("--shade", String(i % 3));
      const head = element("th", { scope: "row" }, swatch, name);
      return element("tr", {}, head, element("td", {}, ms(p50)), element("td", { className: "value muted" }, ms(p99)));
    });
    const none = element("tr", {}, element("td", { className: "none muted" }, "no frames yet"));
    this.rows.replaceChildren(...(rows.length > 0 ? rows : [none]));
  }
}
