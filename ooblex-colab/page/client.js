// @ts-check
// The plain client: a camera by WebRTC to a server that is named, also one of another origin, and MJPEG back.

import { fetchPlain } from "./http.js";
import { gathered } from "./ice.js";
import { withGoodBeginning } from "./webrtc.js";

/** Candidates that are found later than this are not waited for. */
const GATHER = 2000;

/** @template {HTMLElement} T @param {string} id @returns {T} */
const byId = (id) => /** @type {T} */ (document.getElementById(id));

/** @type {MediaStream | null} */
let camera = null;
/** @type {RTCPeerConnection | null} */
let peer = null;
let session = "";
let counting = 0;

const field = /** @type {HTMLInputElement} */ (byId("serverUrl"));
const output = /** @type {HTMLImageElement} */ (byId("mjpegOutput"));
if (location.protocol.startsWith("http")) field.value = new URL(".", location.href).href;

/** @param {string} text @param {"connected" | "disconnected" | "connecting"} state */
function say(text, state) {
  const place = byId("status");
  place.textContent = text;
  place.className = `connection ${state}`;
  place.dataset.state = { connected: "live", connecting: "connecting", disconnected: "lost" }[state];
}

/** @param {unknown} error */
const words = (error) => (error instanceof Error ? error.message || error.name : String(error));

async function startCamera() {
  try {
    const wanted = { width: 1280, height: 720, facingMode: "user" };
    camera = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    /** @type {HTMLVideoElement} */ (byId("localVideo")).srcObject = camera;
    say("Camera started", "connected");
  } catch (error) {
    say(`Camera error: ${words(error)}`, "disconnected");
  }
}

function stopCamera() {
  camera?.getTracks().forEach((track) => track.stop());
  camera = null;
  /** @type {HTMLVideoElement} */ (byId("localVideo")).srcObject = null;
  say("Camera stopped", "disconnected");
}

/** The address of a path of the server that is named. @param {string} path */
const at = (path) => new URL(path, field.value.trim().replace(/\/*$/, "/")).href;

async function connect() {
  if (!camera) return say("Please start camera first", "disconnected");
  if (!field.value.trim()) return say("Please enter the server URL", "disconnected");
  disconnect();
  say("Connecting", "connecting");
  const ice = await fetchPlain(at("ice-servers")).then((answer) => answer.json()).catch(() => ({}));
  const made = new RTCPeerConnection({ iceServers: ice.iceServers ?? [] });
  peer = made;
  made.addEventListener("connectionstatechange", () => onState(made));
  made.addEventListener("iceconnectionstatechange", () => (byId("iceState").textContent = made.iceConnectionState));
  for (const track of camera.getTracks()) made.addTransceiver(track, { direction: "sendonly", streams: [camera] });
  try {
    await made.setLocalDescription();
    await gathered(made, GATHER);
    const model = /** @type {HTMLSelectElement} */ (byId("modelSelect")).value;
    const body = JSON.stringify({ sdp: made.localDescription?.sdp, type: "offer", model });
    const response = await fetchPlain(at("webrtc/offer"), { method: "POST", body, headers: { "Content-Type": "application/json" } });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail ?? `the server answered ${response.status}`);
    session = answer.pc_id;
    if (made === peer) await made.setRemoteDescription({ type: "answer", sdp: withGoodBeginning(answer.sdp) });
  } catch (error) {
    if (made !== peer) return;
    disconnect();
    say(`Connection error: ${words(error)}`, "disconnected");
  }
}

/** @param {RTCPeerConnection} made */
function onState(made) {
  if (made !== peer) return;
  byId("connectionState").textContent = made.connectionState;
  if (made.connectionState === "connected") {
    say("Connected", "connected");
    output.src = `${at("stream.mjpg")}?_=${Date.now()}`;
    clearInterval(counting);
    counting = window.setInterval(() => void count(made), 500);
  } else if (made.connectionState === "failed") {
    say("Connection failed", "disconnected");
  }
}

/** Frames that the browser has really sent. @param {RTCPeerConnection} made */
async function count(made) {
  for (const report of (await made.getStats()).values()) {
    if (report.type === "outbound-rtp" && report.kind === "video") byId("framesSent").textContent = String(report.framesSent ?? 0);
  }
}

function disconnect() {
  clearInterval(counting);
  peer?.close();
  peer = null;
  if (session) void fetchPlain(at(`whip/sessions/${session}`), { method: "DELETE", keepalive: true }).catch(() => {});
  session = "";
  output.removeAttribute("src");
  byId("connectionState").textContent = "closed";
  byId("iceState").textContent = "closed";
  say("Disconnected", "disconnected");
}

byId("startCamera").addEventListener("click", () => void startCamera());
byId("stopCamera").addEventListener("click", stopCamera);
byId("connect").addEventListener("click", () => void connect());
byId("disconnect").addEventListener("click", disconnect);
