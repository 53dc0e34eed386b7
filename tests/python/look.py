"""What the peers that see pictures share."""

import time

import aiortc.mediastreams

import mark
import peer


async def at(track):
    """Tells of every picture that arrives."""
    while True:
        try:
            frame = await track.recv()
        except aiortc.mediastreams.MediaStreamError:
            peer.tell("ended")
            return
        planes = frame.to_ndarray(format="yuv420p")
        found = mark.read(planes[: frame.height, : frame.width])
        publisher, counter = found or (None, None)
        peer.tell("seen", id=publisher, counter=counter, width=frame.width, height=frame.height, at=time.time())
