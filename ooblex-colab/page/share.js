// @ts-check
// The address at which others watch, also as a QR code.

import { encode, toPath } from "./qr.js";

const SVG = "http://www.w3.org/2000/svg";

/** Shows the address of a stream. */
export class Share {
  /** @param {{ panel: HTMLElement, link: HTMLInputElement, code: HTMLElement, note: HTMLElement }} places */
  constructor(places) {
    this.places = places;
  }

  /**
   * @param {URL} page without a token
   * @param {string} stream empty for the newest
   * @param {import("./access.js").Access} access
   */
  render(page, stream, access) {
    const link = new URL(access.link ? `t/${access.link}/view` : "view", page);
    if (stream) link.searchParams.set("stream", stream);
    if (this.places.link.value === link.href) return;
    this.places.link.value = link.href;
    this.places.code.replaceChildren(picture(link.href));
    const here = ["localhost", "127.0.0.1", "[::1]"].includes(link.hostname);
    const notes = [here ? "This address works on this machine only." : "", access.link ? "Whoever has it can watch, and nothing else." : access.guarded ? "Who opens it may need a token with the right to view." : ""];
    this.places.note.textContent = notes.filter(Boolean).join(" ");
  }
}

/** @param {string} text */
function picture(text) {
  const svg = document.createElementNS(SVG, "svg");
  const path = document.createElementNS(SVG, "path");
  try {
    const code = toPath(encode(text));
    svg.setAttribute("viewBox", `0 0 ${code.size} ${code.size}`);
    path.setAttribute("d", code.path);
  } catch {
    // An address of more than 213 bytes has no code that a phone would read well.
    return document.createTextNode("");
  }
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "QR code of the address");
  svg.setAttribute("shape-rendering", "crispEdges");
  svg.append(path);
  return svg;
}
