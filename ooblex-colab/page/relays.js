// @ts-check
// The three rungs of WebRTC: direct, by a relay over UDP, by a relay over TCP or TLS. One connection tries them all at once,
// and the pair of candidates that the browser selects says which of them it became; a rung that is forced, or tried again by
// itself, gets a connection that has no other way.

import { RungError } from "./ladder.js";

/** Best first. */
export const ROADS = ["webrtc", "turn-udp", "turn-tcp"];

/** What the rungs are called. */
export const ROAD_NAMES = /** @type {Record<string, string>} */ ({
  webrtc: "WebRTC",
  "turn-udp": "WebRTC by a relay (TURN/UDP)",
  "turn-tcp": "WebRTC by a relay (TURN/TCP or TLS)",
});

/** Why a better rung does not run when a lower one does. */
const NOT = /** @type {Record<string, string>} */ ({
  webrtc: "nothing but a relay answered",
  "turn-udp": "no relay that is reached over UDP answered",
});

/** A connection that no rung has taken for so long is given up. */
const KEPT = 1000;

/** @param {string} url */
const roadOfUrl = (url) => (/^turns:|[?&]transport=tcp\b/i.test(url) ? "turn-tcp" : /^turn:/i.test(url) ? "turn-udp" : "webrtc");

/**
 * What a connection may use for one road; for all of them without one.
 * @param {RTCIceServer[]} servers
 * @param {string} road
 * @returns {RTCConfiguration}
 */
export function configurationFor(servers, road) {
  if (!road) return { iceServers: servers };
  const iceServers = servers.flatMap((server) => {
    const urls = [server.urls].flat().filter((url) => roadOfUrl(url) === road);
    return urls.length > 0 ? [{ ...server, urls }] : [];
  });
  if (road === "webrtc") return { iceServers };
  if (iceServers.length === 0) throw new RungError(`the server names no relay that is reached over ${road === "turn-udp" ? "UDP" : "TCP or TLS"}`);
  return { iceServers, iceTransportPolicy: "relay" };
}

/**
 * The road that a connection took, by its statistics.
 * @param {any[]} all
 */
export function roadOf(all) {
  const of = (/** @type {string | undefined} */ id) => all.find((s) => s.id === id);
  const transport = all.find((s) => s.type === "transport" && s.selectedCandidatePairId);
  const pair = of(transport?.selectedCandidatePairId) ?? all.find((s) => s.type === "candidate-pair" && s.nominated && s.state === "succeeded");
  const [local, remote] = [of(pair?.localCandidateId), of(pair?.remoteCandidateId)];
  if (local?.candidateType === "relay") return local.relayProtocol === "udp" ? "turn-udp" : "turn-tcp";
  // The server's own relay: from here to there it is UDP.
  return remote?.candidateType === "relay" ? "turn-udp" : "webrtc";
}

/**
 * Opens rungs with connections of one kind.
 * @template {{ stop: () => void }} T
 */
export class Roads {
  /**
   * @param {(road: string, signal: AbortSignal) => Promise<T>} connect by one road, or by any if it is empty
   * @param {(made: T) => Promise<string>} road which one a connection took
   * @param {boolean} forced only one rung is tried
   */
  constructor(connect, road, forced) {
    this.connect = connect;
    this.road = road;
    this.forced = forced;
    /** @type {{ made: T, road: string } | null} a connection that took a lower road than was asked for */
    this.kept = null;
    /** @type {unknown} why no road at all worked, if that was just found out */
    this.failed = null;
    this.timer = 0;
  }

  /** @param {string} road @param {AbortSignal} signal @returns {Promise<T>} */
  async open(road, signal) {
    const all = road === ROADS[0] && !this.forced;
    if (!all && this.failed) throw this.failed;
    if (all || !this.kept) await this.begin(all ? "" : road, signal);
    const kept = this.kept;
    if (!kept) throw new RungError("stopped");
    if (kept.road !== road) {
      // A lower one may be asked for next; a better one will not.
      if (this.forced || ROADS.indexOf(kept.road) < ROADS.indexOf(road)) this.giveUp();
      throw new RungError(NOT[road] ?? "the connection took another way");
    }
    clearTimeout(this.timer);
    this.kept = null;
    return kept.made;
  }

  /** @param {string} road @param {AbortSignal} signal */
  async begin(road, signal) {
    this.giveUp();
    this.failed = null;
    clearTimeout(this.timer);
    try {
      const made = await this.connect(road, signal);
      this.kept = { made, road: await this.road(made) };
    } catch (error) {
      if (!road) this.failed = error;
      throw error;
    } finally {
      // Whoever asks for the next rung does so at once.
      this.timer = window.setTimeout(() => this.giveUp(), KEPT);
    }
  }

  giveUp() {
    this.kept?.made.stop();
    this.kept = null;
    this.failed = null;
  }
}
