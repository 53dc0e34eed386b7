// Shows a track in a <video> of its own; what it showed is kept in `seen`, a mark each and how colourful it was.
function lookAt(track) {
  const video = document.createElement('video');
  video.muted = true;
  video.srcObject = new MediaStream([track]);
  document.body.append(video);
  const seen = [];
  const look = () => {
    const mark = readMark(video);
    seen.push(mark && { ...mark, at: Date.now() / 1000, colour: colourOf(video) });
    video.requestVideoFrameCallback(look);
  };
  video.requestVideoFrameCallback(look);
  return { video, seen };
}

