// @ts-check
// Choosing the source: which camera, which size, mirrored or not; screen, file or test pattern.

import { element } from "./effects.js";
import { cameraObstacle, cameras, explainCameraError, openSource } from "./source.js";

/** @typedef {import("./source.js").Source} Source */

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

const STORE = "ooblex-source";

/** What the button begins. */
const STARTS = /** @type {Record<string, string>} */ ({ camera: "Start camera", screen: "Share screen", file: "Play file", pattern: "Start pattern" });

/** The controls of the source, and its picture before it is processed. */
export class SourcePanel {
  /**
   * @param {(message: string) => void} say
   * @param {(source: Source) => void} onSource takes it over
   * @param {() => void} stop
   */
  constructor(say, onSource, stop) {
    this.say = say;
    this.onSource = onSource;
    this.stop = stop;
    this.running = false;
    this.button = /** @type {HTMLButtonElement} */ (byId("camera"));
    this.kind = /** @type {HTMLSelectElement} */ (byId("source"));
    this.height = /** @type {HTMLSelectElement} */ (byId("height"));
    this.mirror = /** @type {HTMLInputElement} */ (byId("mirror"));
    this.file = /** @type {HTMLInputElement} */ (byId("file"));
    this.preview = /** @type {HTMLVideoElement} */ (byId("preview"));
    this.restore();
    this.button.addEventListener("click", () => (this.running ? this.stop() : void this.start()));
    this.file.addEventListener("change", () => this.file.files?.length && void this.start());
    for (const control of [this.kind, this.height, this.mirror]) {
      control.addEventListener("change", () => {
        this.keep();
        this.label();
        if (this.running) void this.start();
      });
    }
    byId("both").addEventListener("click", () => this.showInput(byId("input").hidden));
    navigator.mediaDevices?.addEventListener?.("devicechange", () => void this.listCameras());
    if (!navigator.mediaDevices?.getDisplayMedia) this.kind.querySelector("[value=screen]")?.remove();
    this.label();
    void this.listCameras();
  }

  restore() {
    try {
      const kept = JSON.parse(localStorage.getItem(STORE) ?? "{}");
      if (kept.height) this.height.value = kept.height;
      this.mirror.checked = kept.mirror === true;
    } catch {
      // What cannot be read, or may not be, is chosen again.
    }
  }

  keep() {
    try {
      localStorage.setItem(STORE, JSON.stringify({ height: this.height.value, mirror: this.mirror.checked }));
    } catch {
      // Pages in some frames have no store.
    }
  }

  label() {
    const kind = this.kind.selectedOptions[0]?.dataset.device ? "camera" : this.kind.value;
    this.button.textContent = this.running ? "Stop" : STARTS[kind] ?? STARTS.camera;
    this.button.setAttribute("aria-pressed", String(this.running));
  }

  /** One entry for each camera, once their names may be known. */
  async listCameras() {
    const found = await cameras();
    if (found.length < 2) return;
    const present = this.kind.value;
    for (const old of this.kind.querySelectorAll("[data-device]")) old.remove();
    const options = found.map((camera, i) => {
      const option = element("option", { value: camera.deviceId }, camera.label || `Camera ${i + 1}`);
      option.dataset.device = camera.deviceId;
      return option;
    });
    this.kind.querySelector("[value=camera]")?.after(...options);
    this.kind.value = present;
  }

  async start() {
    const device = this.kind.selectedOptions[0]?.dataset.device;
    const kind = /** @type {import("./source.js").Choice["kind"]} */ (device ? "camera" : this.kind.value);
    const [file] = this.file.files ?? [];
    if (kind === "file" && !file) return this.file.click();
    const choice = { kind, device, file, height: Number(this.height.value), mirror: this.mirror.checked };
    this.button.disabled = true;
    this.say("");
    let [source, trouble] = [/** @type {Source | null} */ (null), ""];
    try {
      const obstacle = kind === "camera" ? cameraObstacle() : "";
      if (obstacle) trouble = obstacle;
      else source = await openSource(choice);
    } catch (error) {
      const cancelled = kind === "screen" && error instanceof DOMException && error.name === "NotAllowedError";
      trouble = kind === "camera" ? explainCameraError(error) : cancelled ? "No screen was chosen." : error instanceof Error ? error.message : String(error);
    }
    // Without a camera the test pattern shows that all the rest works.
    const pattern = kind === "camera" && !source && !this.running;
    if (pattern) source = await openSource({ ...choice, kind: "pattern" });
    this.button.disabled = false;
    if (!source) {
      this.say(trouble);
      return;
    }
    this.running = true;
    this.onSource(source);
    if (pattern) {
      this.kind.value = "pattern";
      this.say(`${trouble} The test pattern is shown instead.`);
    }
    this.preview.srcObject = source.media;
    byId("both").hidden = false;
    this.label();
    void this.listCameras();
  }

  /** The source has ended, whoever ended it. */
  stopped() {
    this.running = false;
    this.file.value = "";
    this.preview.srcObject = null;
    this.showInput(false);
    byId("both").hidden = true;
    this.label();
  }

  /** @param {boolean} shown */
  showInput(shown) {
    byId("input").hidden = !shown;
    byId("screens").dataset.layout = shown ? "both" : "";
    byId("both").setAttribute("aria-pressed", String(shown));
  }
}
