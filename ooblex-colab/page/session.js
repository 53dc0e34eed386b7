// @ts-check
// The time for which the machine is lent: its end is said in good time. Nothing here prolongs it.

/**
 * @typedef {object} Session
 * @property {number | null} limit_minutes as the operator has set it
 * @property {number | null} minutes_left
 * @property {string | null} warning a sentence, once the end is near
 */

/**
 * Shows that the end is near.
 * @param {HTMLElement} place
 * @param {Session | undefined} session
 */
export function renderSession(place, session) {
  const text = session?.warning ?? "";
  place.hidden = text === "";
  if (place.textContent !== text) place.textContent = text;
}
