// @ts-check
// The tunnel by which the server is reached from outside: how it is, and what it leaves for this page.

/**
 * @typedef {object} Tunnel
 * @property {string} provider
 * @property {"up" | "reconnecting" | "down"} state
 * @property {string | null} url where it is reached, or was last
 * @property {string | null} reason why it is not up
 * @property {boolean} here whether this page came through it
 * @property {{ reasons: string[], interstitial: boolean | null } | null} probe what passes it, once that is known
 * @property {{ sent_bytes: number, requests: number, bytes_per_second: number, minutes_left: number | null,
 *   most_bytes_per_second: number | null, slowed: boolean, poll_ms: number, most_pictures_per_second: number,
 *   used: { bytes: number, requests: number }, limits: { bytes: number | null, requests: number | null } }} traffic
 */

/** @type {Tunnel | null} the one that this page came through */
let mine = null;

/** What the server said last. @param {Tunnel | null | undefined} tunnel */
export const knowTunnel = (tunnel) => void (mine = tunnel?.here ? tunnel : null);

/** How long to wait between two questions for the state. @param {number} ms unless requests are scarce */
export const pollAfter = (ms) => Math.max(ms, mine?.traffic.poll_ms ?? 0);

/** How many pictures a second may be asked for, or sent, one by one. @param {number} most unless requests are scarce */
export const picturesASecond = (most) => Math.min(most, mine ? mine.traffic.most_pictures_per_second / 2 : most);

/** @param {number} minutes */
function inWords(minutes) {
  if (minutes >= 48 * 60) return `${Math.round(minutes / 1440)} days`;
  return minutes >= 120 ? `${Math.round(minutes / 60)} hours` : minutes === 1 ? "1 minute" : `${minutes} minutes`;
}

/** @param {number} bytes */
const megabytes = (bytes) => `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`;

/** What a person wants to know of it. @param {Tunnel} tunnel */
export function describeTunnel({ provider, state, reason, probe, traffic }) {
  if (state !== "up") return `Tunnel (${provider}): ${state}, ${reason}`;
  const { bytes, requests } = traffic.limits;
  const used = [
    bytes === null ? `${megabytes(traffic.sent_bytes)} sent` : `${megabytes(traffic.used.bytes)} of ${megabytes(bytes)} sent`,
    requests === null ? "" : `${traffic.used.requests.toLocaleString("en")} of ${requests.toLocaleString("en")} requests`,
  ];
  const left = traffic.minutes_left === null || traffic.minutes_left > 60 * 24 * 366 ? "" : `${inWords(traffic.minutes_left)} left at this rate`;
  const slowed = traffic.slowed && traffic.most_bytes_per_second !== null ? `slowed to ${Math.round(traffic.most_bytes_per_second / 1000)} kB/s so that it lasts` : "";
  return `Tunnel (${provider}): ${[...used, left, slowed, ...(probe?.reasons ?? [])].filter(Boolean).join("; ")}`;
}

/**
 * Shows how the tunnel is.
 * @param {HTMLElement} place
 * @param {Tunnel | null | undefined} tunnel
 */
export function renderTunnel(place, tunnel) {
  place.hidden = !tunnel;
  if (!tunnel) return;
  place.dataset.state = tunnel.state;
  const text = describeTunnel(tunnel);
  if (place.textContent !== text) place.textContent = text;
}

/**
 * The address at which others find this page: that of the tunnel, where there is one and the page did not come that way.
 * @param {URL} page without a token
 * @param {Tunnel | null | undefined} tunnel
 */
export function sharedPage(page, tunnel) {
  return tunnel?.url && tunnel.state === "up" && !tunnel.here ? new URL(`${tunnel.url}/`) : page;
}

/** Where this page has to be opened anew, because its tunnel leads to another address now; null if it does not. */
export function movedTo() {
  return mine?.url && mine.state === "up" && new URL(mine.url).host !== location.host ? `${mine.url}/` : null;
}
