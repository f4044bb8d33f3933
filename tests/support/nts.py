"""Tunnels of channel nts, and a key establishment client that says exactly what it is told."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from pathlib import Path

from support.pki import TrialPki

END = bytes.fromhex("80000000")
NEXT_PROTOCOL = bytes.fromhex("800100020000")
AEAD_15 = bytes.fromhex("80040002000f")
UNLIMITED = {"requests-per-second-per-client": 0, "handshakes-per-second-per-source": 0}


def front(pki: TrialPki, upstream: object, keys: dict[str, object], **more: object) -> dict[str, object]:
    """A server role named `front`; `keys` says where its cookie keys come from, and other keys of the nts: block."""
    listens = {"listen": "127.0.0.1:0", "upstream": upstream} if upstream else {}
    return {"name": "front", "role": "server", "channel": "nts",
            "nts": {"ke-listen": "127.0.0.1:0"} | keys,
            "tls": {"certificate": pki.server_certificate, "key": pki.server_key}} | listens | {
                key.replace("_", "-"): value for key, value in more.items()}


def sidecar(pki: TrialPki, connect: object, state: Path | None = None, **more: object) -> dict[str, object]:
    """A client role named `sidecar`."""
    nts = {"state": str(state)} if state else {}
    return {"name": "sidecar", "role": "client", "listen": "127.0.0.1:0", "channel": "nts",
            "connect": connect if isinstance(connect, list) else [connect],
            "nts": nts | more.pop("nts", {}), "tls": {"ca": pki.ca}} | {
                key.replace("_", "-"): value for key, value in more.items()}


def port_of(gateway, name: str = "front") -> tuple[int, int]:
    """Where a front that listens on 127.0.0.1:0 answers NTP, and where it establishes keys."""
    return gateway.address(name, 0)[1], gateway.address(name, 1)[1]


def tls_context(ca: str, alpn: str = "ntske/1") -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    if alpn:
        context.set_alpn_protocols([alpn])
    return context


def exchange(ca: str, port: int, message: bytes, pieces: int = 1) -> list[tuple[bool, int, bytes]]:
    """The records of the answer to `message`, sent in that many pieces."""
    with socket.create_connection(("127.0.0.1", port), 5) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with tls_context(ca).wrap_socket(plain, server_hostname="localhost") as secure:
            size = max(1, -(-len(message) // pieces))
            for at in range(0, len(message), size):
                secure.sendall(message[at:at + size])
            return records(read_all(secure))


def read_all(secure: ssl.SSLSocket) -> bytes:
    received = b""
    while True:
        try:
            more = secure.recv(65536)
        except ssl.SSLEOFError:
            return received
        if not more:
            return received
        received += more


def records(message: bytes) -> list[tuple[bool, int, bytes]]:
    """(critical, type, body) of each, End of Message included."""
    out = []
    while message:
        head, size = struct.unpack(">HH", message[:4])
        out.append((bool(head & 0x8000), head & 0x7FFF, message[4:4 + size]))
        message = message[4 + size:]
    return out


def new_cookie(size: int = 104, fill: int = 0xC5) -> bytes:
    """A New Cookie record."""
    return struct.pack(">HH", 5, size) + bytes([fill]) * size


def server_records(host: str | None, port: int | None) -> bytes:
    """Records 6 and 7, as far as given."""
    named = struct.pack(">HH", 0x8006, len(host)) + host.encode("ascii") if host is not None else b""
    return named + (struct.pack(">HHH", 0x8007, 2, port) if port is not None else b"")


class KeServer:
    """A key establishment server that answers what it is told; not one cookie of it opens anywhere."""

    GOOD = NEXT_PROTOCOL + AEAD_15 + new_cookie() * 8

    def __init__(self, pki: TrialPki, answer: bytes) -> None:
        self.answer = answer
        self.asked: list[bytes] = []
        self.ended_in_order: list[bool] = []  # whether the client's close_notify came
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(pki.server_certificate, pki.server_key)
        self._context.set_alpn_protocols(["ntske/1"])
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def __enter__(self) -> KeServer:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            plain.settimeout(5)
            try:
                with self._context.wrap_socket(plain, server_side=True, suppress_ragged_eofs=False) as secure:
                    self._converse(secure)
            except OSError:
                pass

    def _converse(self, secure: ssl.SSLSocket) -> None:
        asked = b""
        while not asked.endswith(END):
            asked += secure.recv(4096)
        self.asked.append(asked)
        secure.sendall(self.answer)
        try:
            self.ended_in_order.append(secure.recv(1) == b"")
        except ssl.SSLEOFError:
            self.ended_in_order.append(False)
