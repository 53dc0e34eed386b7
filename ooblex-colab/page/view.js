// @ts-check
// The viewers' page: the picture, and nothing else.

import { access, learn, shown as shownAt } from "./access.js";
import { Refusal, absent, isStill, know, pageWithoutToken, request, url, wishes } from "./server.js";
import { Stage } from "./stage.js";
import { NAMES, Watcher } from "./watch.js";
import { pollAfter } from "./tunnel.js";
import { describe } from "./ways.js";

const POLL = 2000;

/** @param {string} id */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** @param {"connecting" | "live" | "lost"} state @param {string} text */
function say(state, text) {
  const place = byId("connection");
  place.dataset.state = state;
  if (place.textContent !== text) place.textContent = text;
}

const wish = wishes();
const stage = new Stage(byId("figure"));
/** @type {["connecting" | "live" | "lost", string]} how the stream is */
let news = ["connecting", "Connecting"];
let shown = "";
const sayAll = () => say(news[0], news[0] === "live" ? `${news[1]}, ${shown}` : news[1]);
const watcher = new Watcher({ url, shown: shownAt, request, absent, isStill }, stage, wish.transport, wish.codec, (state) => {
  shown = describe(state, NAMES);
  sayAll();
  document.body.dataset.down = state.phase === "running" ? state.rung : "";
  if (state.phase === "waiting" || state.phase === "refused") stage.veil("lost", "The picture is interrupted; trying again");
});

/** Asks how the stream is. */
async function poll() {
  if (document.hidden) return;
  try {
    await learn();
    const status = await request("status");
    know(status);
    byId("token-form").hidden = true;
    const id = wish.stream || status.newest;
    const stream = status.streams.find((/** @type {{ id: string }} */ s) => s.id === id);
    const live = stream?.state === "live";
    news = live ? ["live", `${id} is live`] : ["connecting", id ? `${id} is not live` : "Nothing is live yet"];
    // A stream that does not exist yet, or no longer, would be refused; it may begin later.
    watcher.show(stream && stream.state !== "ended" ? id : null);
    if (stream && watcher.view && "watch" in watcher.view) watcher.view.watch(stream.processed);
    watcher.onStatus();
    stage.fit();
    sayAll();
  } catch (error) {
    const refused = error instanceof Refusal && [401, 403, 429].includes(error.status);
    byId("token-form").hidden = !refused;
    news = ["lost", refused ? (access().guarded ? error.message : "A token is needed") : "No connection to the server"];
    sayAll();
  }
}

byId("full").hidden = !document.fullscreenEnabled;
byId("full").addEventListener("click", () => void stage.fullScreen().catch(() => {}));
byId("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const token = /** @type {HTMLInputElement} */ (byId("token")).value.trim();
  location.assign(new URL(`t/${encodeURIComponent(token)}/view${location.search}`, pageWithoutToken()));
});
window.addEventListener("online", () => watcher.hurry());

for (;;) {
  await poll();
  await new Promise((done) => setTimeout(done, pollAfter(POLL)));
}
