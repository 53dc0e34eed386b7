// @ts-check
// Pictures on the live socket: a header of 20 bytes, then the data (docs/LIVE_PROTOCOL.md).

/** @typedef {"h264" | "vp8" | "jpeg"} Codec */
/** @typedef {{ codec: Codec, key: boolean, sequence: number, captured: number, data: Uint8Array }} Picture */

export const PROTOCOL = "ooblex.live.1";
export const HEADER = 20;
const VERSION = 1;
const KEY = 1;

/** Numbers of the kinds, in the order of the codecs. */
const CODECS = /** @type {Codec[]} */ (["h264", "vp8", "jpeg"]);

/**
 * A message with room for the data, header filled in.
 * @param {Omit<Picture, "data">} picture `captured` in microseconds of the server's clock
 * @param {number} length of the data
 */
export function message(picture, length) {
  const bytes = new Uint8Array(HEADER + length);
  const view = new DataView(bytes.buffer);
  view.setUint8(0, VERSION);
  view.setUint8(1, CODECS.indexOf(picture.codec) + 1);
  view.setUint8(2, picture.key ? KEY : 0);
  view.setBigUint64(4, BigInt(picture.sequence));
  view.setBigUint64(12, BigInt(Math.max(0, Math.round(picture.captured))));
  return bytes;
}

/**
 * Reads a message; the data is a view of it.
 * @param {ArrayBuffer} buffer
 * @returns {Picture}
 */
export function parse(buffer) {
  if (buffer.byteLength <= HEADER) throw new RangeError(`a picture of ${buffer.byteLength} bytes`);
  const view = new DataView(buffer);
  const [version, kind, flags, zero] = [0, 1, 2, 3].map((at) => view.getUint8(at));
  const codec = CODECS[kind - 1];
  if (version !== VERSION) throw new RangeError(`version ${version} of the live protocol`);
  if (!codec) throw new RangeError(`kind ${kind} of pictures`);
  if ((flags & ~KEY) !== 0 || zero !== 0) throw new RangeError(`flags ${flags}, ${zero}`);
  return {
    codec,
    key: (flags & KEY) !== 0,
    sequence: Number(view.getBigUint64(4)),
    captured: Number(view.getBigUint64(12)),
    data: new Uint8Array(buffer, HEADER),
  };
}
