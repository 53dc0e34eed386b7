// @ts-check
// What every WebRTC connection of the page waits for before its offer leaves.

/** An offer leaves with the candidates that were found until then; the server finds the rest by itself. */
const GATHER = 500;

/**
 * Waits until all candidates were found, or time is up.
 * @param {RTCPeerConnection} peer
 * @param {number} [longest] milliseconds
 */
export const gathered = (peer, longest = GATHER) =>
  new Promise((done) => {
    const look = () => peer.iceGatheringState === "complete" && done(null);
    peer.addEventListener("icegatheringstatechange", look);
    setTimeout(done, longest, null);
    look();
  });
