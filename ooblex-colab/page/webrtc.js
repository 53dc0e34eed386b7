// @ts-check
// The camera by WebRTC: one offer, one answer, then the browser and the server find their way.

import { SendError } from "./camera.js";

/** An offer leaves with the candidates that were found until then; the server finds the rest by itself. */
const GATHER = 1000;
/** A connection that takes longer than this will not come. */
const CONNECT = 8000;
/** A connection that is interrupted for longer than this is given up. */
const INTERRUPTED = 6000;
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
   * @param {{ onState: (text: string) => void, onEnd: (error: SendError) => void }} to `onEnd` after it has connected
   */
  constructor(media, stream, request, end, to) {
    this.media = media;
    this.stream = stream;
    this.request = request;
    this.end = end;
    this.to = to;
    this.session = "";
    /** @type {RTCPeerConnection | null} */
    this.peer = null;
    this.timer = 0;
    this.patience = 0;
    this.frames = 0;
    this.at = 0;
  }

  /** Resolves once connected; throws a `SendError` if that is not to be. */
  async start() {
    if (!("RTCPeerConnection" in window)) throw new SendError("this browser has no WebRTC");
    const servers = await this.request("ice-servers").catch(() => ({ iceServers: [] }));
    const peer = new RTCPeerConnection({ iceServers: servers.iceServers });
    this.peer = peer;
    try {
      await this.negotiate(peer);
      const connected = await within((done) => {
        const look = () => {
          if (peer.connectionState !== "connecting" && peer.connectionState !== "new") done();
        };
        peer.addEventListener("connectionstatechange", look);
        look();
      }, CONNECT);
      if (this.peer !== peer) return;
      if (peer.connectionState !== "connected") {
        throw new SendError(connected ? "no path to the server works" : `no path to the server was found in ${CONNECT / 1000} s`);
      }
    } catch (error) {
      this.stop();
      throw error;
    }
    peer.addEventListener("connectionstatechange", () => this.onConnection(peer));
    this.timer = window.setInterval(() => void this.report(peer), 1000);
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
    await within((done) => {
      if (peer.iceGatheringState === "complete") done();
      peer.addEventListener("icegatheringstatechange", () => peer.iceGatheringState === "complete" && done());
    }, GATHER);
    if (this.peer !== peer) return;
    const offer = { type: "offer", sdp: peer.localDescription?.sdp, stream: this.stream };
    const answer = await this.request("webrtc/offer", offer).catch((error) => {
      const refused = error?.status === 401 || error?.status === 403;
      throw new SendError(error instanceof Error ? error.message : String(error), refused);
    });
    this.session = answer.pc_id ?? "";
    if (this.peer === peer) await peer.setRemoteDescription({ type: "answer", sdp: withGoodBeginning(answer.sdp) });
    else this.leave();
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
    const lost = () => {
      this.stop();
      this.to.onEnd(new SendError("the connection was lost"));
    };
    if (peer.connectionState === "disconnected") {
      this.to.onState("WebRTC, interrupted");
      this.patience = window.setTimeout(lost, INTERRUPTED);
    } else if (peer.connectionState === "failed" || peer.connectionState === "closed") {
      lost();
    }
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
    const pair = of(transport?.selectedCandidatePairId) ?? all.find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
    const now = performance.now();
    const frames = video?.framesEncoded ?? 0;
    const rate = this.at > 0 ? Math.round((1000 * (frames - this.frames)) / (now - this.at)) : 0;
    [this.frames, this.at] = [frames, now];
    const codec = (of(video?.codecId)?.mimeType ?? "").replace(/^video\//i, "");
    const size = video?.frameWidth ? `${video.frameWidth}×${video.frameHeight}` : "";
    const [local, remote] = [of(pair?.localCandidateId), of(pair?.remoteCandidateId)];
    const relayed = [local, remote].find((c) => c?.candidateType === "relay");
    const kind = KINDS[(relayed ?? local)?.candidateType] ?? "";
    const protocol = (local?.relayProtocol ?? local?.protocol ?? "").toUpperCase();
    const trip = pair?.currentRoundTripTime === undefined ? "" : `${Math.round(1000 * pair.currentRoundTripTime)} ms`;
    const way = [kind, protocol && `over ${protocol}`].filter(Boolean).join(" ");
    this.to.onState(["WebRTC", codec, size, `${rate}/s`, way, trip].filter(Boolean).join(", "));
  }
}
