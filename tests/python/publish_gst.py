#!/usr/bin/python3
"""Publishes a file of raw I420 pictures with GStreamer's webrtcbin, 30 a second, once from its beginning to its end.

    publish_gst.py URL FILE WIDTHxHEIGHT [--codec vp8|h264] [--token T] [--loopback] [--turn URL]

Needs the system's Python with python3-gi. The lines that it writes are in peer.py; here `event` is `answer`, `refused`,
`state` (of the connection), `sent` (the number of a picture as it goes to the encoder). Ends when its input is closed.
"""

import argparse
import os
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstSdp", "1.0")
gi.require_version("GstWebRTC", "1.0")
from gi.repository import GLib, Gst, GstSdp, GstWebRTC  # noqa: E402

import peer  # noqa: E402

ENCODERS = {
    "vp8": "vp8enc deadline=1 cpu-used=8 keyframe-max-dist=3000 target-bitrate=1500000 ! rtpvp8pay picture-id-mode=15-bit",
    # One of Debian's constrained-baseline encoders; the payloader repeats the parameter sets before each key frame.
    "h264": "openh264enc complexity=low gop-size=3000 bitrate=1500000 ! h264parse ! rtph264pay config-interval=-1 "
    "aggregate-mode=zero-latency",
}
CAPS = {
    "vp8": "application/x-rtp,media=video,encoding-name=VP8,payload=96",
    "h264": "application/x-rtp,media=video,encoding-name=H264,payload=96",
}


class Publisher:
    def __init__(self, options):
        self.options = options
        width, height = options.size.split("x")
        self.pipeline = Gst.parse_launch(
            f"filesrc name=file ! rawvideoparse name=parse format=i420 width={width} height={height} framerate=30/1 "
            f"! identity name=pace sync=true ! {ENCODERS[options.codec]} ! {CAPS[options.codec]} "
            "! webrtcbin name=peer bundle-policy=max-bundle"
        )
        self.pipeline.get_by_name("file").set_property("location", options.file)
        self.peer = self.pipeline.get_by_name("peer")
        if options.turn:
            self.peer.set_property("turn-server", options.turn)
        if options.loopback:
            # The reference that webrtcbin holds is a floating one, which this takes over: it must stay.
            self.ice = self.peer.get_property("ice-agent")
            self.ice.emit("add-local-ip-address", "127.0.0.1")
        self.sent = 0
        self.valve = threading.Event()
        pace = self.pipeline.get_by_name("pace").get_static_pad("src")
        pace.add_probe(Gst.PadProbeType.BUFFER, self.on_picture)
        self.peer.connect("on-negotiation-needed", self.on_negotiation_needed)
        self.peer.connect("notify::ice-gathering-state", self.on_gathering)
        self.peer.connect("notify::connection-state", self.on_state)

    def on_picture(self, _pad, _info):
        # The offer needs what the first picture says about the stream; the others wait for the connection. The clock
        # runs on meanwhile, so that the next ones come at once.
        if self.sent == 1:
            self.valve.wait()
        peer.tell("sent", counter=self.sent, at=time.time())
        self.sent += 1
        return Gst.PadProbeReturn.OK

    def on_negotiation_needed(self, _peer):
        def created(promise):
            # The offer lies in the reply, which lies in the promise: all must live until it was handed over.
            promise.wait()
            reply = promise.get_reply()
            offer = reply.get_value("offer")
            self.peer.emit("set-local-description", offer, None)

        self.peer.emit("create-offer", None, Gst.Promise.new_with_change_func(created))

    def on_gathering(self, _peer, _property):
        if self.peer.get_property("ice-gathering-state") == GstWebRTC.WebRTCICEGatheringState.COMPLETE:
            threading.Thread(target=self.exchange, daemon=True).start()

    def exchange(self):
        offer = self.peer.get_property("local-description").sdp.as_text()
        try:
            text, _session = peer.exchange(self.options.url, offer, self.options.token)
        except BaseException as error:
            # Of this thread only: end the program as the main one would.
            print(f"no answer: {error!r}", file=sys.stderr)
            os._exit(error.code if isinstance(error, SystemExit) else 1)
        _, sdp = GstSdp.SDPMessage.new_from_text(text)
        answer = GstWebRTC.WebRTCSessionDescription.new(GstWebRTC.WebRTCSDPType.ANSWER, sdp)
        self.peer.emit("set-remote-description", answer, None)

    def on_state(self, _peer, _property):
        state = self.peer.get_property("connection-state").value_nick
        if state == "connected":
            self.valve.set()
        peer.tell("state", state=state)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("file")
    parser.add_argument("size")
    parser.add_argument("--codec", default="vp8", choices=ENCODERS)
    parser.add_argument("--token")
    parser.add_argument("--loopback", action="store_true")
    parser.add_argument("--turn")
    options = parser.parse_args()
    Gst.init(None)
    loop = GLib.MainLoop()
    publisher = Publisher(options)
    bus = publisher.pipeline.get_bus()
    bus.add_signal_watch()

    def failed(_bus, message):
        error, detail = message.parse_error()
        print(f"{error.message}: {detail}", file=sys.stderr)
        loop.quit()

    bus.connect("message::error", failed)
    bus.connect("message::eos", lambda *_: peer.tell("end"))
    peer.commands(lambda command: loop.quit() if command is None else None)
    publisher.pipeline.set_state(Gst.State.PLAYING)
    loop.run()
    # Without taking anything apart: the kernel does that, and never crashes on the way.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
