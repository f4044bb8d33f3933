"""How handshake messages of instrumented peers travel: over a TCP stream, or in DTLS 1.2 records over UDP."""

from __future__ import annotations

import socket

from support import tls_codec as codec
from support.tls_codec import vector

MESSAGE = 12  # octets of a DTLS handshake header


class Ended(Exception):
    """The other side closed, or said nothing for too long."""


class StreamWire:
    """TLS records on a connected socket."""

    datagrams = False
    version = codec.TLS12

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self.sealing = self.opening = None  # keys of either direction, once there are some
        self.received: list[tuple[int, bytes]] = []  # records as they came
        self._buffer = b""

    def frame(self, message: bytes) -> bytes:
        """A message as the transcript has it."""
        return message

    def send(self, kind: int, payload: bytes, version: int | None = None) -> None:
        for at in range(0, max(len(payload), 1), 16000):
            piece = payload[at:at + 16000]
            outer = kind
            if self.sealing is not None and kind != codec.CHANGE_CIPHER_SPEC:
                piece = self.sealing.seal(kind, codec.TLS12, piece)
                outer = codec.APPLICATION_DATA if hasattr(self.sealing, "_iv") else kind
            self.raw(bytes([outer]) + (version or self.version).to_bytes(2, "big") + vector(piece, 2))

    def send_message(self, framed: bytes) -> None:
        self.send(codec.HANDSHAKE, framed)

    def raw(self, octets: bytes) -> None:
        try:
            self.socket.sendall(octets)
        except OSError as error:
            raise Ended(str(error)) from None

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            try:
                more = self.socket.recv(65536)
            except OSError as error:
                raise Ended(str(error)) from None
            if not more:
                raise Ended("end of stream")
            self._buffer += more
        piece, self._buffer = self._buffer[:size], self._buffer[size:]
        return piece

    def receive(self) -> tuple[int, bytes]:
        """The next record's kind and plaintext; for a handshake it may hold several messages."""
        head = self._take(5)
        kind, payload = head[0], self._take(int.from_bytes(head[3:], "big"))
        self.received.append((kind, payload))
        if self.opening is None or kind == codec.CHANGE_CIPHER_SPEC:
            return kind, payload
        return self.opening.open(kind, codec.TLS12, payload)

    def messages(self, payload: bytes) -> list[bytes]:
        """Whole messages of a handshake record; reads on when the last one is cut."""
        found = []
        while payload:
            while len(payload) < 4 or len(payload) < 4 + int.from_bytes(payload[1:4], "big"):
                kind, more = self.receive()
                assert kind == codec.HANDSHAKE, kind
                payload += more
            size = 4 + int.from_bytes(payload[1:4], "big")
            found.append(payload[:size])
            payload = payload[size:]
        return found

    def close(self) -> None:
        self.socket.close()


class DatagramWire:
    """DTLS 1.2 records of one association; every record is a datagram of its own."""

    datagrams = True
    version = codec.DTLS12

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection  # connected, or connect() is called with the first sender
        self.sealing = self.opening = None
        self.received: list[tuple[int, bytes]] = []
        self.epoch, self.number = 0, 0
        self.sent_messages = 0
        self.sent: list[bytes] = []  # datagrams, for a test to repeat
        self._parts: dict[int, dict[int, bytes]] = {}
        self._next = 0  # message number expected
        self._queue: list[tuple[int, int, int, bytes]] = []

    def frame(self, message: bytes) -> bytes:
        number, self.sent_messages = self.sent_messages, self.sent_messages + 1
        return message[:4] + number.to_bytes(2, "big") + bytes(3) + message[1:4] + message[4:]

    def next_epoch(self) -> None:
        self.epoch, self.number = self.epoch + 1, 0

    def record(self, kind: int, payload: bytes, version: int | None = None) -> bytes:
        place = self.epoch << 48 | self.number
        self.number += 1
        if self.epoch and self.sealing is not None:
            payload = self.sealing.seal(kind, codec.DTLS12, payload, place)
        return (bytes([kind]) + (version or self.version).to_bytes(2, "big") + place.to_bytes(8, "big") +
                vector(payload, 2))

    def send(self, kind: int, payload: bytes, version: int | None = None) -> None:
        self.raw(self.record(kind, payload, version))

    def send_message(self, framed: bytes) -> None:
        """In fragments of 1000 octets (RFC 6347 section 4.2.3)."""
        head, body = framed[:6], framed[MESSAGE:]
        for at in range(0, max(len(body), 1), 1000):
            piece = body[at:at + 1000]
            self.send(codec.HANDSHAKE, head + at.to_bytes(3, "big") + vector(piece, 3))

    def raw(self, octets: bytes) -> None:
        self.sent.append(octets)
        try:
            self.socket.send(octets)
        except OSError as error:
            raise Ended(str(error)) from None

    def _read(self) -> None:
        try:
            data, sender = self.socket.recvfrom(65536)
        except OSError as error:
            raise Ended(str(error)) from None
        try:
            self.socket.getpeername()
        except OSError:
            self.socket.connect(sender)
        while len(data) >= 13:
            size = int.from_bytes(data[11:13], "big")
            place = int.from_bytes(data[3:11], "big")
            self._queue.append((data[0], place >> 48, place, data[13:13 + size]))
            self.received.append((data[0], data[13:13 + size]))
            data = data[13 + size:]

    def receive(self) -> tuple[int, bytes]:
        while True:
            while not self._queue:
                self._read()
            kind, epoch, place, payload = self._queue.pop(0)
            if epoch == 0:
                return kind, payload
            if self.opening is not None:
                return self.opening.open(kind, codec.DTLS12, payload, place)
            # It overtook the ChangeCipherSpec: the peer will send it again.

    def messages(self, payload: bytes) -> list[bytes]:
        """The messages that are whole and next now, as the transcript has them."""
        while payload:
            number, at = int.from_bytes(payload[4:6], "big"), int.from_bytes(payload[6:9], "big")
            size = int.from_bytes(payload[9:12], "big")
            if number >= self._next:
                self._parts.setdefault(number, {})[at] = payload[:MESSAGE + size]
            payload = payload[MESSAGE + size:]
        found = []
        while (parts := self._parts.get(self._next)) is not None:
            first = next(iter(parts.values()))
            total, body = int.from_bytes(first[1:4], "big"), b""
            while len(body) < total and len(body) in parts:
                body += parts[len(body)][MESSAGE:]
            if len(body) < total:
                break
            found.append(first[:6] + bytes(3) + first[1:4] + body)
            self._next += 1
        return found

    def forget_messages(self, expected: int) -> None:
        self._parts, self._next = {}, expected

    def close(self) -> None:
        self.socket.close()
