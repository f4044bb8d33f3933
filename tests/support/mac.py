"""Symmetric keys of NTP, made and used without ntpgate: key files of both programs, MACs, and a daemon that can lie."""

from __future__ import annotations

import hashlib
import os
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import algorithms
from cryptography.hazmat.primitives.cmac import CMAC

from support import ntp
from support.gateway import ROOT
from support.upstream import Address, Daemon

DIGESTS = ["SHA1", "SHA256", "SHA384", "SHA512", "AES128", "AES256"]
NTP_TYPES = {"AES128": "AES-128", "AES256": "AES-256"}
KEY_SIZES = {"AES128": 16, "AES256": 32}


@dataclass(frozen=True)
class Key:
    number: int
    kind: str
    secret: bytes = field(repr=False)

    @staticmethod
    def new(number: int, kind: str = "SHA256") -> Key:
        return Key(number, kind, os.urandom(KEY_SIZES.get(kind, 20)))

    def digest(self, data: bytes) -> bytes:
        if self.kind.startswith("AES"):
            cmac = CMAC(algorithms.AES(self.secret))
            cmac.update(data)
            return cmac.finalize()
        return hashlib.new(self.kind.lower(), self.secret + data).digest()

    def seal(self, data: bytes, cut: int | None = None) -> bytes:
        """`data` with its MAC, the digest cut as its version wants it, or to `cut` octets."""
        version = (data[0] >> 3) & 7
        digest = self.digest(data)
        return data + struct.pack("!I", self.number) + digest[:cut or (20 if version == 4 else len(digest))]

    def chrony_line(self) -> str:
        return f"{self.number} {self.kind} HEX:{self.secret.hex()}"

    def ntp_line(self) -> str:
        return f"{self.number} {NTP_TYPES.get(self.kind, self.kind)} {self.secret.hex()}"


def every_digest() -> list[Key]:
    """Keys 1 to 6."""
    return [Key.new(number, kind) for number, kind in enumerate(DIGESTS, 1)]


def write_keys(path: Path, keys: list[Key], form: str = "chrony") -> Path:
    """Replaces the file in one step, as those who rotate keys should."""
    text = "".join((key.chrony_line() if form == "chrony" else key.ntp_line()) + "\n" for key in keys)
    return replace(path, text)


def replace(path: Path, text: str) -> Path:
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="ascii")
    fresh.chmod(0o600)
    fresh.rename(path)
    return path


def profile_with(folder: Path, *digests: str) -> str:
    """As modern, with more digests than it offers."""
    text = (ROOT / "configs/profiles/modern.yaml").read_text(encoding="utf-8")
    text = text.replace("digests: [", "digests: [" + "".join(f"{each}, " for each in digests))
    kept = [each for each in ("MD5", "SHA1") if each not in digests]
    old = "  - items: [MD5, SHA1]\n"
    assert old in text
    text = text.replace("name: modern\n", "name: more-digests\n")
    start = text.index(old)
    end = text.find("\n  - ", start + len(old))
    if kept:
        text = text.replace(old, f"  - items: [{', '.join(kept)}]\n")
    else:
        text = text[:start] + (text[end + 1:] if end >= 0 else "")
    path = folder / "more-digests.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


class KeyedDaemon(Daemon):
    """Answers with a MAC of `key`; `forge(reply, asked)` gives the datagrams that are sent before the honest one."""

    def __init__(self, key: Key, forge: Callable[[bytes, bytes], list[bytes]] | None = None) -> None:
        self.key = key
        self.forge = forge
        self.askers: list[Address] = []
        super().__init__(KeyedDaemon.with_mac)

    def with_mac(self, data: bytes, asker: Address) -> None:
        self.askers.append(asker)
        asked = ntp.Packet.decode(data)
        reply = ntp.honest_reply(asked, None, self.offset).changed(tail=b"").encode()
        sealed = self.key.seal(reply, len(asked.tail) - 4 if len(asked.tail) > 4 else None)
        for number, forged in enumerate(self.forge(sealed, data) if self.forge else []):
            self.say(forged, asker)
            if number % 64 == 63:
                time.sleep(0.02)  # a socket holds some 250 of them
        self.say(sealed, asker)
