// @ts-check
// What models run, on what, and what they find in the picture.

import { element, readable } from "./effects.js";

/**
 * @typedef {{ name: string, state: string, engine: string | null, device: string | null, memory_bytes: number,
 *   pinned: boolean, failure: string | null, degraded: string | null }} Model
 * @typedef {{ ran: string, engine: string | null, version: string | null, reason: string }} Accelerator
 * @typedef {{ items: { label: string, score: number }[] }} Found
 */

/** Models change rarely: they are asked about in every n-th round. */
const ROUNDS = 5;
/** States in which there is something to say about a model. */
const OF_INTEREST = ["loaded", "loading", "failed"];

const ENGINES = /** @type {Record<string, string>} */ ({ onnx: "ONNX Runtime", rten: "rten", candle: "candle", torch: "libtorch" });

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** The part of the statistics that is about models. */
export class ModelPanel {
  /**
   * @param {{ accelerator: HTMLElement, models: HTMLElement, found: HTMLElement }} places
   * @param {(path: string) => Promise<any>} request
   */
  constructor(places, request) {
    this.places = places;
    this.request = request;
    this.round = 0;
  }

  /** @param {string | null} path of the stream that is shown */
  async refresh(path) {
    const about = this.round % ROUNDS === 0 ? this.renderModels() : Promise.resolve();
    this.round += 1;
    const found = path ? this.request(`${path}/annotations`).catch(() => null) : null;
    this.renderFound(await found);
    await about;
  }

  async renderModels() {
    /** @type {[{ accelerator?: Accelerator }, Model[]]} */
    const [health, models] = await Promise.all([this.request("health"), this.request("models")]);
    const accelerator = health.accelerator;
    if (accelerator) {
      const by = accelerator.engine ? ` by ${ENGINES[accelerator.engine] ?? accelerator.engine} ${accelerator.version ?? ""}` : "";
      this.places.accelerator.textContent = `On ${accelerator.ran === "cpu" ? "the CPU" : accelerator.ran.toUpperCase()}${by}`;
      this.places.accelerator.title = accelerator.reason;
    }
    const rows = models.filter((model) => OF_INTEREST.includes(model.state)).map((model) => this.row(model));
    const none = element("li", { className: "muted" }, "none in memory");
    this.places.models.replaceChildren(...(rows.length > 0 ? rows : [none]));
  }

  /** @param {Model} model */
  row(model) {
    const about = [];
    if (model.state !== "loaded") about.push(model.failure ?? model.state);
    if (model.state === "loaded" && model.memory_bytes > 0) about.push(megabytes(model.memory_bytes));
    if (model.device && model.device !== "cpu") about.push(model.device.toUpperCase());
    if (model.degraded) about.push(model.degraded);
    return element("li", {}, element("b", {}, model.name), about.length > 0 ? ` ${about.join(", ")}` : "");
  }

  /** @param {Found | null} found */
  renderFound(found) {
    /** @type {Map<string, number>} */
    const counts = new Map();
    for (const { label } of found?.items ?? []) counts.set(label, (counts.get(label) ?? 0) + 1);
    const items = [...counts].map(([label, count]) => element("li", {}, element("b", {}, String(count)), ` ${readable(label).toLowerCase()}`));
    this.places.found.replaceChildren(...(items.length > 0 ? items : [element("li", { className: "muted" }, "nothing")]));
  }
}
