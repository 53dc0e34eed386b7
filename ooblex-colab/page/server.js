// @ts-check
// What the page asks the server.

import { fetchPlain } from "./http.js";
import { ofNotebook } from "./kernel.js";
import { knowTunnel } from "./tunnel.js";

const DEADLINE = 5000;
/** An effect may load a model first, which the server gives two minutes. */
const EFFECT_DEADLINE = 130_000;

/** @param {string} path relative to the page, so that it works behind proxies and path prefixes */
export const url = (path) => new URL(path, document.baseURI);

/** The address of the page without the token that may stand in front of its path. */
export function pageWithoutToken() {
  const page = new URL(".", document.baseURI);
  page.pathname = page.pathname.replace(/\/t\/[^/]+\/$/, "/");
  return page;
}

/** The server refused. */
export class Refusal extends Error {
  /** @param {number} status @param {string} detail @param {string} [code] missing where it was not the server that answered */
  constructor(status, detail, code) {
    super(detail);
    this.status = status;
    this.code = code;
  }

  /** Whether the same will be refused again: not by a tunnel that has its troubles, and not once the stream is there. */
  get isFinal() {
    return this.code !== undefined && this.code !== "unknown_stream";
  }
}

/**
 * Fetches JSON; a problem document becomes an error with its sentence.
 * @param {string} path
 * @param {unknown} [body]
 * @param {number} [deadline] milliseconds in which the answer comes
 */
export const request = async (path, body, deadline = DEADLINE) => (await weighed(path, body, deadline)).answer;

/**
 * The same, with the bytes of the answer.
 * @param {string} path
 * @param {unknown} [body]
 * @param {number} [deadline]
 * @returns {Promise<{ answer: any, bytes: number }>}
 */
export async function weighed(path, body, deadline = DEADLINE) {
  const init = body === undefined ? {} : { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await ask(path, init, deadline);
  const data = await response.blob().catch(() => new Blob());
  const answer = await new Response(data).json().catch(() => null);
  if (!response.ok) throw new Refusal(response.status, answer?.detail ?? `the server answered ${response.status}`, answer?.code);
  return { answer, bytes: data.size };
}

/** The path of a stream. @param {string} id */
export const streamPath = (id) => `streams/${encodeURIComponent(id)}`;

/** Switches one stream, or all. @param {string} stream empty for all @param {import("./choices.js").Choice} choice */
export const switchEffect = (stream, choice) => request(stream ? `${streamPath(stream)}/effect` : "effect", choice, EFFECT_DEADLINE);

/** Why requests that change something go through the notebook; empty if they do not. */
let refusedByProxy = "";

/** @param {string} path @param {RequestInit} init @param {number} deadline */
async function ask(path, init, deadline) {
  const within = () => AbortSignal.timeout(deadline);
  const kernel = init.method ? ofNotebook() : null;
  if (!kernel) return fetchPlain(url(path), { ...init, signal: within() });
  if (!refusedByProxy) {
    const response = await fetchPlain(url(path), { ...init, signal: within() }).catch(() => null);
    // Whatever the server answers is JSON, its refusals, too.
    if (response && /json|sdp/.test(response.headers.get("Content-Type") ?? "")) return response;
    refusedByProxy = response ? `the notebook's proxy answered ${response.status} to a POST` : "the notebook's proxy passes no POST";
  }
  return kernel.fetch(url(path), { ...init, signal: within() });
}

/** How commands travel, where not by plain requests. */
export const detour = () => (refusedByProxy ? `Commands go through the notebook: ${refusedByProxy}.` : "");

/** Ends something; also works while the page is being left. @param {string} path */
export const end = (path) => void fetchPlain(url(path), { method: "DELETE", keepalive: true }).catch(() => {});

/** @typedef {{ name: string, path: string, state: string, reason: string | null }} Transport */

/** @type {Promise<Transport[]> | null} */
let transports = null;

/** @type {{ id: string, fps_out: number, processed: number }[]} */
let streams = [];

/** What the server said last. @param {{ transports: Transport[], streams: typeof streams, tunnel?: import("./tunnel.js").Tunnel | null }} status */
export function know(status) {
  knowTunnel(status.tunnel);
  transports = Promise.resolve(status.transports);
  streams = status.streams;
}

/** Whether a stream has pictures, but no new ones. @param {string} id */
export const isStill = (id) => streams.some((stream) => stream.id === id && stream.processed > 0 && stream.fps_out === 0);

/** Why the server does not serve a path; empty if it does. @param {string} path */
export async function absent(path) {
  transports ??= request("status").then((/** @type {{ transports: Transport[] }} */ status) => status.transports);
  const list = await transports.catch((error) => {
    transports = null;
    throw error;
  });
  const found = list.find((transport) => transport.path === path);
  if (!found) return `this server has no ${path}`;
  return found.state === "running" ? "" : found.reason ?? `${path} does not run`;
}

/** What the address of the page asks for: `?transport=`, `?codec=` and `?stream=`. */
export function wishes() {
  const query = new URLSearchParams(location.search);
  const known = (/** @type {string} */ name, /** @type {string[]} */ values) => values.find((value) => value === query.get(name)) ?? "";
  return {
    transport: known("transport", ["webrtc", "turn-udp", "turn-tcp", "ws", "ws-jpeg", "http", "snapshot", "kernel"]),
    codec: /** @type {import("./wire.js").Codec | ""} */ (known("codec", ["h264", "vp8"])),
    stream: query.get("stream") ?? "",
  };
}
