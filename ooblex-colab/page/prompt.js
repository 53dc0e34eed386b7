// @ts-check
// Which encoders give their pictures back at once: some keep a second of them to themselves, as that of Firefox for H.264.

/** A picture that takes longer to come back is late, in milliseconds. */
const AT_ONCE = 500;
/** Pictures that an encoder gets before it has to give one back. */
const PICTURES = 2;
const SIZE = { width: 320, height: 180 };

/** @type {Map<string, Promise<boolean>>} by codec */
const tried = new Map();

/**
 * Whether an encoder is fit for live pictures; each codec is tried once.
 * @param {VideoEncoderConfig} config
 */
export function isPrompt(config) {
  const found = tried.get(config.codec) ?? attempt(config);
  tried.set(config.codec, found);
  return found;
}

/** @param {VideoEncoderConfig} config @returns {Promise<boolean>} */
function attempt(config) {
  const canvas = Object.assign(document.createElement("canvas"), SIZE);
  // A canvas without a context has no picture.
  canvas.getContext("2d")?.fillRect(0, 0, 1, 1);
  return new Promise((done) => {
    const finish = (/** @type {boolean} */ came) => {
      clearTimeout(timer);
      if (encoder.state !== "closed") encoder.close();
      done(came);
    };
    const timer = setTimeout(finish, AT_ONCE, false);
    const encoder = new VideoEncoder({ output: () => finish(true), error: () => finish(false) });
    encoder.configure({ ...config, ...SIZE });
    for (let at = 0; at < PICTURES; at++) {
      const frame = new VideoFrame(canvas, { timestamp: 33_333 * at });
      encoder.encode(frame, { keyFrame: at === 0 });
      frame.close();
    }
  });
}
