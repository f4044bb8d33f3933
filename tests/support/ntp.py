"""NTP packets, right and wrong, and a client that believes only what answers its own question."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from dataclasses import dataclass, field, replace

UNIX_EPOCH = 2208988800  # in NTP seconds
SO_TIMESTAMPNS = 35
HEADER = struct.Struct(">BBbb3I4Q")
CLIENT, SERVER = 3, 4


def stamp(wall_ns: int) -> int:
    """The 32.32 time stamp of a time on the system clock."""
    seconds, rest = divmod(wall_ns, 10**9)
    return (((seconds + UNIX_EPOCH) & 0xFFFFFFFF) << 32) | ((rest << 32) // 10**9)


def seconds_between(later: int, earlier: int) -> float:
    difference = (later - earlier) & 0xFFFFFFFFFFFFFFFF
    if difference >= 1 << 63:
        difference -= 1 << 64
    return difference / 2**32


@dataclass(frozen=True)
class Packet:
    """A header as it is on the wire, and whatever follows it."""

    leap: int = 0
    version: int = 4
    mode: int = CLIENT
    stratum: int = 0
    poll: int = 0
    precision: int = 0
    root_delay: int = 0
    root_dispersion: int = 0
    refid: int = 0
    reference: int = 0
    origin: int = 0
    receive: int = 0
    transmit: int = 0
    tail: bytes = b""

    def encode(self) -> bytes:
        first = (self.leap << 6) | (self.version << 3) | self.mode
        return HEADER.pack(first, self.stratum, self.poll, self.precision, self.root_delay, self.root_dispersion,
                           self.refid, self.reference, self.origin, self.receive, self.transmit) + self.tail

    @staticmethod
    def decode(data: bytes) -> Packet:
        first, *rest = HEADER.unpack(data[:HEADER.size])
        return Packet(first >> 6, (first >> 3) & 7, first & 7, *rest, tail=data[HEADER.size:])

    def changed(self, **fields: object) -> Packet:
        return replace(self, **fields)


def request(**fields: object) -> Packet:
    """A client's request with an unpredictable transmit stamp, unless the caller says otherwise."""
    return Packet(transmit=int.from_bytes(os.urandom(8), "big") | 1).changed(**fields)


def honest_reply(asked: Packet, received_ns: int | None = None, offset: float = 0.0) -> Packet:
    """What a synchronised stratum 2 server would say to `asked` now, its clock `offset` seconds ahead of ours."""
    shift = int(offset * 10**9)
    arrived = time.time_ns() if received_ns is None else received_ns
    return Packet(leap=0, version=asked.version, mode=SERVER, stratum=2, poll=asked.poll, precision=-20,
                  root_delay=0x10, root_dispersion=0x10, refid=0x7F7F0101, reference=stamp(arrived + shift - 10**9),
                  origin=asked.transmit, receive=stamp(arrived + shift), transmit=stamp(time.time_ns() + shift))


@dataclass
class Answer:
    """A reply to our own request, and what it says about our clock."""

    packet: Packet
    offset: float
    delay: float
    waited: float  # seconds until it came


@dataclass
class Heard:
    """Everything that arrived at one client socket."""

    answers: list[Answer] = field(default_factory=list)
    wrong: list[bytes] = field(default_factory=list)  # anything that did not answer an open question


class Client:
    """One local client on one socket: it keeps its open questions and judges every datagram."""

    def __init__(self, server: tuple[str, int], source: str = "127.0.0.1", own: socket.socket | None = None) -> None:
        """`own` is a bound socket to use, of another network perhaps."""
        self.server = server
        self.socket = own or socket.socket(socket.AF_INET6 if ":" in server[0] else socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        if own is None and ":" not in server[0]:
            self.socket.bind((source, 0))
        self.socket.setblocking(False)
        self.open: dict[int, int] = {}  # transmit stamp -> wall clock at sending
        self.heard = Heard()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, asked: Packet | None = None) -> Packet:
        packet = asked or request()
        data = packet.encode()
        self.open[packet.transmit] = time.time_ns()
        self.socket.sendto(data, self.server)
        return packet

    def send_raw(self, data: bytes) -> None:
        self.socket.sendto(data, self.server)

    def receive(self, timeout: float) -> Answer | None:
        """The next right answer; wrong datagrams are kept in `heard.wrong`."""
        deadline = time.monotonic() + timeout
        while True:
            left = deadline - time.monotonic()
            if not select.select([self.socket], [], [], max(left, 0))[0]:
                return None
            answer = self._read_one()
            if answer is not None:
                return answer

    def _read_one(self) -> Answer | None:
        try:
            data, ancillary, _, source = self.socket.recvmsg(2048, 64)
        except ConnectionRefusedError:
            return None
        arrived = time.time_ns()
        for level, kind, value in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, SO_TIMESTAMPNS):
                seconds, rest = struct.unpack("qq", value)
                arrived = seconds * 10**9 + rest
        answer = self._judge(data, arrived) if source[:2] == self.server[:2] else None
        if answer is None:
            self.heard.wrong.append(data)
        else:
            self.heard.answers.append(answer)
        return answer

    def _judge(self, data: bytes, arrived: int) -> Answer | None:
        if len(data) < HEADER.size:
            return None
        packet = Packet.decode(data)
        sent = self.open.pop(packet.origin, None)
        if sent is None or packet.mode != SERVER or not packet.receive or not packet.transmit:
            return None
        there = seconds_between(packet.receive, stamp(sent))
        back = seconds_between(packet.transmit, stamp(arrived))
        held = seconds_between(packet.transmit, packet.receive)
        return Answer(packet, (there + back) / 2, (arrived - sent) / 1e9 - held, (arrived - sent) / 1e9)

    def ask(self, timeout: float = 2.0, asked: Packet | None = None) -> Answer | None:
        self.send(asked)
        return self.receive(timeout)


def ask(server: tuple[str, int], timeout: float = 2.0, source: str = "127.0.0.1") -> Answer | None:
    """One question from a fresh socket."""
    with Client(server, source) as client:
        return client.ask(timeout)


def ask_with(server: tuple[str, int], asked: Packet, timeout: float = 2.0) -> Answer | None:
    """One given question from a fresh socket."""
    with Client(server) as client:
        return client.ask(timeout, asked)
