#!/usr/bin/python3
"""A wire between two network namespaces that loses, delays and refuses packets as it is told.

    link.py LEFT RIGHT      the names of two interfaces of the namespace in which this runs

What netem and a firewall do, without needing either in the kernel: Ethernet frames are read from one interface and sent
from the other. Settings come as JSON objects, one a line, from standard input, each answered by a line with what was
counted so far; the program ends with its input.

    {"loss": 0.05, "delay_ms": [0, 100], "direction": "right"}   for packets that go to the right (or left, or both)
    {"udp": "none"}          no UDP passes; "all"; or "ADDRESS:PORT" with an IPv4 address: only from and to there
    {"up": false}            nothing passes

A delay is drawn for each packet from the given range, so that packets overtake each other. The random numbers are seeded.
"""

import heapq
import json
import random
import select
import socket
import struct
import sys
import time

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING = 263, 15, 23
SO_RCVBUFFORCE = 33
ETH_P_ALL, ETH_P_IP = 3, 0x0800
# Sizes and checksums of what is not cut up or summed yet: the header passes with the frame, and whoever receives it at
# the other end takes it as the sending kernel left it.
VNET_HEADER = 10
UDP = 17


class Side:
    def __init__(self, name, interface):
        self.name, self.loss, self.delay = name, 0.0, (0.0, 0.0)
        self.passed = self.lost = self.refused = 0
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.socket.bind((interface, 0))

    def counts(self):
        return {"passed": self.passed, "lost": self.lost, "refused": self.refused}


class Wire:
    def __init__(self, left, right):
        # A packet read at the left goes to the right.
        self.sides = {"right": Side("right", left), "left": Side("left", right)}
        self.udp, self.up = "all", True
        self.random = random.Random(20_25)
        self.waiting, self.count = [], 0

    def refuses(self, frame):
        packet = frame[VNET_HEADER + 14 :]
        kind = struct.unpack_from("!H", frame, VNET_HEADER + 12)[0]
        if self.udp == "all" or kind != ETH_P_IP or packet[9] != UDP:
            return False
        ports = (packet[0] & 15) * 4
        ends = [
            f"{socket.inet_ntoa(packet[at : at + 4])}:{struct.unpack_from('!H', packet, ports + port)[0]}"
            for at, port in ((12, 0), (16, 2))
        ]
        return self.udp not in ends

    def take(self, side, out):
        frame = side.socket.recv(1 << 17)
        if self.refuses(frame):
            side.refused += 1
        elif not self.up or self.random.random() < side.loss:
            side.lost += 1
        else:
            side.passed += 1
            due = time.monotonic() + self.random.uniform(*side.delay)
            self.count += 1
            heapq.heappush(self.waiting, (due, self.count, out, frame))

    def send_due(self):
        now = time.monotonic()
        while self.waiting and self.waiting[0][0] <= now:
            _, _, out, frame = heapq.heappop(self.waiting)
            try:
                out.socket.send(frame)
            except OSError:
                out.refused += 1

    def set(self, command):
        direction = command.get("direction", "both")
        for side in self.sides.values():
            if direction in ("both", side.name):
                side.loss = command.get("loss", side.loss)
                if "delay_ms" in command:
                    side.delay = tuple(value / 1000 for value in command["delay_ms"])
        self.udp = command.get("udp", self.udp)
        self.up = command.get("up", self.up)
        counts = {name: side.counts() for name, side in self.sides.items()}
        print(json.dumps({"event": "counts", **counts}), flush=True)

    def run(self):
        right, left = self.sides["right"], self.sides["left"]
        out = {right.socket: (right, left), left.socket: (left, right)}
        commands = b""
        print(json.dumps({"event": "ready"}), flush=True)
        while True:
            patience = max(0.0, self.waiting[0][0] - time.monotonic()) if self.waiting else None
            ready, _, _ = select.select([*out, sys.stdin.fileno()], [], [], patience)
            for source in ready:
                if source in out:
                    self.take(*out[source])
                    continue
                read = sys.stdin.buffer.raw.read(1 << 16)
                if not read:
                    return
                *lines, commands = (commands + read).split(b"\n")
                for line in lines:
                    self.set(json.loads(line))
            self.send_due()


if __name__ == "__main__":
    Wire(sys.argv[1], sys.argv[2]).run()
