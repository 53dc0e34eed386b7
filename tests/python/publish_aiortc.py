#!/usr/bin/env python3
"""Publishes marked pictures with aiortc.

    publish_aiortc.py URL [--codec vp8|h264] [--id N] [--size WxH] [--fps F] [--token T] [--stream S] [--model CHAIN]
                          [--loopback] [--channel] [--candidates all|none|local] [--ice-server URL,USER,SECRET]
                          [--relay-only] [--back same|own]

The lines that it writes are in peer.py; here `event` is `answer`, `refused`, `state` (of the connection), `sent` (the
counter of a picture as it goes to the encoder), `message` (of the data channel), `closed`, and with `--back`, in which
section of the offer the processed picture is asked for, `seen` (as of watch_aiortc.py). Commands:

    {"do": "size", "width": 640, "height": 480}   the size of the following pictures
    {"do": "pause", "on": true}                   sends no pictures, but stays connected
    {"do": "say", "text": "..."}                  on the data channel, once it is open
    {"do": "delete"}                              ends the session by HTTP
    {"do": "close"}                               ends the connection as DTLS has it
"""

import argparse
import asyncio
import fractions
import re
import time
import uuid

import aioice.ice
import aiortc
import aiortc.codecs.h264
import aiortc.codecs.vpx
import av

import look
import mark
import peer


class Pictures(aiortc.VideoStreamTrack):
    """Marked pictures at a steady rate; a picture that is late goes out at once and none is left out."""

    def __init__(self, options):
        super().__init__()
        self.publisher, self.fps = options.id, options.fps
        self.width, self.height = map(int, options.size.split("x"))
        self.counter = 0
        self.running = asyncio.Event()
        self.running.set()
        self.started = self.due = None

    async def recv(self):
        await self.running.wait()
        now = time.monotonic()
        self.started = self.started or now
        if self.due is None or now > self.due + 0.5:
            self.due = now
        await asyncio.sleep(max(0.0, self.due - now))
        planes = mark.draw(self.publisher, self.counter, self.width, self.height)
        frame = av.VideoFrame.from_ndarray(planes, format="yuv420p")
        # The clock goes on while there is no picture, as a camera's does; x264 wants whole frames of it.
        ticks = round((self.due - self.started) * self.fps)
        frame.pts, frame.time_base = round(ticks * 90_000 / self.fps), fractions.Fraction(1, 90_000)
        peer.tell("sent", counter=self.counter, at=time.time())
        self.counter += 1
        self.due += 1 / self.fps
        return frame


def without_candidates(sdp):
    """The offer of a peer that gathers later, as OBS does."""
    return "".join(line for line in sdp.splitlines(True) if not re.match(r"a=(candidate|end-of-candidates)", line))


def with_local_names(sdp):
    """The offer of a browser that hides its addresses behind names that this network cannot resolve."""

    def hide(match):
        return f"{match[1]} {uuid.uuid4()}.local {match[2]}"

    hidden = re.sub(r"(a=candidate:\S+ \d+ \S+ \d+) \S+ (\d+ typ host)", hide, sdp)
    return re.sub(r"(?m)^c=IN IP4 \S+", "c=IN IP4 0.0.0.0", hidden)


CANDIDATES = {"all": lambda sdp: sdp, "none": without_candidates, "local": with_local_names}


def steady_quality():
    """Enough bits from the first picture on: what is lost must be the network's fault."""
    for codec in (aiortc.codecs.vpx, aiortc.codecs.h264):
        codec.DEFAULT_BITRATE = codec.MIN_BITRATE = 1_500_000
        codec.MAX_BITRATE = 2_500_000


async def publish(options):
    pending = asyncio.Queue()
    loop = asyncio.get_running_loop()
    peer.commands(lambda command: loop.call_soon_threadsafe(pending.put_nowait, command))

    servers = []
    for text in options.ice_server:
        url, *secret = text.split(",")
        servers.append(aiortc.RTCIceServer(url, *secret))
    policy = aiortc.RTCIceTransportPolicy.RELAY if options.relay_only else aiortc.RTCIceTransportPolicy.ALL
    connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=servers, iceTransportPolicy=policy))
    pictures = Pictures(options)

    @connection.on("connectionstatechange")
    def changed():
        peer.tell("state", state=connection.connectionState)

    looking = []

    @connection.on("track")
    def came(track):
        looking.append(asyncio.ensure_future(look.at(track)))

    transceiver = connection.addTransceiver(pictures, direction="sendrecv" if options.back == "same" else "sendonly")
    known = aiortc.RTCRtpSender.getCapabilities("video").codecs
    chosen = [codec for codec in known if codec.mimeType.lower() in (f"video/{options.codec}", "video/rtx")]
    transceiver.setCodecPreferences(chosen)
    if options.back == "own":
        connection.addTransceiver("video", direction="recvonly").setCodecPreferences(chosen)
    channel, opened = None, asyncio.Event()
    if options.channel:
        channel = connection.createDataChannel("control")
        channel.on("open", opened.set)
        channel.on("message", lambda text: peer.tell("message", text=text))

    await connection.setLocalDescription(await connection.createOffer())
    sdp = CANDIDATES[options.candidates](connection.localDescription.sdp)
    more = {key: getattr(options, key) for key in ("stream", "model") if getattr(options, key)}
    answer, session = await asyncio.to_thread(peer.exchange, options.url, sdp, options.token, **more)
    await connection.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))

    while (command := await pending.get()) is not None:
        match command["do"]:
            case "size":
                pictures.width, pictures.height = command["width"], command["height"]
            case "pause":
                (pictures.running.clear if command["on"] else pictures.running.set)()
            case "say":
                await opened.wait()
                channel.send(command["text"])
            case "delete":
                status, *_ = await asyncio.to_thread(peer.request, "DELETE", session, token=options.token)
                peer.tell("deleted", status=status)
            case "close":
                await connection.close()
                peer.tell("closed")
            case other:
                raise ValueError(f"no command {other}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--codec", default="vp8", choices=["vp8", "h264"])
    parser.add_argument("--id", type=int, default=1)
    parser.add_argument("--size", default="320x240")
    parser.add_argument("--fps", type=float, default=30)
    parser.add_argument("--token")
    parser.add_argument("--stream")
    parser.add_argument("--model")
    parser.add_argument("--loopback", action="store_true")
    parser.add_argument("--channel", action="store_true")
    parser.add_argument("--candidates", default="all", choices=CANDIDATES)
    parser.add_argument("--ice-server", action="append", default=[])
    parser.add_argument("--relay-only", action="store_true")
    parser.add_argument("--back", choices=["same", "own"])
    options = parser.parse_args()
    steady_quality()
    if options.loopback:
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    asyncio.run(publish(options))


if __name__ == "__main__":
    main()
