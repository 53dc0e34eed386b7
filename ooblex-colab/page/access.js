// @ts-check
// What this page may do, and the addresses that it shows: no strong token stands there.

import { fetchPlain } from "./http.js";
import { pageWithoutToken, request, url } from "./server.js";

/** Tags end after ten minutes; they are renewed long before. */
const RENEW = 4 * 60_000;

/**
 * @typedef {object} Access
 * @property {boolean} guarded whether the server has tokens
 * @property {string[]} rights
 * @property {string | null} link the token of links for viewers
 * @property {{ token: string, expires_s: number } | null} tag a token that ends soon
 */

/** @type {Access} */
let known = { guarded: false, rights: [], link: null, tag: null };
let learnt = -Infinity;

/** Asks what this page may do, if that is unknown or long ago. */
export async function learn() {
  if (performance.now() - learnt < RENEW) return;
  known = await request("access");
  learnt = performance.now();
  await hide();
}

export const access = () => known;

/** The address of pictures for elements and other programs. @param {string} path */
export function shown(path) {
  if (!known.tag) return url(path);
  const address = new URL(path, pageWithoutToken());
  address.searchParams.set("token", known.tag.token);
  return address;
}

/**
 * Takes a strong token out of the address bar where the cookie does as much. In a frame of another site there is no
 * cookie, and no address bar either; the token of links stays, since it is there to be passed on.
 */
async function hide() {
  const page = pageWithoutToken();
  const here = new URL(".", document.baseURI);
  if (page.pathname === here.pathname || here.pathname.endsWith(`/t/${known.link}/`)) return;
  const answer = await fetchPlain(new URL("access", page)).catch(() => null);
  /** @type {Access | null} */
  const bare = answer?.ok ? await answer.json().catch(() => null) : null;
  if (bare?.rights.join() !== known.rights.join()) return;
  const file = location.pathname.slice(here.pathname.length);
  history.replaceState(history.state, "", new URL(`${file}${location.search}${location.hash}`, page));
}
