// Watches by WHEP in a <video> of its own; what it showed is kept in viewer.seen, a mark each.
//
// codecs: the MIME types to take, in the order of preference; all of them if empty.
async function watch(url, codecs) {
  const pc = new RTCPeerConnection();
  const transceiver = pc.addTransceiver('video', { direction: 'recvonly' });
  pc.addTransceiver('audio', { direction: 'recvonly' });
  if (codecs.length) {
    const known = RTCRtpReceiver.getCapabilities('video').codecs;
    transceiver.setCodecPreferences(known.filter((codec) => codecs.includes(codec.mimeType.toLowerCase())));
  }
  const { video, seen } = lookAt(transceiver.receiver.track);
  const gathered = new Promise((done) => {
    pc.onicecandidate = ({ candidate }) => candidate?.candidate || done();
  });
  await pc.setLocalDescription();
  await gathered;
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/sdp' },
    body: pc.localDescription.sdp,
  });
  const body = await response.text();
  if (!response.ok) return { status: response.status, body };
  await pc.setRemoteDescription({ type: 'answer', sdp: body });
  video.play();
  const session = new URL(response.headers.get('Location'), response.url).href;
  window.viewer = { pc, video, seen, session };
  return { status: response.status, session, body };
}
