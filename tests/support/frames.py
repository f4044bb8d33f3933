"""Frame v1 (docs/protocol.md), written down a second time, and the two peers that speak it over TLS and may lie."""

from __future__ import annotations

import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from support import ntp
from support.processes import eventually
from support.tls import Peer, connect

HEADER = struct.Struct(">BBHIQQII")
REQUEST, REPLY, PING, PONG, GOODBYE = 1, 2, 3, 4, 5
NO_HOLD = 0xFFFFFFFF


@dataclass(frozen=True)
class Frame:
    kind: int
    id: int = 0
    send: int = 0
    arrival: int = 0
    forward: int = 0  # 0.32 s
    backward: int = 0
    packet: bytes = b""
    version: int = 1
    flags: int = 0
    reserved: int = 0

    def encode(self) -> bytes:
        return HEADER.pack(self.version << 4 | self.kind, self.flags, self.reserved, self.id, self.send, self.arrival,
                           self.forward, self.backward) + self.packet

    def framed(self) -> bytes:
        return framed(self.encode())

    @staticmethod
    def decode(data: bytes) -> Frame:
        first, flags, reserved, number, send, arrival, forward, backward = HEADER.unpack(data[:HEADER.size])
        return Frame(first & 15, number, send, arrival, forward, backward, data[HEADER.size:], first >> 4, flags,
                     reserved)

    def changed(self, **fields: object) -> Frame:
        return replace(self, **fields)


def framed(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def monotonic_stamp() -> int:
    """A stamp as the design asks for it: CLOCK_MONOTONIC_RAW, 32.32."""
    seconds, rest = divmod(time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW), 10**9)
    return ((seconds & 0xFFFFFFFF) << 32) | ((rest << 32) // 10**9)


class Stream:
    """Cuts a byte stream back into frames."""

    def __init__(self) -> None:
        self._kept = b""

    def feed(self, data: bytes) -> list[Frame]:
        self._kept += data
        frames = []
        while len(self._kept) >= 2:
            length = struct.unpack(">H", self._kept[:2])[0]
            if len(self._kept) < 2 + length:
                break
            frames.append(Frame.decode(self._kept[2:2 + length]))
            self._kept = self._kept[2 + length:]
        return frames


class FrameClient:
    """A client-role peer. Blocking; used from one thread."""

    def __init__(self, peer: Peer | ssl.SSLContext, address: tuple[str, int]) -> None:
        self.socket = connect(peer, address)
        self._stream = Stream()
        self._frames: list[Frame] = []
        self._next_id = int.from_bytes(os.urandom(4), "big")

    def __enter__(self) -> FrameClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def request(self, packet: bytes, **fields: object) -> Frame:
        """Sends one request frame; `fields` are those that shall differ from the right ones."""
        self._next_id = (self._next_id + 1) & 0xFFFFFFFF
        frame = Frame(REQUEST, self._next_id, monotonic_stamp(), packet=packet).changed(**fields)
        self.socket.sendall(frame.framed())
        return frame

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self, timeout: float = 2.0) -> Frame | None:
        """The next frame; None when the time is over or the peer has ended the channel."""
        deadline = time.monotonic() + timeout
        while not self._frames:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(16384)
            except TimeoutError:
                return None
            if not data:
                return None
            self._frames += self._stream.feed(data)
        return self._frames.pop(0)

    def ask(self, timeout: float = 2.0) -> Frame | None:
        """One honest exchange; the reply that carries its id."""
        sent = self.request(ntp.request().encode())
        while (frame := self.receive(timeout)) is not None:
            if frame.kind == REPLY and frame.id == sent.id:
                return frame
        return None

    def ended(self, timeout: float = 5.0) -> bool:
        """Whether the peer closes the channel, or has refused it, within the time."""
        self.socket.settimeout(timeout)
        try:
            while self.socket.recv(16384):
                pass
        except TimeoutError:
            return False
        except OSError:
            return True
        return True


class Connection:
    """One channel of a FrameServer. Its thread alone touches the stream; `send` may be called from anywhere."""

    def __init__(self, server: FrameServer, secured: socket.socket) -> None:
        self.server = server
        self.received: list[Frame] = []
        self._stream = secured  # which an ssl.SSLSocket is, too
        self._due: list[tuple[float, bytes]] = []
        self._lock = threading.Lock()
        self._wake, self._woken = socket.socketpair()
        self.open = True

    def send(self, data: bytes, after: float = 0.0) -> None:
        """Queues octets of the stream, to leave in `after` seconds."""
        with self._lock:
            self._due.append((time.monotonic() + after, data))
            self._due.sort(key=lambda entry: entry[0])
        try:
            self._wake.send(b"!")
        except OSError:
            pass  # the channel is closed already

    def reply(self, frame: Frame, after: float = 0.0) -> None:
        self.send(frame.framed(), after)

    def serve(self) -> None:
        stream = Stream()
        self._stream.setblocking(False)
        try:
            while not self.server.stopping:
                self._flush()
                data = self._read()
                if data == b"":
                    break
                for frame in stream.feed(data or b""):
                    self._take(frame)
        except OSError:
            pass  # the peer went away: the test looks at what was received
        finally:
            self.open = False
            self._stream.close()
            self._wake.close()
            self._woken.close()

    def _take(self, frame: Frame) -> None:
        self.received.append(frame)
        if frame.kind == PING and self.server.answers_pings:
            self.reply(pong(frame))
        elif frame.kind == REQUEST:
            self.server.answer(self, frame)

    def _flush(self) -> None:
        while True:
            with self._lock:
                if not self._due or self._due[0][0] > time.monotonic():
                    return
                data = self._due.pop(0)[1]
            try:
                left = data[self._stream.send(data):]
            except BlockingIOError:
                left = data
            if left:  # as soon as there is room, and before anything else
                with self._lock:
                    self._due.insert(0, (0.0, left))
                select.select([], [self._stream], [], 0.2)
                return

    def _read(self) -> bytes | None:
        """Octets; None when there is nothing yet; empty at the end."""
        if not (isinstance(self._stream, ssl.SSLSocket) and self._stream.pending()):
            with self._lock:
                until = self._due[0][0] - time.monotonic() if self._due else 0.2
            ready = select.select([self._stream, self._woken], [], [], max(0.0, min(until, 0.2)))[0]
            if self._woken in ready:
                self._woken.recv(4096)
            if self._stream not in ready:
                return None
        try:
            return self._stream.recv(16384)
        except (ssl.SSLWantReadError, BlockingIOError):
            return None


def pong(ping: Frame) -> Frame:
    return Frame(PONG, ping.id, send=monotonic_stamp(), arrival=monotonic_stamp())


def honest_frame(asked: Frame, **packet_fields: object) -> Frame:
    """What an honest server role in front of an honest daemon answers; `packet_fields` differ from that."""
    arrival = monotonic_stamp()
    packet = ntp.honest_reply(ntp.Packet.decode(asked.packet)).changed(**packet_fields)
    return Frame(REPLY, asked.id, send=monotonic_stamp(), arrival=arrival, packet=packet.encode())


Answer = Callable[[Connection, Frame], None]


class FrameServer:
    """A server-role peer on a port of its own; `answer` decides what a request brings."""

    def __init__(self, peer: Peer | None, answer: Answer | None = None, port: int = 0,
                 listener: tuple[socket.socket, tuple[str, int]] | None = None) -> None:
        """Without a `peer`, whoever comes in at `listener` is authenticated; its second half is where they knock."""
        self.answer = answer or (lambda connection, frame: connection.reply(honest_frame(frame)))
        self.answers_pings = True
        self.stopping = False
        self.connections: list[Connection] = []
        self.failures: list[str] = []
        self._context = peer.context(server=True) if peer else None
        self._listener = listener[0] if listener else socket.create_server(("127.0.0.1", port), backlog=64)
        self._listener.settimeout(0.1)
        self.address: tuple[str, int] = listener[1] if listener else self._listener.getsockname()[:2]
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> FrameServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def requests(self) -> list[Frame]:
        return [frame for connection in self.connections for frame in connection.received if frame.kind == REQUEST]

    def connection(self, number: int) -> Connection:
        """The channel with this number, as soon as its handshake is finished on our side too."""
        eventually(lambda: len(self.connections) > number, f"channel {number}")
        return self.connections[number]

    def _accept(self) -> None:
        while not self.stopping:
            try:
                raw, _ = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            thread = threading.Thread(target=self._shake_hands, args=(raw,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _shake_hands(self, raw: socket.socket) -> None:
        try:
            secured = self._secure(raw) if self._context else raw
        except OSError as error:
            self.failures.append(str(error))
            raw.close()
            return
        connection = Connection(self, secured)
        self.connections.append(connection)
        connection.serve()

    def _secure(self, raw: socket.socket) -> ssl.SSLSocket:
        raw.settimeout(5)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return self._context.wrap_socket(raw, server_side=True)

    def stop(self) -> None:
        self.stopping = True
        self._listener.close()
        self._accepting.join(5)
        for thread in self._threads:
            thread.join(5)
