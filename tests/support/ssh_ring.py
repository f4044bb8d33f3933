"""SSH keys of every kind that a profile has, and what a peer says it can do, for tests/evaluation."""

from __future__ import annotations

import socket
from pathlib import Path

from support.ssh import new_key

KEYS = {"ecdsa-sha2-nistp256": ("ecdsa", 256), "ecdsa-sha2-nistp384": ("ecdsa", 384), "ecdsa-sha2-nistp521": ("ecdsa", 521),
        "rsa-sha2-256": ("rsa", 3072), "rsa-sha2-512": ("rsa", 3072)}


class Ring:
    """Host and user keys of every kind a profile has, by OpenSSH; quacks like support.ssh.Keys for a stock client."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths: dict[str, Path] = {}
        for kind, bits in sorted(set(KEYS.values())):
            self.paths[f"{kind}{bits}"] = new_key(folder / f"{kind}{bits}", kind, bits)
        new_key(folder / "stranger", "ecdsa", 384)
        public = [path.with_suffix(".pub").read_text() for path in self.paths.values()]
        (folder / "authorized_keys").write_text("".join(public))

    def of(self, algorithm: str) -> str:
        kind, bits = KEYS[algorithm]
        return str(self.paths[f"{kind}{bits}"])

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def know(self, port: int, *names: str) -> None:
        lines = [f"[127.0.0.1]:{port} {' '.join(Path(self.path(name) + '.pub').read_text().split()[:2])}"
                 for name in names or self.paths]
        (self.folder / "known_hosts").write_text("\n".join(lines) + "\n")


def name_lists(own: socket.socket, banner: bytes) -> dict[str, list[str]]:
    """The KEXINIT of the other side (RFC 4253 section 7.1)."""
    own.settimeout(5)
    own.sendall(banner)
    stream = own.makefile("rb")
    while not stream.readline().startswith(b"SSH-2.0-"):
        pass
    size = int.from_bytes(stream.read(4), "big")
    packet = stream.read(size)
    assert packet[1] == 20, packet[:2]
    found, at = {}, 1 + 1 + 16
    for name in ("kex", "host-keys", "ciphers", "ciphers-back", "macs", "macs-back", "compression", "compression-back"):
        length = int.from_bytes(packet[at:at + 4], "big")
        found[name] = packet[at + 4:at + 4 + length].decode().split(",")
        at += 4 + length
    return found
