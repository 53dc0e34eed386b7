// @ts-check
// Pictures on their way up: taken from the source, dropped before they are encoded where the link is full, encoded and
// sent.

import { eachFrame, now, release } from "./frames.js";
import { RungError } from "./ladder.js";
import { Pace, Quantiles, Rate, heightFor, sizeWithin } from "./pace.js";
import { isPrompt } from "./prompt.js";
import { HEADER, message } from "./wire.js";

/** @typedef {import("./wire.js").Codec} Codec */
/** @typedef {import("./frames.js").Taken} Taken */

/** Most pictures a second, as video and as single pictures. */
const MOST_VIDEO = 30;
const MOST_JPEG = 15;
/** JPEG quality, 0 to 1. */
const QUALITY = 0.8;
/** A key frame at least this often, in milliseconds. */
const KEY_EVERY = 10_000;
const KBPS = { least: 150, most: 2500, start: 1200 };
/** A rate that differs by less is not worth a new configuration. */
const NOTICEABLE = 0.12;

/** What encoders are asked for. */
const CONFIGS = /** @type {Record<"h264" | "vp8", object>} */ ({
  h264: { codec: "avc1.42E01F", avc: { format: "annexb" } },
  vp8: { codec: "vp8" },
});

/**
 * @param {"h264" | "vp8"} codec
 * @param {{ width: number, height: number }} size
 * @param {number} kbps
 */
const configure = (codec, size, kbps) =>
  /** @type {VideoEncoderConfig} */ ({ ...CONFIGS[codec], ...size, bitrate: kbps * 1000, framerate: MOST_VIDEO, latencyMode: "realtime" });

/** The codecs that this browser encodes, those that cost least first and those that come late last, and why video is not among them. */
export async function encoders() {
  /** @type {Codec[]} */
  const codecs = [];
  /** @type {Codec[]} */
  const late = [];
  if (!("VideoEncoder" in window) || !("VideoFrame" in window)) return { codecs, absent: "this browser does not encode video for pages (WebCodecs)" };
  for (const codec of /** @type {const} */ (["h264", "vp8"])) {
    const config = configure(codec, { width: 1280, height: 720 }, KBPS.start);
    const { supported } = await VideoEncoder.isConfigSupported(config).catch(() => ({ supported: false }));
    if (supported) ((await isPrompt(config)) ? codecs : late).push(codec);
  }
  codecs.push(...late);
  return { codecs, absent: codecs.length > 0 ? "" : "this browser encodes neither H.264 nor VP8 for pages" };
}

/**
 * @typedef {object} Way to the server
 * @property {(bytes: Uint8Array) => void} send
 * @property {() => number} backlog bytes that have not left yet
 * @property {(milliseconds: number) => number} stamp this page's time as microseconds of the server's
 * @property {(error: RungError) => void} fail
 * @property {import("./held.js").Held} [held] where what is sent stays until its findings come
 */

/** Publishes the pictures of a track on one live session. */
export class Up {
  /**
   * @param {MediaStreamTrack} track stays the caller's
   * @param {{ codec: Codec, window: number, max_bytes: number }} agreed
   * @param {Way} way
   */
  constructor(track, agreed, way) {
    this.track = track;
    this.codec = agreed.codec;
    this.window = agreed.window;
    this.maxBytes = agreed.max_bytes;
    this.way = way;
    this.rate = new Rate(KBPS);
    /** @type {Map<number, { at: number, captured: number }>} when each picture on its way was sent, and taken */
    this.flying = new Map();
    this.sequence = 0;
    this.sent = 0;
    this.acknowledged = 0;
    this.bytes = 0;
    this.dropped = { window: 0, encoder: 0, server: 0 };
    this.encodeTimes = new Quantiles();
    this.tripTimes = new Quantiles();
    this.size = { width: 0, height: 0 };
    this.height = 720;
    this.pace = new Pace(this.codec === "jpeg" ? MOST_JPEG : MOST_VIDEO);
    this.stopped = false;
    way.held?.begin();
    this.encoder = this.codec === "jpeg" ? new JpegEncoder(this) : new VideoUpEncoder(this, this.codec);
    this.stopFrames = eachFrame(track, (taken) => this.onFrame(taken));
  }

  /** @param {Taken} taken */
  onFrame(taken) {
    if (this.stopped || taken.width === 0 || !this.pace.isDue(taken.captured)) return release(taken);
    if (this.flying.size + this.encoder.waiting >= this.window || this.way.backlog() > this.maxBytes / 64) {
      this.dropped.window += 1;
      const [oldest] = this.flying.values();
      if (oldest) this.rate.held(now(), now() - oldest.at);
      return release(taken);
    }
    if (this.encoder.waiting >= this.encoder.most) {
      this.dropped.encoder += 1;
      // Less is also faster to encode.
      this.rate.full(now());
      return release(taken);
    }
    this.pace.take(taken.captured);
    this.height = this.codec === "jpeg" ? 720 : heightFor(this.rate.kbps, this.height);
    this.size = sizeWithin(taken.width, taken.height, this.height);
    this.way.held?.keep(taken);
    this.encoder.encode(taken, this.size);
  }

  /**
   * Sends an encoded picture.
   * @param {number} length
   * @param {(into: Uint8Array) => void} copy
   * @param {boolean} key
   * @param {number} captured
   * @param {number} began
   */
  send(length, copy, key, captured, began) {
    if (this.stopped) return;
    if (length + HEADER > this.maxBytes) {
      this.dropped.encoder += 1;
      return;
    }
    this.sequence += 1;
    const bytes = message({ codec: this.codec, key, sequence: this.sequence, captured: this.way.stamp(captured) }, length);
    copy(bytes.subarray(HEADER));
    const at = now();
    this.encodeTimes.add(at - began);
    this.flying.set(this.sequence, { at, captured });
    this.sent += 1;
    this.bytes += bytes.length;
    this.way.send(bytes);
  }

  /** @param {{ seq: number, frame?: number, dropped?: string }} ack */
  onAck(ack) {
    const flying = this.flying.get(ack.seq);
    if (!flying) return;
    // Acknowledgements come in order: an earlier one that did not come is lost.
    for (const seq of this.flying.keys()) if (seq <= ack.seq) this.flying.delete(seq);
    if (ack.frame !== undefined) this.way.held?.numbered(flying.captured, ack.frame);
    const took = now() - flying.at;
    this.tripTimes.add(took);
    this.rate.acknowledged(now(), took);
    this.acknowledged += 1;
    if (ack.dropped) this.dropped.server += 1;
  }

  /** The server needs a key frame. */
  key() {
    this.encoder.key();
  }

  stop() {
    this.stopped = true;
    this.stopFrames();
    this.encoder.stop();
  }
}

/** Video by WebCodecs. */
class VideoUpEncoder {
  /** @param {Up} up @param {"h264" | "vp8"} codec */
  constructor(up, codec) {
    this.up = up;
    this.codec = codec;
    /** Pictures in the encoder; more would only wait there. */
    this.most = 2;
    this.keyAt = -Infinity;
    this.wanted = true;
    this.configured = { width: 0, height: 0, kbps: 0 };
    /** @type {Map<number, { captured: number, began: number }>} by the frame's own time */
    this.inside = new Map();
    this.encoder = new VideoEncoder({
      output: (chunk) => this.onChunk(chunk),
      error: (error) => up.way.fail(new RungError(`the browser's ${codec.toUpperCase()} encoder failed: ${error.message}`)),
    });
  }

  get waiting() {
    return this.inside.size;
  }

  /** @param {Taken} taken @param {{ width: number, height: number }} size */
  encode(taken, size) {
    const frame = /** @type {VideoFrame} */ (taken.picture);
    const { width, height, kbps } = this.configured;
    const { rate } = this.up;
    const resized = size.width !== width || size.height !== height;
    if (resized || Math.abs(rate.kbps - kbps) > NOTICEABLE * kbps) {
      this.configured = { ...size, kbps: rate.kbps };
      this.encoder.configure(configure(this.codec, size, rate.kbps));
    }
    const began = now();
    const key = this.wanted || resized || began - this.keyAt > KEY_EVERY;
    if (key) [this.keyAt, this.wanted] = [began, false];
    this.inside.set(frame.timestamp, { captured: taken.captured, began });
    this.encoder.encode(frame, { keyFrame: key });
    frame.close();
  }

  /** @param {EncodedVideoChunk} chunk */
  onChunk(chunk) {
    const about = this.inside.get(chunk.timestamp);
    this.inside.delete(chunk.timestamp);
    if (about) this.up.send(chunk.byteLength, (into) => chunk.copyTo(into), chunk.type === "key", about.captured, about.began);
  }

  key() {
    this.wanted = true;
  }

  stop() {
    if (this.encoder.state !== "closed") this.encoder.close();
  }
}

/** Single pictures, by a canvas. */
class JpegEncoder {
  /** @param {Up} up */
  constructor(up) {
    this.up = up;
    /** Two at a time would share the canvas, and the second might be ready first. */
    this.most = 1;
    this.waiting = 0;
    this.jpeg = new JpegMaker();
  }

  /** @param {Taken} taken @param {{ width: number, height: number }} size */
  encode(taken, size) {
    const began = now();
    this.waiting += 1;
    void this.jpeg.make(taken, size).then(
      (data) => {
        this.waiting -= 1;
        this.up.send(data.length, (into) => into.set(data), true, taken.captured, began);
      },
      (error) => this.up.way.fail(new RungError(`the browser does not make JPEGs: ${error.message}`)),
    );
  }

  /** Each of them is one. */
  key() {}

  stop() {}
}

/** Makes JPEGs from frames. */
export class JpegMaker {
  constructor() {
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
  }

  /**
   * Takes the frame.
   * @param {Taken} taken
   * @param {{ width: number, height: number }} size
   */
  async make(taken, { width, height }) {
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context?.drawImage(taken.picture, 0, 0, width, height);
    release(taken);
    /** @type {Blob | null} */
    const blob = await new Promise((done) => this.canvas.toBlob(done, "image/jpeg", QUALITY));
    if (!blob) throw new Error(`no picture of ${width}×${height}`);
    return new Uint8Array(await blob.arrayBuffer());
  }
}
