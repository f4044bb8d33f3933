"""Frames that a test speaks itself with an ntpgate, in either role: over Python's TLS, or over stock OpenSSH."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from support.frames import Answer, FrameClient, FrameServer
from support.garbage import client_hello
from support.gateway import Gateway
from support.pki import TrialPki
from support.processes import Supervisor
from support.ssh import Keys, PipeFrames, Sshd, frames_through_ssh, options, own_user, stock_client
from support.tls import Peer


class TlsPeers:
    def __init__(self, pki: TrialPki) -> None:
        self._context = Peer(pki.ca, (pki.client_certificate, pki.client_key)).context(server=False)
        self._host = Peer(pki.ca, (pki.server_certificate, pki.server_key))

    def client(self, server: Gateway) -> FrameClient:
        return FrameClient(self._context, server.address())

    def server(self, answer: Answer | None = None) -> FrameServer:
        return FrameServer(self._host, answer)

    def opening(self) -> bytes:
        """What a right client says before it has heard anything but a greeting."""
        return client_hello()


class SshPeers:
    """The client is a stock `ssh -s`; the server's subsystem of a stock sshd hands its octets to the test.

    Both log in as the user who runs the test.
    """

    def __init__(self, keys: Keys, supervisor: Supervisor, folder: Path) -> None:
        self._keys = keys
        self._supervisor = supervisor
        self._folder = folder
        self._servers = 0

    def client(self, server: Gateway) -> PipeFrames:
        return frames_through_ssh(server.address(), options(self._keys), user=own_user())

    def server(self, answer: Answer | None = None) -> FrameServer:
        self._servers += 1
        path = self._folder / f"far{self._servers}"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(64)
        sshd = Sshd(self._supervisor, self._folder / f"sshd{self._servers}", self._keys,
                    f"/usr/bin/socat -b 65536 STDIO UNIX-CONNECT:{path}")
        return FrameServer(None, answer, listener=(listener, sshd.address))

    def opening(self) -> bytes:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            child = stock_client(listener.getsockname()[:2], options(self._keys), stderr=subprocess.DEVNULL,
                                 stdout=subprocess.DEVNULL)
            try:
                listener.settimeout(10)
                with listener.accept()[0] as peer:
                    peer.settimeout(10)
                    peer.sendall(b"SSH-2.0-test\r\n")
                    return first_packet(peer)
            finally:
                child.kill()
                child.wait(10)


def first_packet(peer: socket.socket) -> bytes:
    """The greeting, and the key exchange message behind it."""
    said, whole = b"", 1
    while len(said) < whole:
        more = peer.recv(65536)
        assert more, said
        said += more
        greeting, newline, packet = said.partition(b"\n")
        whole = len(said) + 1
        if newline and len(packet) >= 4:
            whole = len(greeting) + 1 + 4 + int.from_bytes(packet[:4], "big")
    return said
