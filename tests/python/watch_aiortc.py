#!/usr/bin/env python3
"""Watches by WHEP with aiortc.

    watch_aiortc.py URL [--codec vp8|h264|all] [--token T] [--loopback] [--audio]

The lines that it writes are in peer.py; here `event` is `answer`, `refused`, `state` (of the connection), `seen` (a picture:
its size, when it was decoded, and what its mark says), `repaired` (a packet that was lost came in the stream for that,
RFC 4588), `deleted`, `closed`. Commands:

    {"do": "key"}       asks for a key frame
    {"do": "limit", "kbps": 200}   tells that the network carries no more (REMB)
    {"do": "delete"}    ends the session by HTTP
    {"do": "close"}     ends the connection as DTLS has it
"""

import argparse
import asyncio

import aioice.ice
import aiortc
import aiortc.rtcrtpreceiver
from aiortc.rtp import RTCP_PSFB_APP, RtcpPsfbPacket, pack_remb_fci

import look
import peer


def tell_repairs():
    """Tells of every packet that comes by RTX."""
    unwrap = aiortc.rtcrtpreceiver.unwrap_rtx

    def told(packet, *arguments, **more):
        peer.tell("repaired")
        return unwrap(packet, *arguments, **more)

    aiortc.rtcrtpreceiver.unwrap_rtx = told


async def watch(options):
    pending = asyncio.Queue()
    loop = asyncio.get_running_loop()
    peer.commands(lambda command: loop.call_soon_threadsafe(pending.put_nowait, command))
    connection = aiortc.RTCPeerConnection(aiortc.RTCConfiguration(iceServers=[]))
    looking = []

    @connection.on("connectionstatechange")
    def changed():
        peer.tell("state", state=connection.connectionState)

    @connection.on("track")
    def came(track):
        if track.kind == "video":
            looking.append(asyncio.ensure_future(look.at(track)))

    if options.audio:
        connection.addTransceiver("audio", direction="recvonly")
    transceiver = connection.addTransceiver("video", direction="recvonly")
    if options.codec != "all":
        known = aiortc.RTCRtpReceiver.getCapabilities("video").codecs
        transceiver.setCodecPreferences([c for c in known if c.mimeType.lower() == f"video/{options.codec}"])
    await connection.setLocalDescription(await connection.createOffer())
    sdp = connection.localDescription.sdp
    answer, session = await asyncio.to_thread(peer.exchange, options.url, sdp, options.token)
    await connection.setRemoteDescription(aiortc.RTCSessionDescription(answer, "answer"))

    receiver = transceiver.receiver
    while (command := await pending.get()) is not None:
        ssrcs = [source.source for source in receiver.getSynchronizationSources()]
        match command["do"]:
            case "key":
                await receiver._send_rtcp_pli(ssrcs[0])
                peer.tell("asked")
            case "limit":
                fci = pack_remb_fci(command["kbps"] * 1000, ssrcs)
                own = receiver._RTCRtpReceiver__rtcp_ssrc
                await receiver._send_rtcp(RtcpPsfbPacket(fmt=RTCP_PSFB_APP, ssrc=own, media_ssrc=0, fci=fci))
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
    parser.add_argument("--codec", default="all", choices=["vp8", "h264", "all"])
    parser.add_argument("--token")
    parser.add_argument("--loopback", action="store_true")
    parser.add_argument("--audio", action="store_true")
    options = parser.parse_args()
    if options.loopback:
        aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: ["127.0.0.1"]
    tell_repairs()
    asyncio.run(watch(options))


if __name__ == "__main__":
    main()
