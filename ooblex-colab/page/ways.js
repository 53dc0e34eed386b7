// @ts-check
// Says which way pictures go, and why better ones are not taken.

import { element } from "./effects.js";

/** @typedef {import("./ladder.js").State} State */

/** @param {State} state @param {Record<string, string>} names */
export function describe(state, names) {
  const name = names[state.rung] ?? state.rung;
  switch (state.phase) {
    case "trying":
      return `trying ${name}`;
    case "running":
      return name;
    case "waiting":
      return `no way works; again in ${Math.max(1, Math.round(state.wait / 1000))} s`;
    case "refused":
      return "refused";
    default:
      return "–";
  }
}

/**
 * One item for each rung that does not run.
 * @param {HTMLElement} list
 * @param {{ title: string, state: State | null, names: Record<string, string> }[]} ladders
 * @param {string} forced the one rung that the page's address asks for
 * @param {string} detour how commands travel, where not by plain requests
 */
export function renderReasons(list, ladders, forced, detour) {
  const items = ladders.flatMap(({ title, state, names }) =>
    (state?.reasons ?? []).map(([rung, why]) => element("li", {}, element("b", {}, `${title}, ${names[rung] ?? rung}: `), why)),
  );
  if (items.length === 0) items.push(element("li", { className: "muted" }, forced ? `The page's address asks for this one (transport=${forced}).` : "The best way runs."));
  if (detour) items.push(element("li", {}, detour));
  const text = items.map((item) => item.textContent).join("\n");
  if (list.dataset.text === text) return;
  list.dataset.text = text;
  list.replaceChildren(...items);
}
