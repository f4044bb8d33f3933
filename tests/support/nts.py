"""Tunnels of channel nts, and a key establishment client that says exactly what it is told."""

from __future__ import annotations

import socket
import ssl
import struct
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
