// @ts-check
// The camera by WebRTC: one offer, one answer, then the browser and the server find their way.

import { RungError } from "./ladder.js";
import { now } from "./frames.js";
import { gathered } from "./ice.js";
import { Quantiles } from "./pace.js";
import { configurationFor, roadOf } from "./relays.js";

/** An answer that takes longer than this is not waited for. */
const ANSWER = 2000;
/** A connection that takes longer than this, once there is an answer, will not come. */
const CONNECT = 2000;
/** A connection that is interrupted for longer than this is given up. */
const INTERRUPTED = 1500;
/** The server reports several times a second what it got. Without a report for this long nothing passes. */
const SILENT = 2000;
/** How often it is looked. */
const REPORT = 500;
/** Bits a second that 720p needs to look good. */
const BITRATE = 2_500_000;
/** Kilobits a second to begin with. Chromium begins with 300, which is a blurred picture for a quarter of a minute. */
const START_KBITS = 1500;

/** What the kinds of candidates mean. */
const KINDS = /** @type {Record<string, string>} */ ({
  host: "direct",
  srflx: "through a NAT",
  prflx: "through a NAT",
  relay: "by a relay",
});

/**
 * @param {(condition: () => void) => void} listen
 * @param {number} longest
 */
const within = (listen, longest) =>
  new Promise((done) => {
    listen(() => done(true));
    setTimeout(() => done(false), longest);
  });

/**
 * An answer that has the sender begin with a good picture: a parameter of Chromium's for each codec.
 * @param {string} sdp
 */
export function withGoodBeginning(sdp) {
  const lines = sdp.split("\r\n");
  const more = `x-google-start-bitrate=${START_KBITS}`;
  const changed = lines.flatMap((line) => {
    const format = /^a=(fmtp|rtpmap):(\d+) (.*)$/.exec(line);
    if (!format) return [line];
    const [, kind, type, rest] = format;
    if (kind === "fmtp") return [/^apt=/.test(rest) ? line : `${line};${more}`];
    const plain = /^(VP8|VP9|H264|AV1)\//i.test(rest) && !lines.some((other) => other.startsWith(`a=fmtp:${type} `));
    return plain ? [line, `a=fmtp:${type} ${more}`] : [line];
  });
  return changed.join("\r\n");
}

/** Publishes a camera by WebRTC. */
export class WebRtcSender {
  /**
   * @param {MediaStream} media stays the caller's
   * @param {string} stream
   * @param {(path: string, body?: unknown) => Promise<any>} request throws an error with the status of a refusal
   * @param {(path: string) => void} end of a session; also works while the page is being left
   * @param {string} road the one to take; any if it is empty
   */
  constructor(media, stream, request, end, road = "") {
    this.road = road;
    this.media = media;
    this.stream = stream;
    this.request = request;
    this.end = end;
    this.session = "";
    /** @type {RTCPeerConnection | null} */
    this.peer = null;
    this.timer = 0;
    this.patience = 0;
    this.at = 0;
    this.heard = { count: -1, at: 0 };
    this.sent = 0;
    this.bytes = 0;
    this.codec = "";
    this.path = "";
    this.size = { width: 0, height: 0 };
    this.dropped = {};
    this.tripTimes = new Quantiles();
    this.encodeTimes = new Quantiles();
    /** @type {Promise<RungError>} */
    this.ended = new Promise((done) => (this.fail = (/** @type {RungError} */ error) => (this.stop(), done(error))));
  }

  /** Resolves once connected; throws a `RungError` if that is not to be. @param {AbortSignal} signal */
  async start(signal) {
    if (!("RTCPeerConnection" in window)) throw new RungError("this browser has no WebRTC", { final: true });
    const servers = await this.request("ice-servers").catch(() => ({ iceServers: [] }));
    if (signal.aborted) throw new RungError("stopped");
    const peer = new RTCPeerConnection(configurationFor(servers.iceServers, this.road));
    this.peer = peer;
    signal.addEventListener("abort", () => this.stop(), { once: true });
    try {
      await this.negotiate(peer);
      await within((done) => {
        const look = () => {
          if (peer.connectionState !== "connecting" && peer.connectionState !== "new") done();
        };
        peer.addEventListener("connectionstatechange", look);
        look();
      }, CONNECT);
      if (peer.connectionState !== "connected") throw new RungError(this.whyNot(peer));
    } catch (error) {
      this.stop();
      throw error;
    }
    peer.addEventListener("connectionstatechange", () => this.onConnection(peer));
    this.timer = window.setInterval(() => void this.report(peer), REPORT);
  }

  /** The road that it took. */
  async tookRoad() {
    return roadOf([...((await this.peer?.getStats())?.values() ?? [])]);
  }

  /** @param {RTCPeerConnection} peer */
  whyNot(peer) {
    if (peer.connectionState === "failed") return "no path to the server works: neither direct nor by a relay";
    return `no reply from any candidate within ${CONNECT / 1000} s: UDP does not pass, and there is no relay that helps`;
  }

  /** @param {RTCPeerConnection} peer */
  async negotiate(peer) {
    for (const track of this.media.getVideoTracks()) {
      track.contentHint = "motion";
      const { sender } = peer.addTransceiver(track, { direction: "sendonly", streams: [this.media] });
      const parameters = sender.getParameters();
      if (parameters.encodings?.length) {
        parameters.encodings[0].maxBitrate = BITRATE;
        await sender.setParameters(parameters).catch(() => {});
      }
    }
    await peer.setLocalDescription();
    await gathered(peer);
    if (this.peer !== peer) return;
    const offer = { type: "offer", sdp: peer.localDescription?.sdp, stream: this.stream };
    let late = false;
    const asked = this.request("webrtc/offer", offer).then((answer) => {
      this.session = answer.pc_id ?? "";
      if (late || this.peer !== peer) this.leave();
      return answer;
    });
    const tooLate = new Promise((_, no) => setTimeout(() => ((late = true), no(new RungError(`the server did not answer the offer within ${ANSWER / 1000} s`))), ANSWER));
    const answer = await Promise.race([asked, tooLate]).catch((error) => {
      const stop = error?.status === 401 || error?.status === 403;
      throw error instanceof RungError ? error : new RungError(error instanceof Error ? error.message : String(error), { stop });
    });
    asked.catch(() => {});
    if (this.peer === peer) await peer.setRemoteDescription({ type: "answer", sdp: withGoodBeginning(answer.sdp) });
  }

  /** Has the server end the session now, and not when it misses something. */
  leave() {
    const session = this.session;
    this.session = "";
    if (session) this.end(`whip/sessions/${session}`);
  }

  stop() {
    clearInterval(this.timer);
    clearTimeout(this.patience);
    const peer = this.peer;
    this.peer = null;
    peer?.close();
    this.leave();
  }

  /** @param {RTCPeerConnection} peer */
  onConnection(peer) {
    if (peer !== this.peer) return;
    clearTimeout(this.patience);
    const lost = () => this.fail?.(new RungError("the WebRTC connection was lost"));
    if (peer.connectionState === "disconnected") this.patience = window.setTimeout(lost, INTERRUPTED);
    if (peer.connectionState === "failed" || peer.connectionState === "closed") lost();
  }

  /** @param {RTCPeerConnection} peer */
  async report(peer) {
    const stats = await peer.getStats().catch(() => null);
    if (!stats || peer !== this.peer || peer.connectionState !== "connected") return;
    /** @type {any[]} */
    const all = [...stats.values()];
    const of = (/** @type {string} */ id) => all.find((s) => s.id === id);
    const video = all.find((s) => s.type === "outbound-rtp" && s.kind === "video");
    const transport = all.find((s) => s.type === "transport" && s.selectedCandidatePairId);
    const pairs = all.filter((s) => s.type === "candidate-pair");
    const pair = of(transport?.selectedCandidatePairId) ?? pairs.find((s) => s.nominated && s.state === "succeeded");
    // The server may answer by another pair than the one that is sent by. Firefox counts bytes alone.
    const heard = pairs.reduce((sum, s) => sum + (s.packetsReceived ?? s.bytesReceived ?? 0), 0);
    // A page that was itself held up does not know what came meanwhile.
    const late = now() - this.at > 3 * REPORT;
    if (heard !== this.heard.count || late) this.heard = { count: heard, at: now() };
    else if (now() - this.heard.at > SILENT) this.fail?.(new RungError(`the server was silent for ${SILENT / 1000} s`));
    const frames = video?.framesEncoded ?? 0;
    [this.sent, this.at] = [frames, now()];
    this.bytes = video?.bytesSent ?? 0;
    if (frames > 0) this.encodeTimes.add((1000 * (video?.totalEncodeTime ?? 0)) / frames);
    this.codec = (of(video?.codecId)?.mimeType ?? "").replace(/^video\//i, "");
    this.size = { width: video?.frameWidth ?? 0, height: video?.frameHeight ?? 0 };
    const [local, remote] = [of(pair?.localCandidateId), of(pair?.remoteCandidateId)];
    const relayed = [local, remote].find((c) => c?.candidateType === "relay");
    const kind = KINDS[(relayed ?? local)?.candidateType] ?? "";
    const protocol = (local?.relayProtocol ?? local?.protocol ?? "").toUpperCase();
    if (pair?.currentRoundTripTime !== undefined) this.tripTimes.add(1000 * pair.currentRoundTripTime);
    this.path = [kind, protocol && `over ${protocol}`].filter(Boolean).join(" ");
  }
}
