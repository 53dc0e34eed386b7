// @ts-check
// The page: polls the server's state once a second and puts picture, effects, camera and statistics together.

import { SendError, cameraObstacle, explainCameraError } from "./camera.js";
import { EffectPanel, element, readable } from "./effects.js";
import { ModelPanel } from "./models.js";
import { PictureView } from "./picture.js";
import { Publisher } from "./publish.js";

/**
 * @typedef {{ p50: number | null, p99: number | null }} Quantiles
 * @typedef {{ id: string, kind: string, state: string, effect: string, viewers: number, width: number, height: number,
 *   fps_in: number, fps_out: number, dropped: Record<string, number>, latency_ms: Quantiles, processed: number,
 *   params: import("./effects.js").Params, effect_state: string, failure: string | null, stages: ({ stage: string } & Quantiles)[] }} Stream
 * @typedef {{ name: string, state: string, reason: string | null }} Transport
 * @typedef {{ effect: string, params: import("./effects.js").Params, newest: string | null, streams: Stream[],
 *   transports: Transport[] }} Status
 */

const POLL = 1000;
const REQUEST_DEADLINE = 5000;
/** An answer to an offer waits for the server's own STUN and TURN servers. */
const OFFER_DEADLINE = 12000;
/** The choice of the chooser that follows the newest stream. */
const NEWEST = "";

/** What the reasons of dropped frames mean. */
const DROPS = /** @type {Record<string, string>} */ ({
  superseded: "a newer frame came first",
  queue_full: "queue full",
  sink_busy: "viewers were slower",
  rate_cap: "above the rate limit",
  sampled: "left out by sampling",
  expired: "too old",
  decode_failed: "could not be decoded",
  process_failed: "the effect failed",
  not_ready: "the effect was not ready",
  outdated: "a private effect was chosen",
  processor: "dropped by the effect",
  sink_failed: "could not be sent",
  shutdown: "the stream ended",
});

/** What the stages are called; effects go by their own names. */
const STAGES = /** @type {Record<string, string>} */ ({
  decode: "Decode",
  none: "No effect",
  queue: "Wait for the effect",
  handover: "Wait for viewers",
  encode: "Encode",
  send: "Send",
});

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
const byId = (id) => /** @type {T} */ (document.getElementById(id));

/** @param {string} path relative to the page, so that it works behind proxies and path prefixes */
const url = (path) => new URL(path, document.baseURI);

/** @param {string} id */
const streamPath = (id) => `streams/${encodeURIComponent(id)}`;

/** The address of the page without the token that may stand in front of its path. */
const pageWithoutToken = () => {
  const page = new URL(".", document.baseURI);
  page.pathname = page.pathname.replace(/\/t\/[^/]+\/$/, "/");
  return page;
};

/** The server refused. */
class Refusal extends Error {
  /** @param {number} status @param {string} detail */
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

/**
 * Fetches JSON; a problem document becomes an error with its sentence.
 * @param {string} path
 * @param {unknown} [body]
 */
async function request(path, body) {
  const init = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const deadline = path === "webrtc/offer" ? OFFER_DEADLINE : REQUEST_DEADLINE;
  const response = await fetch(url(path), { ...init, signal: AbortSignal.timeout(deadline) });
  const answer = await response.json().catch(() => null);
  if (!response.ok) throw new Refusal(response.status, answer?.detail ?? `the server answered ${response.status}`);
  return answer;
}

/** @param {string} text empty to hide it */
function say(text) {
  const message = byId("message");
  if (message.textContent === text) return;
  message.textContent = text;
  message.hidden = text === "";
}

/** @param {"connecting" | "live" | "lost"} state @param {string} text */
function setConnection(state, text) {
  const place = byId("connection");
  place.dataset.state = state;
  if (place.textContent !== text) place.textContent = text;
}

/** Name of this browser's own stream; kept so that a reload continues it. */
function ownStream() {
  let name = sessionStorage.getItem("ooblex-stream");
  if (!name) {
    name = `camera-${Math.floor(Math.random() * 36 ** 4).toString(36).padStart(4, "0")}`;
    sessionStorage.setItem("ooblex-stream", name);
  }
  return name;
}

class App {
  constructor() {
    /** @type {Status | null} */
    this.status = null;
    this.chosen = NEWEST;
    this.failures = 0;
    this.chooser = /** @type {HTMLSelectElement} */ (byId("stream"));
    this.picture = new PictureView(byId("picture"), (state) => this.onPicture(state));
    const combine = /** @type {HTMLInputElement} */ (byId("combine"));
    const places = { gallery: byId("gallery"), panel: byId("parameters"), chain: byId("chain"), combine };
    this.effects = new EffectPanel(places, (chain, params) => this.apply(chain, params));
    this.models = new ModelPanel({ accelerator: byId("accelerator"), models: byId("models"), found: byId("found") }, request);
    const onState = (/** @type {string} */ text) => (byId("sending").textContent = text);
    const end = (/** @type {string} */ path) => void fetch(url(path), { method: "DELETE", keepalive: true }).catch(() => {});
    this.camera = new Publisher(request, end, { onProblem: say, onState, onStop: () => this.onCameraStop() });
    this.chooser.addEventListener("change", () => this.choose(this.chooser.value));
    byId("camera").addEventListener("click", () => void this.toggleCamera());
    byId("snapshot").addEventListener("click", () => void this.saveSnapshot());
    byId("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const token = /** @type {HTMLInputElement} */ (byId("token")).value.trim();
      location.assign(new URL(`t/${encodeURIComponent(token)}/`, pageWithoutToken()));
    });
    byId("whip-copy").addEventListener("click", () => void this.copyWhip());
  }

  async start() {
    this.choose(NEWEST);
    await this.loadEffects();
    for (;;) {
      await this.poll();
      await new Promise((done) => setTimeout(done, POLL));
    }
  }

  async loadEffects() {
    try {
      this.effects.setKinds(await request("effects?detail=full"));
      const health = await request("health");
      if (health.version) byId("version").textContent = `Ooblex ${health.version}`;
    } catch {
      // The first poll says that the server is away, and tries again.
    }
  }

  async poll() {
    if (document.hidden && this.status) return;
    try {
      /** @type {Status} */
      const status = await request("status");
      this.status = status;
      if (this.failures > 0) this.picture.connect();
      this.failures = 0;
      if (this.effects.kinds.length === 0) await this.loadEffects();
      byId("token-form").hidden = true;
      this.render(status);
      const shown = this.stream;
      // What is beside the picture may be late or missing.
      const finds = shown && shown.state !== "ended" && shown.effect_state === "running" && shown.fps_out > 0;
      void this.models.refresh(finds ? streamPath(shown.id) : null).catch(() => {});
    } catch (error) {
      this.failures += 1;
      const refusal = error instanceof Refusal ? error : null;
      byId("token-form").hidden = !refusal || ![401, 403, 429].includes(refusal.status);
      const text = refusal?.status === 401 ? "A token is needed" : refusal?.message;
      setConnection("lost", text ?? "No connection to the server");
    }
  }

  /** The stream that is shown, if it is known. */
  get stream() {
    const id = this.chosen === NEWEST ? this.status?.newest : this.chosen;
    return this.status?.streams.find((s) => s.id === id) ?? null;
  }

  /** @param {string} id */
  choose(id) {
    this.chosen = id;
    this.chooser.value = id;
    const path = id === NEWEST ? "stream.mjpg" : `${streamPath(id)}/stream.mjpg`;
    /** @type {HTMLAnchorElement} */ (byId("direct")).href = url(path).href;
    this.picture.show(url(path).href);
    if (this.status) this.render(this.status);
  }

  /** @param {Status} status */
  render(status) {
    const open = status.streams.filter((s) => s.state !== "ended");
    this.renderChooser(open);
    const stream = this.stream;
    const ended = this.chosen !== NEWEST && !open.some((s) => s.id === this.chosen);
    if (ended && this.chosen !== ownStream()) this.choose(NEWEST);
    const [state, text] = this.describe(stream);
    setConnection(state, text);
    byId("scope").hidden = open.length < 2;
    byId("scope-one").textContent = stream ? `only ${stream.id}` : "this one";
    const effect = stream ?? status;
    this.effects.follow(effect.effect, effect.params);
    this.renderPublish(status);
    this.renderStatistics(stream);
    if (stream) this.picture.watch(stream.processed);
  }

  /** How programs publish. @param {Status} status */
  renderPublish(status) {
    const whip = status.transports?.find((t) => t.name === "whip");
    byId("publish").hidden = !whip;
    if (!whip) return;
    const running = whip.state === "running";
    byId("publish-note").textContent = running ? "" : whip.reason ?? "";
    const page = pageWithoutToken();
    const address = new URL("whip/cam", page).href;
    const place = /** @type {HTMLInputElement} */ (byId("whip"));
    if (place.value === address) return;
    place.value = address;
    const guarded = page.pathname !== new URL(".", document.baseURI).pathname;
    byId("whip-token").hidden = !guarded;
    const token = guarded ? " -authorization TOKEN" : "";
    byId("whip-ffmpeg").textContent = `ffmpeg -re -i clip.mp4 -an -c:v libx264 -profile:v baseline -bf 0 -g 30 -pix_fmt yuv420p${token} -f whip ${address}`;
  }

  async copyWhip() {
    const place = /** @type {HTMLInputElement} */ (byId("whip"));
    place.select();
    // Pages that do not come over HTTPS have no clipboard; the selection is then enough to copy by hand.
    await navigator.clipboard?.writeText(place.value).catch(() => {});
    byId("whip-copy").textContent = navigator.clipboard ? "Copied" : "Selected";
    setTimeout(() => (byId("whip-copy").textContent = "Copy"), 1500);
  }

  /**
   * @param {Stream | null} stream
   * @returns {["connecting" | "live" | "lost", string]}
   */
  describe(stream) {
    if (!stream) return ["connecting", "Connected, no stream yet"];
    if (stream.failure) return ["lost", `${stream.id}: ${stream.failure}`];
    if (stream.effect_state === "loading") return ["connecting", `${stream.id}: ${readable(stream.effect)} is being loaded`];
    if (stream.state === "live") return ["live", `${stream.id} is live`];
    return ["connecting", stream.state === "ended" ? `${stream.id} has ended` : `${stream.id} is waiting for pictures`];
  }

  /** @param {Stream[]} open */
  renderChooser(open) {
    const wanted = [NEWEST, ...open.map((s) => s.id)];
    byId("chooser").hidden = open.length < 2 && this.chosen === NEWEST;
    const present = [...this.chooser.options].map((option) => option.value);
    if (wanted.join("\n") === present.join("\n")) return;
    const options = wanted.map((id) => element("option", { value: id }, id === NEWEST ? "Newest" : id));
    this.chooser.replaceChildren(...options);
    this.chooser.value = this.chosen;
  }

  /** @param {Stream | null} stream */
  renderStatistics(stream) {
    /** @type {(id: string, value: number | string | null | undefined, unit: string) => void} */
    const figure = (id, value, unit) => {
      const known = value !== null && value !== undefined;
      byId(id).replaceChildren(known ? String(value) : "–", ...(known && unit ? [element("small", {}, ` ${unit}`)] : []));
    };
    byId("statistics-of").textContent = stream?.id ?? "no stream";
    figure("fps-in", stream?.fps_in.toFixed(1), "fps");
    figure("fps-out", stream?.fps_out.toFixed(1), "fps");
    figure("p50", stream?.latency_ms.p50, "ms");
    figure("p99", stream?.latency_ms.p99, "ms");
    byId("size").textContent = stream && stream.width > 0 ? `${stream.width}×${stream.height}` : "–";
    figure("viewers", stream?.viewers, "");
    this.renderStages(stream?.stages ?? []);
    const drops = Object.entries(stream?.dropped ?? {});
    const items = drops.map(([reason, count]) => element("li", {}, element("b", {}, count.toLocaleString("en")), ` ${DROPS[reason] ?? readable(reason)}`));
    byId("drops").replaceChildren(...(items.length > 0 ? items : [element("li", { className: "muted" }, "none")]));
  }

  /** @param {({ stage: string } & Quantiles)[]} stages */
  renderStages(stages) {
    const longest = Math.max(0.001, ...stages.map((s) => s.p50 ?? 0));
    /** @type {(ms: number | null) => string} */
    const ms = (value) => (value === null ? "–" : `${value < 10 ? value.toFixed(2) : value.toFixed(1)} ms`);
    const rows = stages.map((stage) => {
      const fill = element("i", {});
      fill.style.width = `${(100 * (stage.p50 ?? 0)) / longest}%`;
      const bar = element("div", { className: "bar" }, fill);
      const name = element("th", { scope: "row" }, STAGES[stage.stage] ?? readable(stage.stage));
      const share = element("td", { className: "share" }, bar);
      return element("tr", {}, name, share, element("td", {}, ms(stage.p50)), element("td", { className: "value muted" }, ms(stage.p99)));
    });
    const none = element("tr", {}, element("td", { className: "none muted" }, "no frames yet"));
    byId("stages").replaceChildren(...(rows.length > 0 ? rows : [none]));
  }

  /**
   * @param {string} effect
   * @param {import("./effects.js").Params} params
   */
  async apply(effect, params) {
    const one = document.querySelector("input[name=scope]:checked");
    const only = !byId("scope").hidden && one instanceof HTMLInputElement && one.value === "one" && this.stream;
    try {
      await request(only ? `${streamPath(only.id)}/effect` : "effect", { effect, params });
      say("");
      if (this.status) {
        const changed = only ? [only] : [this.status, ...this.status.streams];
        for (const place of changed) Object.assign(place, { effect, params });
      }
    } catch (error) {
      say(`The effect was not changed: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** @param {"waiting" | "live" | "lost"} state */
  onPicture(state) {
    byId("figure").dataset.state = state;
    byId("veil").textContent = state === "lost" ? "The picture is interrupted; trying again" : "Waiting for a picture";
  }

  async toggleCamera() {
    if (this.camera.running) {
      this.camera.stop();
      return;
    }
    const obstacle = cameraObstacle();
    if (obstacle) {
      say(obstacle);
      return;
    }
    const button = /** @type {HTMLButtonElement} */ (byId("camera"));
    button.disabled = true;
    say("");
    try {
      const socket = url(`ws/upload?stream=${ownStream()}`);
      socket.protocol = socket.protocol === "https:" ? "wss:" : "ws:";
      byId("sending").hidden = false;
      await this.camera.start(ownStream(), socket.href);
      if (!this.camera.running) return;
      button.textContent = "Stop camera";
      button.setAttribute("aria-pressed", "true");
      await this.showOwnStream();
    } catch (error) {
      this.camera.stop();
      say(error instanceof SendError ? `Publishing is refused: ${error.message}` : explainCameraError(error));
    } finally {
      button.disabled = false;
    }
  }

  /** Shows this browser's stream as soon as the server has its first picture. */
  async showOwnStream() {
    const own = ownStream();
    for (let attempt = 0; attempt < 40 && this.camera.running; attempt += 1) {
      const streams = await request("streams").catch(() => []);
      if (streams.some((/** @type {Stream} */ s) => s.id === own && s.state !== "ended")) {
        await this.poll();
        this.choose(own);
        return;
      }
      await new Promise((done) => setTimeout(done, 100));
    }
  }

  onCameraStop() {
    const button = byId("camera");
    button.textContent = "Start camera";
    button.setAttribute("aria-pressed", "false");
    byId("sending").hidden = true;
    if (this.chosen !== ownStream()) return;
    // The newest stream is this one until the server has waited for its next picture long enough.
    const other = this.status?.streams.find((s) => s.state === "live" && s.id !== ownStream());
    this.choose(other?.id ?? NEWEST);
  }

  async saveSnapshot() {
    const id = this.stream?.id;
    const path = this.chosen === NEWEST || !id ? "snapshot.jpg" : `${streamPath(id)}/snapshot.jpg`;
    try {
      const response = await fetch(url(path), { signal: AbortSignal.timeout(REQUEST_DEADLINE) });
      if (!response.ok) throw new Error((await response.json()).detail);
      const object = URL.createObjectURL(await response.blob());
      const time = new Date().toISOString().replace(/[:.]/g, "-").slice(0, 19);
      element("a", { href: object, download: `ooblex-${id ?? "picture"}-${time}.jpg` }).click();
      setTimeout(() => URL.revokeObjectURL(object), 10_000);
      say("");
    } catch (error) {
      say(`There is no picture to save: ${error instanceof Error ? error.message : error}`);
    }
  }
}

void new App().start();
