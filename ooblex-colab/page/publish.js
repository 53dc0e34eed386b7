// @ts-check
// Publishing a source by the best way that works.

import { decoders } from "./down.js";
import { HttpUp } from "./http.js";
import { BUSY, ofNotebook } from "./kernel.js";
import { Ladder, RungError } from "./ladder.js";
import { LiveSession, passes } from "./live.js";
import { ROADS, ROAD_NAMES, Roads } from "./relays.js";
import { encoders } from "./up.js";
import { toSocket } from "./watch.js";
import { WebRtcSender } from "./webrtc.js";

/** @typedef {import("./wire.js").Codec} Codec */
/** @typedef {import("./source.js").Source} Source */

/** Where the tokens are kept by which a stream keeps its name. */
const RESUME = "ooblex-resume";

/** Pictures travel as text through the notebook, so they are fewer and smaller. */
const KERNEL = { most: 10, height: 480, silent: BUSY };

/** What the rungs are called. */
export const WAYS = /** @type {Record<string, string>} */ ({
  ...ROAD_NAMES,
  ws: "WebSocket video",
  "ws-jpeg": "WebSocket pictures",
  http: "Upload by HTTP",
  kernel: "Upload through the notebook",
});

/** Publishes one source as one stream. */
export class Publisher {
  /**
   * @param {import("./watch.js").Server} server
   * @param {(path: string) => void} end of a WebRTC session
   * @param {string} forced the one rung to use; empty for the best
   * @param {Codec | ""} codec the one video codec to use
   * @param {{ onChange: (state: import("./ladder.js").State) => void, onStop: (why: string) => void }} to
   */
  constructor(server, end, forced, codec, to) {
    this.server = server;
    this.end = end;
    // The upload is the same for both ways of watching by HTTP.
    this.forced = forced === "snapshot" ? "http" : forced;
    this.codec = codec;
    this.to = to;
    /** @type {Source | null} */
    this.source = null;
    /** @type {Ladder | null} */
    this.ladder = null;
    /** @type {import("./held.js").Held | null} where pictures stay that do not come back; null if they do */
    this.held = null;
    /** @type {WebRtcSender | LiveSession | HttpUp | null} what runs */
    this.way = null;
    /** The processed picture, where it comes back on the session that publishes. */
    this.canvas = document.createElement("canvas");
    this.stream = "";
    window.addEventListener("pagehide", () => this.running && this.stop());
  }

  get running() {
    return this.source !== null;
  }

  /** The session that also brings the processed picture back, if one does. */
  get session() {
    return this.way instanceof LiveSession && this.way.down ? this.way : null;
  }

  /**
   * @param {Source} source is stopped with this
   * @param {string} stream
   */
  start(source, stream) {
    this.source = source;
    this.stream = stream;
    source.onEnd = (why) => this.source === source && this.stop(why);
    this.climb();
  }

  /**
   * From now on only findings come back, for pictures that are held here; or pictures again.
   * @param {import("./held.js").Held | null} held
   */
  hold(held) {
    this.held = held;
    if (!this.running) return;
    this.ladder?.stop();
    this.way = null;
    this.climb();
  }

  climb() {
    // WebRTC is no way for pictures that are held here; then the best other way serves.
    const one = this.held && this.forced === "webrtc" ? "" : this.forced;
    const rungs = this.rungs().filter(({ name }) => !one || name === one);
    this.ladder = new Ladder(rungs, (state) => {
      if (state.phase !== "running") this.way = null;
      this.to.onChange(state);
      if (state.phase === "refused") this.stop(this.ladder ? [...this.ladder.reasons.values()].find((why) => why.stop)?.message : "");
    }, { upgrades: "probed" });
    this.ladder.start();
  }

  /** Another source for the same stream. @param {Source} source */
  replace(source) {
    const { stream } = this;
    this.quit();
    this.start(source, stream);
  }

  /** Tries again at once, from the best way down. */
  hurry() {
    this.ladder?.hurry();
  }

  /** @returns {import("./ladder.js").Rung[]} */
  rungs() {
    const { server, stream, held } = this;
    const media = /** @type {Source} */ (this.source).media;
    const [track] = media.getVideoTracks();
    const connect = async (/** @type {string} */ road, /** @type {AbortSignal} */ signal) => {
      const absent = await server.absent("/webrtc/offer");
      if (absent) throw new RungError(absent);
      if (held) throw new RungError("WebRTC does not say which frame a picture became");
      const sender = new WebRtcSender(media, stream, server.request, this.end, road);
      await sender.start(signal);
      return sender;
    };
    const roads = new Roads(connect, (made) => made.tookRoad(), ROADS.includes(this.forced));
    const webrtc = (/** @type {string} */ road) => async (/** @type {AbortSignal} */ signal) => {
      const sender = await roads.open(road, signal);
      this.way = sender;
      return { ended: sender.ended, stop: () => sender.stop() };
    };
    const live = async (/** @type {Codec[]} */ up, /** @type {Codec[]} */ down, /** @type {AbortSignal} */ signal) => {
      const absent = await server.absent("/ws/live");
      if (absent) throw new RungError(absent);
      const url = server.url("ws/live");
      url.searchParams.set("stream", stream);
      const resume = sessionStorage.getItem(`${RESUME}-${stream}`) ?? undefined;
      const session = new LiveSession({ url: toSocket(url), publish: { track, codecs: up, held }, ...(held ? {} : { view: { canvas: this.canvas, codecs: down } }), resume });
      await session.open(signal);
      sessionStorage.setItem(`${RESUME}-${stream}`, session.welcome.resume);
      this.way = session;
      return { ended: session.ended, stop: () => session.close() };
    };
    const video = async (/** @type {AbortSignal} */ signal) => {
      const [up, down] = await Promise.all([encoders(), decoders()]);
      const fits = (/** @type {Codec} */ codec) => !this.codec || codec === this.codec;
      const wanted = up.codecs.filter(fits);
      if (wanted.length === 0) throw new RungError(up.absent || `this browser does not encode ${this.codec}`, { final: true });
      return live(wanted, [...down.codecs.filter(fits), "jpeg"], signal);
    };
    const upload = async (/** @type {AbortSignal} */ signal, /** @type {ConstructorParameters<typeof HttpUp>[2]} */ way) => {
      const url = server.url("upload");
      url.searchParams.set("stream", stream);
      const sender = new HttpUp(track, url, way);
      await sender.open(signal);
      this.way = sender;
      return { ended: sender.ended, stop: () => sender.stop() };
    };
    const probe = (/** @type {AbortSignal} */ signal) => passes(toSocket(server.url("ws/live")), signal);
    const kernel = ofNotebook();
    return [
      ...ROADS.map((road) => ({ name: road, open: webrtc(road) })),
      { name: "ws", open: video, probe },
      { name: "ws-jpeg", open: (signal) => live(["jpeg"], ["jpeg"], signal), probe },
      { name: "http", open: (signal) => upload(signal, { held }) },
      ...(kernel && !held ? [{ name: "kernel", open: (/** @type {AbortSignal} */ signal) => upload(signal, { ask: kernel.fetch.bind(kernel), ...KERNEL }) }] : []),
    ];
  }

  quit() {
    this.ladder?.stop();
    this.ladder = null;
    this.way = null;
    this.source?.stop();
    this.source = null;
  }

  /** @param {string} [why] */
  stop(why = "") {
    if (!this.running) return;
    this.quit();
    this.to.onStop(why);
  }
}
