// @ts-check
// Publishing the camera: by WebRTC, or else as single pictures over a WebSocket.

import { PictureSender, SendError, openCamera } from "./camera.js";
import { WebRtcSender } from "./webrtc.js";

/**
 * @typedef {object} Callbacks
 * @property {(message: string) => void} onProblem for people; empty when it has passed
 * @property {(text: string) => void} onState how it is sent, about once a second
 * @property {() => void} onStop
 */

/** Publishes the camera as one stream, by the best way that works. */
export class Publisher {
  /**
   * @param {(path: string, body?: unknown) => Promise<any>} request
   * @param {(path: string) => void} end of a session
   * @param {Callbacks} to
   */
  constructor(request, end, to) {
    this.request = request;
    this.end = end;
    this.to = to;
    /** @type {MediaStream | null} */
    this.media = null;
    /** @type {PictureSender | WebRtcSender | null} */
    this.sender = null;
    /** Why the better way is not used; empty if it is. */
    this.reason = "";
    window.addEventListener("pagehide", () => this.running && this.stop());
  }

  get running() {
    return this.media !== null;
  }

  /**
   * Asks for the camera and begins to send.
   * @param {string} stream
   * @param {string} socket URL of the WebSocket
   */
  async start(stream, socket) {
    const media = await openCamera();
    this.media = media;
    this.reason = "";
    for (const track of media.getVideoTracks()) {
      track.addEventListener("ended", () => {
        if (this.media !== media) return;
        this.to.onProblem("The camera was disconnected.");
        this.stop();
      });
    }
    this.to.onState("Connecting");
    const callbacks = {
      onState: (/** @type {string} */ text) => this.to.onState(text),
      onEnd: (/** @type {SendError} */ error) => void this.fallBack(media, socket, error),
    };
    const sender = new WebRtcSender(media, stream, this.request, this.end, callbacks);
    this.sender = sender;
    try {
      await sender.start();
    } catch (error) {
      if (this.media !== media) return;
      const known = error instanceof SendError ? error : new SendError(error instanceof Error ? error.message : String(error));
      if (known.final) throw known;
      await this.fallBack(media, socket, known);
    }
  }

  /**
   * @param {MediaStream} media
   * @param {string} socket
   * @param {SendError} error why WebRTC is of no use
   */
  async fallBack(media, socket, error) {
    if (this.media !== media) return;
    this.reason = error.message;
    const sender = new PictureSender(media, socket, {
      onProblem: (message) => this.to.onProblem(message),
      onState: (text) => this.to.onState(`${text}; WebRTC: ${this.reason}`),
      onEnd: (ended) => {
        if (this.sender !== sender) return;
        this.to.onProblem(ended.message);
        this.stop();
      },
    });
    this.sender = sender;
    await sender.start();
  }

  stop() {
    const media = this.media;
    this.media = null;
    this.sender?.stop();
    this.sender = null;
    media?.getTracks().forEach((track) => track.stop());
    this.to.onStop();
  }
}
