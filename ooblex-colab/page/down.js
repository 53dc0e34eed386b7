// @ts-check
// Pictures on their way down: decoded, then shown on a canvas unless they are too old by then.

import { now } from "./frames.js";
import { RungError } from "./ladder.js";
import { Quantiles } from "./pace.js";

/** @typedef {import("./wire.js").Picture} Picture */
/** @typedef {import("./wire.js").Codec} Codec */

/** Pictures in the decoder; with more it has fallen behind and goes on with a key frame. */
const IN_DECODER = 12;
/** A decoder that fails so often without showing anything in between is of no use. */
const MOST_FAILURES = 3;

const CONFIGS = /** @type {Record<"h264" | "vp8", VideoDecoderConfig>} */ ({
  // Without a description the data is Annex B.
  h264: { codec: "avc1.42E01F", optimizeForLatency: true },
  vp8: { codec: "vp8", optimizeForLatency: true },
});

/** The codecs that this browser decodes, those that cost least first, and why video is not among them. */
export async function decoders() {
  /** @type {Codec[]} */
  const codecs = [];
  if (!("VideoDecoder" in window)) return { codecs, absent: "this browser does not decode video for pages (WebCodecs)" };
  for (const codec of /** @type {const} */ (["h264", "vp8"])) {
    const { supported } = await VideoDecoder.isConfigSupported(CONFIGS[codec]).catch(() => ({ supported: false }));
    if (supported) codecs.push(codec);
  }
  return { codecs, absent: codecs.length > 0 ? "" : "this browser decodes neither H.264 nor VP8 for pages" };
}

/**
 * @typedef {object} Back to the server
 * @property {(sequence: number, age: number, shown: boolean) => void} ack
 * @property {() => void} key
 * @property {(captured: number) => number} age in milliseconds, of a time in microseconds of the server's clock
 * @property {(error: RungError) => void} fail
 * @property {() => void} shown
 */

/** Shows pictures on a canvas. */
export class Down {
  /**
   * @param {HTMLCanvasElement} canvas
   * @param {number} budget age in milliseconds up to which a picture is shown
   * @param {Back} back
   */
  constructor(canvas, budget, back) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false, desynchronized: true });
    this.budget = budget;
    this.back = back;
    /** @type {VideoDecoder | null} */
    this.decoder = null;
    /** @type {Codec | ""} */
    this.codec = "";
    /** What the decoder is set to. */
    this.configured = "";
    this.needsKey = true;
    /** @type {Map<number, { captured: number, arrived: number }>} */
    this.inside = new Map();
    /** @type {Picture | null} the newest JPEG that waits for the decoder */
    this.next = null;
    this.busy = false;
    this.last = -1;
    this.failures = 0;
    this.received = 0;
    this.shown = 0;
    this.bytes = 0;
    this.dropped = { late: 0, overtaken: 0, undecodable: 0 };
    this.ages = new Quantiles();
    /** Age of the oldest picture that was drawn, when its drawing began. */
    this.oldest = 0;
    this.showTimes = new Quantiles();
    this.stopped = false;
  }

  /** @param {Picture} picture */
  push(picture) {
    this.received += 1;
    this.bytes += picture.data.length;
    this.codec = picture.codec;
    const arrived = now();
    if (picture.codec === "jpeg") this.pushJpeg(picture, arrived);
    else this.pushVideo(picture, arrived, picture.codec);
  }

  /** @param {Picture} picture @param {number} arrived @param {"h264" | "vp8"} codec */
  pushVideo({ key, sequence, captured, data }, arrived, codec) {
    if (this.inside.size >= IN_DECODER) this.restart();
    if (this.needsKey && !key) {
      this.drop(sequence, captured, "undecodable");
      return;
    }
    if (!this.decoder || this.decoder.state === "closed") this.decoder = this.makeDecoder();
    // A key frame may begin another size or codec; configuring for each one is harmless.
    if (key && (this.needsKey || this.configured !== codec)) {
      this.decoder.configure(CONFIGS[codec]);
      this.configured = codec;
    }
    this.needsKey = false;
    this.inside.set(sequence, { captured, arrived });
    // The sequence number travels as the time, which is the one thing that comes out again.
    this.decoder.decode(new EncodedVideoChunk({ type: key ? "key" : "delta", timestamp: sequence, data }));
  }

  makeDecoder() {
    /** @type {VideoDecoder} */
    const decoder = new VideoDecoder({
      output: (frame) => {
        const about = this.inside.get(frame.timestamp);
        this.inside.delete(frame.timestamp);
        if (about && !this.stopped) this.show(frame, frame.displayWidth, frame.displayHeight, frame.timestamp, about);
        frame.close();
      },
      error: (error) => {
        if (decoder !== this.decoder) return;
        this.failures += 1;
        if (this.failures >= MOST_FAILURES) this.back.fail(new RungError(`the browser cannot decode the video: ${error.message}`));
        else this.restart();
      },
    });
    return decoder;
  }

  /** Gives up what is in the decoder and goes on with a key frame. */
  restart() {
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
    this.decoder = null;
    this.configured = "";
    this.needsKey = true;
    for (const [sequence, { captured }] of this.inside) this.drop(sequence, captured, "undecodable");
    this.inside.clear();
    this.back.key();
  }

  /** @param {Picture} picture @param {number} arrived */
  pushJpeg(picture, arrived) {
    if (this.busy) {
      if (this.next) this.drop(this.next.sequence, this.next.captured, "overtaken");
      this.next = picture;
      return;
    }
    this.busy = true;
    const { sequence, captured } = picture;
    const blob = new Blob([/** @type {BlobPart} */ (picture.data)], { type: "image/jpeg" });
    createImageBitmap(blob)
      .then(
        (image) => {
          if (!this.stopped) this.show(image, image.width, image.height, sequence, { captured, arrived });
          image.close();
        },
        () => this.drop(sequence, captured, "undecodable"),
      )
      .finally(() => {
        this.busy = false;
        const next = this.next;
        this.next = null;
        if (next && !this.stopped) this.pushJpeg(next, now());
      });
  }

  /** Another stream begins, whose numbers have nothing to do with those of the last one. */
  moveOn() {
    this.last = -1;
  }

  /**
   * @param {CanvasImageSource} image
   * @param {number} width
   * @param {number} height
   * @param {number} sequence
   * @param {{ captured: number, arrived: number }} about
   */
  show(image, width, height, sequence, { captured, arrived }) {
    const age = this.back.age(captured);
    if (age > this.budget || sequence <= this.last) {
      this.drop(sequence, captured, age > this.budget ? "late" : "overtaken");
      return;
    }
    const { canvas } = this;
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    this.context?.drawImage(image, 0, 0);
    this.last = sequence;
    this.failures = 0;
    this.shown += 1;
    // Drawing took its time too.
    const shownAt = this.back.age(captured);
    this.ages.add(shownAt);
    this.oldest = Math.max(this.oldest, age);
    this.showTimes.add(now() - arrived);
    this.back.ack(sequence, shownAt, true);
    this.back.shown();
  }

  /** @param {number} sequence @param {number} captured @param {"late" | "overtaken" | "undecodable"} reason */
  drop(sequence, captured, reason) {
    this.dropped[reason] += 1;
    this.back.ack(sequence, this.back.age(captured), false);
  }

  stop() {
    this.stopped = true;
    if (this.decoder && this.decoder.state !== "closed") this.decoder.close();
  }
}
