// @ts-check
// Watching a stream by the best way that works.

import { decoders } from "./down.js";
import { SnapshotDown } from "./http.js";
import { ofNotebook } from "./kernel.js";
import { Ladder, Late, RungError } from "./ladder.js";
import { LiveSession } from "./live.js";
import { MjpegDown } from "./mjpeg.js";
import { ROADS, ROAD_NAMES, Roads } from "./relays.js";
import { WhepDown } from "./whep.js";

/** @typedef {import("./ladder.js").Rung} Rung */
/** @typedef {import("./wire.js").Codec} Codec */

/**
 * @typedef {object} Server
 * @property {(path: string) => URL} url
 * @property {(path: string) => URL} shown the same for elements that show pictures
 * @property {(path: string, body?: unknown) => Promise<any>} request
 * @property {() => string} [noWebRtc] why WebRTC was just found not to work from here; empty if it was not
 * @property {(id: string) => boolean} isStill whether a stream has pictures, but no new ones
 * @property {(path: string) => Promise<string>} absent why the server does not serve a path; empty if it has
 */

/** A page that is hidden for this long stops watching. */
const HIDDEN = 20_000;

/** Most snapshots a second through a notebook's kernel. */
const THROUGH_KERNEL = 5;

/** What the rungs are called. */
export const NAMES = /** @type {Record<string, string>} */ ({
  ...ROAD_NAMES,
  ws: "WebSocket video",
  "ws-jpeg": "WebSocket pictures",
  http: "MJPEG",
  snapshot: "Snapshots",
  kernel: "Snapshots through the notebook",
});

/** @param {URL} url */
export const toSocket = (url) => {
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
};

/** Shows a stream. */
export class Watcher {
  /**
   * @param {Server} server
   * @param {{ show: (element: HTMLElement) => void, recording: boolean }} stage
   * @param {string} forced the one rung to use; empty for the best
   * @param {Codec | ""} codec the one video codec to use
   * @param {(state: import("./ladder.js").State) => void} onChange
   */
  constructor(server, stage, forced, codec, onChange) {
    this.server = server;
    this.stage = stage;
    this.forced = forced;
    this.codec = codec;
    this.onChange = onChange;
    /** @type {Ladder | null} */
    this.ladder = null;
    /** @type {LiveSession | MjpegDown | SnapshotDown | WhepDown | null} */
    this.view = null;
    /** @type {string | null} the stream; empty for the newest, null for none */
    this.stream = null;
    this.hiding = 0;
    /** Of the stream that is watched. */
    this.fate = { ends: false };
    /** Video was passed over because the stream stood still. */
    this.wasStill = false;
    document.addEventListener("visibilitychange", () => this.onVisibility());
  }

  /** @param {string | null} stream */
  show(stream) {
    if (stream === this.stream) return;
    this.ladder?.stop();
    this.ladder = null;
    this.view = null;
    this.stream = stream;
    if (stream === null) return;
    // WebRTC may be had for one direction alone; the best other way then serves the other.
    const one = this.forced && this.forced !== "webrtc";
    const rungs = this.rungs(stream).filter(({ name }) => !one || name === this.forced);
    this.ladder = new Ladder(rungs, this.onChange, { upgrades: "beside" });
    this.ladder.start();
  }

  /**
   * Stops watching a stream that ends now. The server then ends the sessions of its viewers: one that was ended from here,
   * too, might not be there any more.
   */
  leave() {
    this.fate.ends = true;
    this.show(null);
  }

  /** The server said how its streams are: one that moves again may be had as video. */
  onStatus() {
    if (!this.wasStill || !this.stream || this.server.isStill(this.stream)) return;
    this.wasStill = false;
    this.hurry();
  }

  /** Tries again at once, from the best way down. */
  hurry() {
    this.ladder?.hurry();
  }

  /** @param {string} stream @returns {Rung[]} */
  rungs(stream) {
    const { server } = this;
    const fate = (this.fate = { ends: false });
    const path = stream ? `streams/${encodeURIComponent(stream)}/` : "";
    const file = (/** @type {string} */ name) => server.url(`${path}${name}`).href;
    const has = async (/** @type {string} */ name) => {
      const absent = await server.absent(name);
      if (absent) throw new RungError(absent);
    };
    const moves = () => {
      if (this.forced || !server.isStill(stream)) return;
      // Video is for what is new: the newest picture of such a stream is older than any budget.
      this.wasStill = true;
      throw new RungError("the stream stands still");
    };
    const canvas = () => document.createElement("canvas");
    const connect = async (/** @type {string} */ road, /** @type {AbortSignal} */ signal) => {
      if (!stream) throw new RungError("WebRTC shows a stream that is chosen by name");
      await has("/whep");
      moves();
      const known = server.noWebRtc?.();
      if (known) throw new RungError(known);
      const view = new WhepDown(server.url(`whep/${encodeURIComponent(stream)}`), server.request, fate, road);
      await view.open(signal);
      return view;
    };
    const roads = new Roads(connect, (made) => made.tookRoad(), ROADS.includes(this.forced));
    const whep = (/** @type {string} */ road) => async (/** @type {AbortSignal} */ signal) => {
      const view = await roads.open(road, signal);
      return this.adopt(view, view.video, signal);
    };
    const live = async (/** @type {Codec[]} */ codecs, /** @type {AbortSignal} */ signal) => {
      await has("/ws/view");
      moves();
      const place = canvas();
      const url = server.url("ws/view");
      if (stream) url.searchParams.set("stream", stream);
      const session = new LiveSession({ url: toSocket(url), view: { canvas: place, codecs } });
      return this.begin(session, place, signal);
    };
    const video = async (/** @type {AbortSignal} */ signal) => {
      const { codecs, absent } = await decoders();
      const wanted = codecs.filter((codec) => !this.codec || codec === this.codec);
      if (wanted.length === 0) throw new RungError(absent || `this browser does not decode ${this.codec}`, { final: true });
      return live(wanted, signal);
    };
    const mjpeg = async (/** @type {AbortSignal} */ signal) => {
      await has("/stream.mjpg");
      const view = new MjpegDown(server.shown(`${path}stream.mjpg`).href, file("snapshot.jpg"));
      return this.begin(view, view.image, signal);
    };
    const snapshots = (/** @type {AbortSignal} */ signal, /** @type {import("./http.js").Way} */ way) => {
      const place = canvas();
      return this.begin(new SnapshotDown(place, file("snapshot.jpg"), way), place, signal);
    };
    const kernel = ofNotebook();
    return [
      ...ROADS.map((road) => ({ name: road, open: whep(road) })),
      { name: "ws", open: video },
      { name: "ws-jpeg", open: (signal) => live(["jpeg"], signal) },
      { name: "http", open: mjpeg },
      { name: "snapshot", open: (signal) => snapshots(signal, {}) },
      ...(kernel ? [{ name: "kernel", open: (/** @type {AbortSignal} */ signal) => snapshots(signal, { ask: kernel.fetch.bind(kernel), most: THROUGH_KERNEL }) }] : []),
    ];
  }

  /**
   * @param {LiveSession | MjpegDown | SnapshotDown | WhepDown} view
   * @param {HTMLElement} element
   * @param {AbortSignal} signal
   */
  async begin(view, element, signal) {
    const begun = () => this.adopt(view, element, signal);
    try {
      await view.open(signal);
    } catch (error) {
      throw error instanceof Late ? error.map(begun) : error;
    }
    return begun();
  }

  /**
   * Shows what has begun.
   * @param {LiveSession | MjpegDown | SnapshotDown | WhepDown} view
   * @param {HTMLElement} element
   * @param {AbortSignal} signal
   */
  adopt(view, element, signal) {
    if (!signal.aborted) {
      this.view = view;
      const show = () => view === this.view && this.stage.show(element);
      // A stream that stands still has nothing to show yet.
      if (view instanceof LiveSession) void view.first.then(show);
      else show();
    }
    return { ended: view.ended, stop: () => (view instanceof LiveSession ? view.close() : view.stop()) };
  }

  onVisibility() {
    clearTimeout(this.hiding);
    const { stream } = this;
    if (document.hidden) {
      this.hiding = window.setTimeout(() => {
        if (this.stage.recording) return;
        this.ladder?.stop();
        this.ladder = null;
      }, HIDDEN);
    } else if (stream !== null && !this.ladder) {
      this.stream = null;
      this.show(stream);
    }
  }
}
