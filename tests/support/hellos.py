"""DTLS ClientHellos made from one that a real client sent: with another random, with the cookie that was asked for."""

from __future__ import annotations

import os
import socket
import struct

RECORD, HEADER = 13, 12  # octets of a record header and of a handshake message header
HANDSHAKE, CLIENT_HELLO, HELLO_VERIFY_REQUEST = 22, 1, 3
RANDOM = slice(RECORD + HEADER + 2, RECORD + HEADER + 34)  # behind the version
SESSION_ID = RANDOM.stop  # its length, and no session: ours are never resumed


def with_random(hello: bytes, octets: bytes | None = None) -> bytes:
    return hello[:RANDOM.start] + (octets or os.urandom(32)) + hello[RANDOM.stop:]


def cookie_of(answer: bytes) -> bytes:
    """What a HelloVerifyRequest wants to see again (RFC 6347 section 4.2.1)."""
    assert answer[0] == HANDSHAKE and answer[RECORD] == HELLO_VERIFY_REQUEST, answer[:16].hex()
    length = answer[RECORD + HEADER + 2]
    return answer[RECORD + HEADER + 3:][:length]


def with_cookie(hello: bytes, cookie: bytes) -> bytes:
    """The second ClientHello: record and message number 1."""
    assert hello[SESSION_ID] == 0 and hello[SESSION_ID + 1] == 0, "a session or a cookie is there already"
    body = hello[RECORD + HEADER:SESSION_ID + 1] + bytes([len(cookie)]) + cookie + hello[SESSION_ID + 2:]
    length = len(body).to_bytes(3, "big")
    message = bytes([CLIENT_HELLO]) + length + struct.pack(">H", 1) + bytes(3) + length + body
    return hello[:5] + (1).to_bytes(6, "big") + struct.pack(">H", len(message)) + message


class HalfClient:
    """Shows that it is where it says it is, and then says no more."""

    def __init__(self, hello: bytes, server: tuple[str, int], source: str) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((source, 0))
        self.socket.connect(server)
        self.socket.settimeout(5)
        self._hello = with_random(hello)

    def __enter__(self) -> HalfClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def prove(self) -> None:
        self.socket.send(self._hello)
        self.socket.send(with_cookie(self._hello, cookie_of(self.socket.recv(2048))))
