// @ts-check
// The page: polls the server's state once a second and puts picture, effects, camera and statistics together.

import { access, learn, shown } from "./access.js";
import { ALL, Choices } from "./choices.js";
import { EffectPanel, element, readable } from "./effects.js";
import { RungError } from "./ladder.js";
import { Ledger, parts } from "./ledger.js";
import { ModelPanel } from "./models.js";
import { FINDINGS, Overlay } from "./overlay.js";
import { Publisher, WAYS } from "./publish.js";
import { ROADS } from "./relays.js";
import { Refusal, absent, detour, end, isStill, know, pageWithoutToken, request, streamPath, switchEffect, url, weighed, wishes } from "./server.js";
import { renderSession } from "./session.js";
import { Share } from "./share.js";
import { styleOf } from "./sketch.js";
import { SourcePanel } from "./source_panel.js";
import { Stage } from "./stage.js";
import { Traffic } from "./traffic.js";
import { movedTo, pollAfter, renderTunnel, sharedPage } from "./tunnel.js";
import { NAMES, Watcher } from "./watch.js";
import { describe, renderReasons } from "./ways.js";

/**
 * @typedef {{ p50: number | null, p99: number | null }} Quantiles
 * @typedef {{ id: string, kind: string, state: string, effect: string, viewers: number, width: number, height: number,
 *   fps_in: number, fps_out: number, dropped: Record<string, number>, latency_ms: Quantiles, processed: number,
 *   params: import("./effects.js").Params, effect_state: string, failure: string | null, stages: ({ stage: string } & Quantiles)[] }} Stream
 * @typedef {import("./server.js").Transport} Transport
 * @typedef {{ effect: string, params: import("./effects.js").Params, newest: string | null, streams: Stream[],
 *   transports: Transport[], tunnel?: import("./tunnel.js").Tunnel | null, session?: import("./session.js").Session }} Status
 */

const POLL = 1000;
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
  window: "not sent: earlier ones were still on their way",
  encoder: "not sent: the browser was still encoding",
  server: "not used by the server",
  overtaken: "overtaken here by a newer one",
  late: "came too late to be shown",
  undecodable: "could not be decoded here",
  unmatched: "nothing was said of them in time",
  processor: "dropped by the effect",
  sink_failed: "could not be sent",
  shutdown: "the stream ended",
});

/**
 * @template {HTMLElement} T
 * @param {string} id
 * @returns {T}
 */
const byId = (id) => /** @type {T} */ (document.getElementById(id));

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

const CODECS = /** @type {Record<string, string>} */ ({ h264: "H.264", vp8: "VP8", jpeg: "JPEG" });

class App {
  constructor() {
    /** @type {Status | null} */
    this.status = null;
    this.chosen = NEWEST;
    this.failures = 0;
    const wish = wishes();
    if (wish.stream) this.chosen = wish.stream;
    this.chooser = /** @type {HTMLSelectElement} */ (byId("stream"));
    this.stage = new Stage(byId("figure"));
    // What the way up has found out need not be found out again on the way down.
    const noWebRtc = () => (this.publisher.running && !ROADS.includes(this.ways.up?.rung ?? "") && this.ways.up?.reasons.find(([rung]) => rung === "webrtc")?.[1]) || "";
    const server = { url, shown, request, weighed, absent, isStill, noWebRtc };
    this.watcher = new Watcher(server, this.stage, wish.transport, wish.codec, (state) => this.onWay("down", state));
    this.publisher = new Publisher(server, end, wish.transport, wish.codec, {
      onChange: (state) => this.onWay("up", state),
      onStop: (why) => this.onPublisherStop(why),
    });
    /** @type {{ up: import("./ladder.js").State | null, down: import("./ladder.js").State | null }} */
    this.ways = { up: null, down: null };
    /** @type {Overlay | null} where this page's own picture stays here */
    this.overlay = null;
    this.server = server;
    this.source = new SourcePanel(say, (source) => this.publish(source), () => {
      // Who watches leaves first: with the stream its sessions end by themselves.
      if (this.watcher.stream === ownStream()) this.watcher.leave();
      this.publisher.stop();
    });
    const combine = /** @type {HTMLInputElement} */ (byId("combine"));
    const places = { gallery: byId("gallery"), panel: byId("parameters"), chain: byId("chain"), combine };
    this.effects = new EffectPanel(places, (chain, params) => this.apply(chain, params));
    this.choices = new Choices({
      send: switchEffect,
      isThere: (id) => this.isOpen(id),
      taken: (id, choice) => {
        say("");
        const { status } = this;
        const changed = !status ? [] : id === ALL ? [status, ...status.streams] : status.streams.filter((s) => s.id === id);
        for (const place of changed) Object.assign(place, choice);
      },
      refused: (why) => {
        say(`The effect was not changed: ${why}`);
        this.followEffect();
      },
      delayed: (why) => say(`The effect is not changed yet: ${why}`),
    });
    this.models = new ModelPanel({ accelerator: byId("accelerator"), models: byId("models"), found: byId("found") }, request);
    this.ledger = new Ledger(byId("ledger"), byId("stages"));
    this.traffic = new Traffic();
    this.share = new Share({ panel: byId("share"), link: byId("share-link"), code: byId("share-code"), note: byId("share-note") });
    this.listen();
  }

  listen() {
    this.chooser.addEventListener("change", () => this.choose(this.chooser.value));
    const tell = (/** @type {string} */ what) => (/** @type {unknown} */ error) => say(`${what}: ${error instanceof Error ? error.message : error}`);
    byId("full").addEventListener("click", () => void this.stage.fullScreen().catch(tell("No full screen")));
    byId("snapshot").addEventListener("click", () => void this.stage.snapshot(this.fileName).catch(tell("There is no picture to save")));
    byId("draw-here").addEventListener("change", () => this.drawHere());
    byId("record").addEventListener("click", () => {
      try {
        if (this.stage.recording) this.stage.stopRecording();
        else this.stage.record(this.fileName, () => this.renderRecording());
      } catch (error) {
        tell("Nothing is recorded")(error);
      }
      this.renderRecording();
    });
    byId("token-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const token = /** @type {HTMLInputElement} */ (byId("token")).value.trim();
      location.assign(new URL(`t/${encodeURIComponent(token)}/`, pageWithoutToken()));
    });
    for (const button of document.querySelectorAll("[data-copy]")) {
      button.addEventListener("click", () => void copy(/** @type {HTMLElement} */ (button)));
    }
    window.addEventListener("online", () => this.hurry());
  }

  /** Tries again at once, whatever waits. */
  hurry() {
    this.watcher.hurry();
    this.publisher.hurry();
    this.overlay?.hurry();
  }

  get fileName() {
    return `ooblex-${this.stream?.id ?? "picture"}`;
  }

  async start() {
    await this.loadEffects();
    for (;;) {
      await this.poll();
      await new Promise((done) => setTimeout(done, pollAfter(POLL)));
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
    if (document.hidden && this.status && this.choices.waiting.size === 0) return;
    try {
      await learn();
      /** @type {Status} */
      let status;
      let taken;
      do {
        taken = this.choices.taken;
        status = await request("status");
      } while (taken !== this.choices.taken);
      this.status = status;
      void this.choices.go();
      know(status);
      if (this.failures > 0) {
        this.hurry();
      }
      this.failures = 0;
      if (this.effects.kinds.length === 0) await this.loadEffects();
      byId("token-form").hidden = true;
      this.render(status);
      const shown = this.stream;
      // What is beside the picture may be late or missing.
      const finds = shown && shown.state !== "ended" && !this.isBetween(shown.id) && shown.effect_state === "running" && shown.fps_out > 0;
      void this.models.refresh(finds ? streamPath(shown.id) : null).catch(() => {});
    } catch (error) {
      this.failures += 1;
      const refusal = error instanceof Refusal ? error : null;
      byId("token-form").hidden = !refusal || ![401, 403, 429].includes(refusal.status);
      const text = refusal?.status === 401 ? "A token is needed" : refusal ?? error instanceof RungError ? String(/** @type {Error} */ (error).message) : null;
      setConnection("lost", text ?? "No connection to the server");
    }
  }

  /** The name of the stream that is shown, also before there is one. */
  get shownId() {
    return (this.chosen === NEWEST ? this.status?.newest : this.chosen) ?? "";
  }

  /** The stream that is shown, if it is known. */
  get stream() {
    return this.status?.streams.find((s) => s.id === this.shownId) ?? null;
  }

  /** The stream that this page publishes, if it is known. */
  get own() {
    return this.status?.streams.find((s) => s.id === ownStream());
  }

  /** Whether there is such a stream, and it goes on. @param {string | null} id */
  isOpen(id) {
    return this.status?.streams.some((s) => s.id === id && s.state !== "ended") ?? false;
  }

  /** Between two ways up the own stream is nobody's: there is nothing to ask for. @param {string | null} id */
  isBetween(id) {
    return id === ownStream() && this.publisher.running && this.ways.up?.phase !== "running";
  }

  /** @param {string} id */
  choose(id) {
    this.chosen = id;
    this.chooser.value = id;
    if (this.status) this.render(this.status);
  }

  /** Has the stage show what is chosen, by the session that publishes it if it can. */
  showPicture() {
    const id = this.chosen === NEWEST ? (this.publisher.session ? ownStream() : this.status?.newest ?? null) : this.chosen;
    if (this.overlay && id === ownStream()) {
      this.watcher.show(null);
      if (this.overlay.shown > 0) this.stage.show(this.overlay.canvas);
      else this.stage.veil("waiting", "Waiting for what is found in the first picture");
      return;
    }
    const session = id === ownStream() ? this.publisher.session : null;
    if (session) {
      this.watcher.show(null);
      if ((session.down?.shown ?? 0) > 0) this.stage.show(this.publisher.canvas);
      else this.stage.veil("waiting", "Waiting for the first picture to come back");
      return;
    }
    this.watcher.show(this.isOpen(id) && !this.isBetween(id) ? id : null);
    if (id === null) this.stage.veil("waiting", "Nothing is live yet. Start the camera, or publish from elsewhere.");
  }

  /** @param {"up" | "down"} direction @param {import("./ladder.js").State} state */
  onWay(direction, state) {
    this.ways[direction] = state;
    const broken = state.phase === "waiting" || state.phase === "refused";
    if (direction === "down" && broken) this.stage.veil("lost", "The picture is interrupted; trying again");
    if (direction === "up") this.showPicture();
    if (direction === "up" && state.phase !== "running") this.overlay?.pause();
    if (direction === "up" && state.phase === "running") {
      this.overlay?.start();
      this.choose(ownStream());
      void this.poll();
    }
    this.renderWays();
  }

  /** Whether the own picture stays here follows what is wished, and what the effect does. */
  drawHere() {
    const box = /** @type {HTMLInputElement} */ (byId("draw-here"));
    const { own } = this;
    const can = this.publisher.running && own !== undefined && this.effects.onlyFinds(own.effect);
    byId("draw-here-switch").hidden = !can;
    if ((can && box.checked) === (this.overlay !== null)) return;
    if (this.overlay) this.leaveOverlay();
    else {
      const socket = !["http", "snapshot"].includes(wishes().transport);
      this.overlay = new Overlay(this.server, ownStream(), { socket, style: (model) => this.styleFor(model), onChange: (state) => this.onWay("down", state) });
    }
    this.publisher.hold(this.overlay?.held ?? null);
    this.showPicture();
  }

  leaveOverlay() {
    this.overlay?.pause();
    this.overlay = null;
    this.ways.down = null;
  }

  /** How the last effect of the own stream that has a model find things would draw them. @param {string} model */
  styleFor(model) {
    const { kinds } = this.effects;
    // Not what is chosen: until the server has switched, this is what finds things.
    const { effect = "", params = {} } = this.own ?? {};
    const used = effect.split("|").map((name) => kinds.find((kind) => kind.name === name));
    const kind = used.findLast((one) => one?.model === model) ?? used.at(-1);
    return styleOf(kind?.parameters ?? [], params[kind?.name ?? ""] ?? {}, kind?.model === model ? kind.figure : null);
  }

  renderWays() {
    const { up, down } = this.ways;
    const { running } = this.publisher;
    const session = this.chosen === ownStream() || this.chosen === NEWEST ? this.publisher.session : null;
    const sender = senderOf(this.publisher);
    const path = sender && "path" in sender ? sender.path : "";
    byId("way-up").hidden = !running;
    byId("up").textContent = up && running ? inWords([describe(up, WAYS), sender?.codec, path, this.traffic.up.perMinute(sender)]) : "–";
    const overlay = this.chosen === ownStream() || this.chosen === NEWEST ? this.overlay : null;
    const view = overlay ?? (session ? session.down : viewOf(this.watcher));
    const watching = overlay !== null || this.watcher.stream !== null;
    const ladder = session ? up : watching ? down : null;
    const names = overlay ? FINDINGS : NAMES;
    byId("down").textContent = ladder ? inWords([describe(ladder, names), view && "codec" in view ? view.codec : "", this.traffic.down.perMinute(view)]) : "–";
    const clock = (session ?? (this.watcher.view && "clock" in this.watcher.view ? this.watcher.view : null))?.clock;
    byId("way-clock").hidden = clock?.error == null;
    if (clock?.error != null) byId("clock").textContent = `${clock.offset >= 0 ? "+" : "−"}${Math.abs(clock.offset).toFixed(1)} ms, ± ${clock.error.toFixed(1)} ms`;
    const [runsUp, runsDown] = [running && up?.phase === "running" ? up.rung : "", ladder?.phase === "running" ? ladder.rung : ""];
    Object.assign(document.body.dataset, { up: runsUp, down: runsDown });
    renderReasons(byId("reasons"), [
      { title: "Up", state: running ? up : null, names: WAYS },
      { title: "Down", state: session || !watching ? null : down, names },
    ], wishes().transport, detour());
    byId("sending").hidden = !running;
    const trouble = up && running && up.phase !== "running";
    byId("sending").textContent = trouble ? `Connecting: ${describe(up, WAYS)}` : this.traffic.sending(sender);
  }

  /** @param {Status} status */
  render(status) {
    const open = status.streams.filter((s) => s.state !== "ended");
    this.renderChooser(open);
    const stream = this.stream;
    const ended = this.chosen !== NEWEST && !open.some((s) => s.id === this.chosen);
    if (ended && this.chosen !== ownStream() && this.chosen !== wishes().stream) this.choose(NEWEST);
    const [state, text] = this.describe(stream);
    setConnection(state, text);
    byId("scope").hidden = !this.shownId || new Set([this.shownId, ...open.map((s) => s.id)]).size < 2;
    byId("scope-one").textContent = `only ${this.shownId}`;
    this.followEffect();
    this.renderPublish(status);
    this.renderStatistics(stream);
    const path = stream ? `${streamPath(stream.id)}/stream.mjpg` : "stream.mjpg";
    /** @type {HTMLAnchorElement} */ (byId("direct")).href = shown(path).href;
    this.share.render(sharedPage(pageWithoutToken(), status.tunnel), stream?.id ?? "", access());
    renderTunnel(byId("tunnel"), status.tunnel);
    renderSession(byId("session"), status.session);
    const moved = movedTo();
    byId("moved").hidden = moved === null;
    if (moved) Object.assign(byId("moved-to"), { href: moved, textContent: moved });
    const view = this.publisher.session ?? this.watcher.view;
    if (stream && view && "watch" in view) view.watch(stream.processed);
    this.watcher.onStatus();
    this.drawHere();
    this.showPicture();
    this.stage.fit();
    this.renderWays();
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
    const { guarded } = access();
    byId("whip-token").hidden = !guarded;
    const token = guarded ? " -authorization TOKEN" : "";
    byId("whip-ffmpeg").textContent = `ffmpeg -re -i clip.mp4 -an -c:v libx264 -profile:v baseline -bf 0 -g 30 -pix_fmt yuv420p${token} -f whip ${address}`;
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
    const ids = open.map((s) => s.id);
    const wanted = [NEWEST, ...ids, ...(this.chosen === NEWEST || ids.includes(this.chosen) ? [] : [this.chosen])];
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
    const drops = Object.entries(stream?.dropped ?? {});
    const own = stream?.id === ownStream();
    const view = (own ? this.overlay : null) ?? this.publisher.session?.down ?? viewOf(this.watcher);
    const ages = view && "ages" in view && view.shown > 0 ? view.ages : null;
    const age = (/** @type {number | null | undefined} */ value) => (value == null ? null : Math.round(value));
    figure("age50", age(ages?.p50), "ms");
    figure("age99", age(ages?.p99), "ms");
    if (view && "oldest" in view) byId("age99").title = `The oldest picture that was drawn here: ${Math.ceil(view.oldest)} ms when that began`;
    const up = senderOf(this.publisher);
    const encode = own && up ? up.encodeTimes : null;
    const show = view && "showTimes" in view ? view.showTimes : null;
    this.ledger.render(parts(stream?.stages ?? [], { age: ages, encode, show }));
    const here = Object.entries({ ...(own && up?.dropped), ...(view && "dropped" in view ? view.dropped : {}) }).filter(([, count]) => count > 0);
    const items = [...drops, ...here].map(([reason, count]) => element("li", {}, element("b", {}, count.toLocaleString("en")), ` ${DROPS[reason] ?? readable(reason)}`));
    byId("drops").replaceChildren(...(items.length > 0 ? items : [element("li", { className: "muted" }, "none")]));
  }

  /** Shows the effect that the server has, once it has what was chosen here. */
  followEffect() {
    const { status, stream } = this;
    if (!status || this.choices.concern(this.shownId)) return;
    // The next stream of the same name begins with what there is for all.
    const { effect, params } = stream && stream.state !== "ended" ? stream : status;
    this.effects.follow(effect, params);
  }

  /**
   * @param {string} effect
   * @param {import("./effects.js").Params} params
   */
  apply(effect, params) {
    const one = document.querySelector("input[name=scope]:checked");
    const only = !byId("scope").hidden && one instanceof HTMLInputElement && one.value === "one";
    void this.choices.choose(only ? this.shownId : ALL, { effect, params: structuredClone(params) });
  }

  /** @param {import("./source.js").Source} source */
  publish(source) {
    say("");
    if (this.publisher.running) this.publisher.replace(source);
    else this.publisher.start(source, ownStream());
  }

  /** @param {string} why */
  onPublisherStop(why) {
    this.source.stopped();
    this.leaveOverlay();
    this.publisher.hold(null);
    byId("draw-here-switch").hidden = true;
    if (why) say(why);
    this.ways.up = null;
    // What the server said last is no longer true: it need not be asked for a stream that has ended.
    const { own } = this;
    if (own && this.status) {
      own.state = "ended";
      const other = this.status.streams.find((s) => s.state === "live");
      if (this.status.newest === own.id) this.status.newest = other?.id ?? null;
      if (this.chosen === own.id) this.choose(other?.id ?? NEWEST);
    }
    this.renderWays();
  }

  renderRecording() {
    const button = byId("record");
    button.textContent = this.stage.recording ? "Stop and save" : "Record";
    button.setAttribute("aria-pressed", String(this.stage.recording));
  }
}

/** What sends and counts it. @param {Publisher} publisher */
function senderOf({ way }) {
  if (!way) return null;
  return "up" in way ? way.up : way;
}

/** @param {(string | undefined)[]} words */
const inWords = (words) => words.map((word) => (word && CODECS[word]) ?? word).filter(Boolean).join(", ");

/** What shows the picture and counts it. @param {Watcher} watcher */
function viewOf({ view }) {
  if (!view) return null;
  return "down" in view ? view.down : view;
}

/** Copies the address that a button is for. @param {HTMLElement} button */
async function copy(button) {
  const place = /** @type {HTMLInputElement} */ (byId(button.dataset.copy ?? ""));
  place.select();
  // Pages that do not come over HTTPS have no clipboard; the selection is then enough to copy by hand.
  await navigator.clipboard?.writeText(place.value).catch(() => {});
  button.textContent = navigator.clipboard ? "Copied" : "Selected";
  setTimeout(() => (button.textContent = "Copy"), 1500);
}

void new App().start();
