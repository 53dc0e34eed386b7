// Publishes the camera by WHIP, or by the JSON offer where the address ends with /offer.
//
// options: codec ('vp8', 'h264'), width, height, encodings (as for addTransceiver), headers, trickle (send the offer
// without candidates and add them by PATCH), channel (a data channel; what it says is kept in publisher.messages), back (in
// which section the processed picture is asked for: 'same', 'own'; what it shows is kept in publisher.back).
async function publish(url, options) {
  const camera = await navigator.mediaDevices.getUserMedia({
    video: { width: { exact: options.width }, height: { exact: options.height }, frameRate: 30 },
  });
  const [track] = camera.getVideoTracks();
  const pc = new RTCPeerConnection();
  const messages = [];
  let channel = null;
  if (options.channel) {
    channel = pc.createDataChannel('control');
    channel.onmessage = (event) => messages.push(event.data);
  }
  const direction = options.back === 'same' ? 'sendrecv' : 'sendonly';
  const transceiver = pc.addTransceiver(track, { direction, sendEncodings: options.encodings ?? [{}] });
  const own = options.back === 'own' ? pc.addTransceiver('video', { direction: 'recvonly' }) : transceiver;
  const wanted = [`video/${options.codec}`, 'video/rtx'];
  const known = RTCRtpSender.getCapabilities('video').codecs;
  transceiver.setCodecPreferences(known.filter((codec) => wanted.includes(codec.mimeType.toLowerCase())));
  const found = [];
  const gathered = new Promise((done) => {
    pc.onicecandidate = ({ candidate }) => (candidate?.candidate ? found.push(candidate) : done());
  });
  await pc.setLocalDescription();
  const offer = pc.localDescription.sdp;
  await gathered;
  const sdp = options.trickle ? offer : pc.localDescription.sdp;
  const json = new URL(url, location.href).pathname.endsWith('/offer');
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'Content-Type': json ? 'application/json' : 'application/sdp', ...options.headers },
    body: json ? JSON.stringify({ sdp, type: 'offer', ...options.more }) : sdp,
  });
  const body = await response.text();
  if (!response.ok) return { status: response.status, body };
  const place = response.headers.get('Location');
  const session = place && new URL(place, response.url).href;
  await pc.setRemoteDescription({ type: 'answer', sdp: json ? JSON.parse(body).sdp : body });
  const back = options.back && lookAt(own.receiver.track);
  if (back) back.video.play();
  // The test pictures must stay as large as they are, whatever Chromium thinks of the network.
  const parameters = transceiver.sender.getParameters();
  parameters.degradationPreference = 'maintain-resolution';
  await transceiver.sender.setParameters(parameters);
  window.publisher = { pc, sender: transceiver.sender, track, session, channel, messages, back };
  let patched = null;
  if (options.trickle) {
    const value = (name) => offer.match(new RegExp(`a=${name}:(\\S+)`))[0];
    const mid = offer.match(/a=mid:(\S+)/)[1];
    const lines = [value('ice-ufrag'), value('ice-pwd'), 'm=video 9 UDP/TLS/RTP/SAVPF 0', `a=mid:${mid}`];
    lines.push(...found.map((candidate) => `a=${candidate.candidate}`), 'a=end-of-candidates', '');
    const answer = await fetch(session, {
      method: 'PATCH',
      headers: {
        'Content-Type': 'application/trickle-ice-sdpfrag',
        'If-Match': response.headers.get('ETag'),
        ...options.headers,
      },
      body: lines.join('\r\n'),
    });
    patched = answer.status;
  }
  return { status: response.status, session, patched, link: response.headers.get('Link'), etag: response.headers.get('ETag') };
}
