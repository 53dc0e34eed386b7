// @ts-check
// The frames of a camera or another source, one by one.

/** @typedef {{ picture: VideoFrame | HTMLVideoElement, width: number, height: number, captured: number }} Taken `captured` in
 *   milliseconds since the epoch, by this page's clock */

/** This page's clock: milliseconds since the epoch, never going back. */
export const now = () => performance.timeOrigin + performance.now();

/**
 * Calls back for each frame of a track until it is stopped. A `VideoFrame` belongs to the one who is called.
 * @param {MediaStreamTrack} track stays the caller's
 * @param {(taken: Taken) => void} onFrame
 * @returns {() => void} stops
 */
export function eachFrame(track, onFrame) {
  return "MediaStreamTrackProcessor" in window ? byProcessor(track.clone(), onFrame) : byElement(track, onFrame);
}

/**
 * Goes on while the page is in the background.
 * @param {MediaStreamTrack} track
 * @param {(taken: Taken) => void} onFrame
 */
function byProcessor(track, onFrame) {
  // @ts-expect-error: not known to the type checker yet
  const processor = new MediaStreamTrackProcessor({ track, maxBufferSize: 1 });
  /** @type {ReadableStreamDefaultReader<VideoFrame>} */
  const reader = processor.readable.getReader();
  const read = async () => {
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      onFrame({ picture: value, width: value.displayWidth, height: value.displayHeight, captured: now() });
    }
  };
  void read().catch(() => {});
  return () => {
    void reader.cancel().catch(() => {});
    track.stop();
  };
}

/**
 * @param {MediaStreamTrack} track
 * @param {(taken: Taken) => void} onFrame
 */
function byElement(track, onFrame) {
  const video = document.createElement("video");
  video.muted = true;
  video.playsInline = true;
  video.srcObject = new MediaStream([track]);
  let running = true;
  /** @type {(at: number, about: { captureTime?: number }) => void} */
  const look = (_, about) => {
    if (!running) return;
    const captured = about.captureTime === undefined ? now() : performance.timeOrigin + about.captureTime;
    const [width, height] = [video.videoWidth, video.videoHeight];
    // Told no time, Firefox gives all frames of a camera the time 0, by which they could not be told apart.
    const timestamp = Math.round(1000 * (captured - performance.timeOrigin));
    const picture = "VideoFrame" in window ? new VideoFrame(video, { timestamp }) : video;
    onFrame({ picture, width, height, captured });
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  void video.play().catch(() => {});
  return () => {
    running = false;
    video.srcObject = null;
  };
}

/** Lets a frame go that nobody needs any more. @param {Taken} taken */
export function release({ picture }) {
  if ("close" in picture) picture.close();
}
