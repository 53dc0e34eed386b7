// @ts-check
// The processed picture by WebRTC (WHEP).

import { now } from "./frames.js";
import { fetchPlain } from "./http.js";
import { gathered } from "./ice.js";
import { RungError } from "./ladder.js";
import { Silence } from "./pace.js";
import { configurationFor, roadOf } from "./relays.js";

/** Time until the first picture. */
const BEGIN = 2500;
/** A connection that is interrupted for longer than this is given up. */
const INTERRUPTED = 2000;

/** Shows one stream in a `<video>`. */
export class WhepDown {
  /**
   * @param {URL} url
   * @param {(path: string) => Promise<any>} request
   * @param {{ ends: boolean }} fate whether the stream ends, and the session with it
   * @param {string} road the one to take; any if it is empty
   */
  constructor(url, request, fate, road = "") {
    this.road = road;
    this.url = url;
    this.request = request;
    this.fate = fate;
    this.codec = "";
    this.session = "";
    this.video = document.createElement("video");
    Object.assign(this.video, { muted: true, playsInline: true, autoplay: true });
    this.bytes = 0;
    this.received = 0;
    this.silence = new Silence();
    this.timer = 0;
    this.patience = 0;
    this.stopped = false;
    /** @type {Promise<RungError>} */
    this.ended = new Promise((done) => (this.fail = done));
  }

  /** Resolves with the first picture. @param {AbortSignal} signal */
  async open(signal) {
    if (!("RTCPeerConnection" in window)) throw new RungError("this browser has no WebRTC", { final: true });
    const until = AbortSignal.any([signal, AbortSignal.timeout(BEGIN)]);
    const expired = new Promise((_, no) => until.addEventListener("abort", () => no(new RungError(`WebRTC brought no picture within ${BEGIN / 1000} s`)), { once: true }));
    try {
      await Promise.race([this.negotiate(until), expired]);
      await Promise.race([new Promise((done) => this.video.requestVideoFrameCallback(done)), expired, this.ended.then((why) => Promise.reject(why))]);
    } catch (error) {
      this.stop();
      throw error;
    }
  }

  /** The road that it took. */
  async tookRoad() {
    return roadOf([...((await this.peer?.getStats())?.values() ?? [])]);
  }

  /** @param {AbortSignal} signal */
  async negotiate(signal) {
    const servers = await this.request("ice-servers").catch(() => ({ iceServers: [] }));
    const peer = new RTCPeerConnection(configurationFor(servers.iceServers, this.road));
    this.peer = peer;
    peer.addEventListener("track", ({ track, streams }) => (this.video.srcObject = streams[0] ?? new MediaStream([track])));
    peer.addEventListener("connectionstatechange", () => this.onConnection(peer));
    peer.addTransceiver("video", { direction: "recvonly" });
    await peer.setLocalDescription();
    await gathered(peer);
    const response = await fetchPlain(this.url, { method: "POST", headers: { "Content-Type": "application/sdp" }, body: peer.localDescription?.sdp ?? "", signal });
    if (!response.ok) {
      const answer = await response.json().catch(() => null);
      throw new RungError(answer?.detail ?? `the server answered ${response.status}`);
    }
    const place = response.headers.get("Location");
    if (place) this.session = new URL(place, this.url).href;
    await peer.setRemoteDescription({ type: "answer", sdp: await response.text() });
    if (!this.stopped) this.timer = window.setInterval(() => void this.report(peer), 1000);
  }

  /**
   * Compares what comes with what the server says; called about once a second.
   * @param {number} frames frames that the server has processed so far
   */
  watch(frames) {
    if (this.silence.lasts(now(), this.received, frames)) this.fail?.(new RungError("nothing came although the server went on"));
  }

  /** What comes, once a second. @param {RTCPeerConnection} peer */
  async report(peer) {
    const stats = await peer.getStats().catch(() => null);
    /** @type {any[]} */
    const all = [...(stats?.values() ?? [])];
    const video = all.find((s) => s.type === "inbound-rtp" && s.kind === "video");
    this.bytes = video?.bytesReceived ?? this.bytes;
    this.received = video?.framesReceived ?? this.received;
    this.codec = (all.find((s) => s.id === video?.codecId)?.mimeType ?? "").replace(/^video\//i, "");
  }

  /** @param {RTCPeerConnection} peer */
  onConnection(peer) {
    clearTimeout(this.patience);
    const lost = () => this.fail?.(new RungError("the WebRTC connection was lost"));
    if (peer.connectionState === "disconnected") this.patience = window.setTimeout(lost, INTERRUPTED);
    if (peer.connectionState === "failed" || peer.connectionState === "closed") lost();
  }

  stop() {
    if (this.stopped) return;
    this.stopped = true;
    clearInterval(this.timer);
    clearTimeout(this.patience);
    this.peer?.close();
    if (this.session && !this.fate.ends) void fetchPlain(this.session, { method: "DELETE", keepalive: true }).catch(() => {});
  }
}
