"""What a hostile or broken sender may put on the wire: random octets, and right messages with something wrong."""

from __future__ import annotations

import random
import ssl
from collections.abc import Callable, Iterator

from support import frames, ntp


class Garbage:
    """The same numbers for the same seed, so that a failure can be had again."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def octets(self, longest: int) -> bytes:
        return self._random.randbytes(self._random.randrange(longest + 1))

    def mutated(self, data: bytes) -> bytes:
        """One to four changes of the kinds that parsers get wrong."""
        for _ in range(self._random.randrange(1, 5)):
            at = self._random.randrange(len(data)) if data else 0
            data = self._random.choice(self._mutations())(data, at)
        return data

    def _mutations(self) -> list[Callable[[bytes, int], bytes]]:
        octet = bytes([self._random.randrange(256)])
        bit = 1 << self._random.randrange(8)
        return [
            lambda data, at: data[:at] + octet + data[at + 1:],
            lambda data, at: data[:at] + bytes([data[at] ^ bit]) + data[at + 1:] if data else data,
            lambda data, at: data[:at],
            lambda data, at: data[:at] + octet + data[at:],
            lambda data, at: data + data[at:],
            lambda data, at: data[:at] + b"\xff\xff\xff\xff" + data[at + 4:],
            lambda data, at: data[:at] + b"\0\0\0\0" + data[at + 4:],
        ]

    def request(self) -> bytes:
        """A datagram for an NTP port: one in eight is a right request."""
        kind = self._random.randrange(8)
        right = ntp.request(version=self._random.randrange(1, 5), poll=self._random.randrange(18)).encode()
        if kind == 0:
            return right
        if kind == 1:
            return self.octets(1500)
        return self.mutated(right + self.octets(200) if kind == 2 else right)

    def reply_frame(self, asked: frames.Frame) -> bytes:
        return self.mutated(frames.honest_frame(asked).encode())

    def request_frame(self) -> bytes:
        kind = self._random.choice([frames.REQUEST, frames.REQUEST, frames.REQUEST, frames.REPLY, frames.PING,
                                    frames.PONG, frames.GOODBYE])
        packet = self.request() if kind in (frames.REQUEST, frames.REPLY) else b""
        frame = frames.Frame(kind, self._random.getrandbits(32), frames.monotonic_stamp(), packet=packet).encode()
        return frame if self._random.randrange(3) == 0 else self.mutated(frame)

    def framed(self, message: bytes) -> bytes:
        """Within a stream's bounds nearly always: a broken length ends the channel, and with it the search."""
        if self._random.randrange(200) == 0:
            return self.octets(200)
        return frames.framed((message + bytes(32))[:1056] if len(message) < 32 else message[:1056])

    def stream(self, opening: bytes) -> bytes:
        """The beginning of a TCP stream, for a port where a right one begins with `opening`."""
        kind = self._random.randrange(4)
        if kind == 0:
            return self.octets(600)
        return opening if kind == 1 else self.mutated(opening)


def client_hello() -> bytes:
    """The first flight of a TLS client of our protocol."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_alpn_protocols(["ntpgate/1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        session.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def batches(count: int, size: int) -> Iterator[range]:
    for start in range(0, count, size):
        yield range(start, min(start + size, count))
