"""Stock DTLS programs as peers: openssl and gnutls-cli carry octets between their pipes and our records."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import time
from pathlib import Path

from support.frames import Frame
from support.processes import DIE_WITH_PARENT, eventually

ALPN = "ntpgate/1"
# By hand, as ours is: these programs otherwise ask the kernel, whose idea of a path any other test may have changed.
MTU = "600"


class StockPeer:
    """A child whose standard input becomes records and whose standard output is what records brought."""

    def __init__(self, argv: list[str], log: Path) -> None:
        self.log = log
        self._kept = b""
        with log.open("wb") as words:
            self._child = subprocess.Popen([*DIE_WITH_PARENT, *argv], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                           stderr=words, bufsize=0, start_new_session=True)

    def __enter__(self) -> StockPeer:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._child.kill()
        self._child.wait(10)
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_for(self, words: str, timeout: float = 10.0) -> None:
        eventually(lambda: words in self.said(), f"{words!r} in {self.log.name}:\n{self.said()}", timeout)

    def send(self, data: bytes) -> None:
        assert self._child.stdin is not None
        self._child.stdin.write(data)

    def receive(self, size: int, timeout: float = 5.0) -> bytes:
        """Exactly `size` octets, or what came until the time was over."""
        deadline = time.monotonic() + timeout
        assert self._child.stdout is not None
        while len(self._kept) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._child.stdout], [], [], left)[0]:
                break
            data = os.read(self._child.stdout.fileno(), 16384)
            if not data:
                break
            self._kept += data
        taken, self._kept = self._kept[:size], self._kept[size:]
        return taken

    def frame(self, size: int = 80, timeout: float = 5.0) -> Frame:
        data = self.receive(size, timeout)
        assert len(data) == size, (len(data), self.said())
        return Frame.decode(data)

    def exit_code(self, timeout: float = 10.0) -> int:
        return self._child.wait(timeout)


def identity_arguments(identity: tuple[str, str] | None) -> list[str]:
    """The file's other certificates go along as the chain."""
    return ["-cert", identity[0], "-key", identity[1], "-cert_chain", identity[0]] if identity else []


def s_client(address: tuple[str, int], ca: str, log: Path, identity: tuple[str, str] | None = None,
             *more: str, version: str = "-dtls1_2", alpn: str = ALPN, quiet: bool = True) -> StockPeer:
    """Not quiet, it obeys the letters of its manual, such as R for a renegotiation."""
    return StockPeer(["openssl", "s_client", version, *(["-quiet"] if quiet else []), "-connect",
                      f"{address[0]}:{address[1]}", "-CAfile", ca, "-verify_return_error", "-servername", "localhost",
                      "-mtu", MTU, *(["-alpn", alpn] if alpn else []), *identity_arguments(identity), *more], log)


def s_server(port: int, ca: str, log: Path, identity: tuple[str, str], *more: str, version: str = "-dtls1_2",
             alpn: str = ALPN) -> StockPeer:
    """Serves the first client only."""
    return StockPeer(["openssl", "s_server", version, "-quiet", "-accept", f"127.0.0.1:{port}", "-naccept", "1",
                      "-CAfile", ca, "-Verify", "2", "-verify_return_error", "-mtu", MTU,
                      *(["-alpn", alpn] if alpn else []), *identity_arguments(identity), *more], log)


def gnutls_client(address: tuple[str, int], ca: str, log: Path, identity: tuple[str, str]) -> StockPeer:
    return StockPeer(["gnutls-cli", "--udp", "--mtu", MTU, "--logfile", str(log), "--x509cafile", ca,
                      "--x509certfile", identity[0], "--x509keyfile", identity[1], "--alpn", ALPN, "--priority",
                      "NORMAL:-VERS-ALL:+VERS-DTLS1.2", "--sni-hostname", "localhost", "--verify-hostname", "localhost",
                      "-p", str(address[1]), address[0]], log.with_suffix(".err"))


def bound(port: int) -> bool:
    with open("/proc/net/udp", encoding="ascii") as rows:
        return any(f":{port:04X} " in row.split("rem")[0] for row in rows)


class DatagramSocket:
    """A bare UDP client of one address."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.connect(address)

    def __enter__(self) -> DatagramSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, data: bytes) -> None:
        self._socket.send(data)

    def receive(self, timeout: float = 5.0) -> bytes | None:
        self._socket.settimeout(timeout)
        try:
            return self._socket.recv(65536)
        except TimeoutError:
            return None


def captured_hello(ca: str, log: Path) -> bytes:
    """The first ClientHello of openssl, as it left."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind(("127.0.0.1", 0))
        ear.settimeout(5)
        with s_client(ear.getsockname(), ca, log):
            return ear.recv(65536)


# RFC 6347 sections 4.1 and 4.2.2: the record header has 13 octets, the message header 12.
RECORD, MESSAGE = 13, 12


def cookie_of(hello_verify_request: bytes) -> bytes:
    body = hello_verify_request[RECORD + MESSAGE:]
    return body[3:3 + body[2]]


def hello_of(body: bytes, message_number: int) -> bytes:
    """A record of epoch 0 with one ClientHello."""
    length = len(body).to_bytes(3, "big")
    message = b"\x01" + length + message_number.to_bytes(2, "big") + bytes(3) + length + body
    return b"\x16\xfe\xff\0\0" + message_number.to_bytes(6, "big") + len(message).to_bytes(2, "big") + message


def with_cookie(hello: bytes, cookie: bytes) -> bytes:
    """The second ClientHello: the same again as message 1, with the cookie."""
    body = hello[RECORD + MESSAGE:]
    at = cookie_place(body)
    assert body[at] == 0, "a first ClientHello has no cookie"
    return hello_of(body[:at] + bytes([len(cookie)]) + cookie + body[at + 1:], 1)


def cookie_place(body: bytes) -> int:
    session = 2 + 32
    return session + 1 + body[session]


def with_extension(hello: bytes, kind: int, data: bytes) -> bytes:
    """The first ClientHello with one more extension."""
    body = hello[RECORD + MESSAGE:]
    at = cookie_place(body)
    at += 1 + body[at]
    at += 2 + int.from_bytes(body[at:at + 2], "big")  # suites
    at += 1 + body[at]  # compression methods
    extensions = body[at + 2:] + kind.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
    return hello_of(body[:at] + len(extensions).to_bytes(2, "big") + extensions, 0)
