"""Peers with something wrong, each with the reason it must be refused for: the same list for every channel of TLS."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from support.pki import CLIENT, CODE, SERVER, Authority, Leaf, TrialPki, Wish, self_signed
from support.tls import Peer


@dataclass
class Bench:
    """What one case may use and change."""

    folder: Path
    pki: TrialPki
    usage: object  # the purpose that the bad peer's certificate should have

    def __post_init__(self) -> None:
        self.settings: dict[str, object] = {}  # of the role under test
        self.peer = Peer(self.pki.ca)

    def show(self, leaf: Leaf) -> None:
        self.peer.identity = leaf.write(self.folder, "bad")

    def issue(self, **changes: object) -> None:
        """A certificate of the right authority, right but for `changes`."""
        self.show(self.pki.authority.issue(Wish(usages=(self.usage,)), **changes))

    def revoke(self, leaf: Leaf, *lists: bytes) -> None:
        paths = []
        for number, crl in enumerate(lists):
            path = self.folder / f"{number}.crl"
            path.write_bytes(crl)
            paths.append(str(path))
        self.settings["crl"] = paths
        self.show(leaf)


def wrong_usage(bench: Bench) -> None:
    bench.issue(usages=(CLIENT if bench.usage == SERVER else SERVER, CODE))


def unknown_authority(bench: Bench) -> None:
    bench.show(Authority("somebody else").issue(Wish(usages=(bench.usage,))))


def revoked_leaf(bench: Bench) -> None:
    leaf = bench.pki.authority.issue(Wish(usages=(bench.usage,)))
    bench.revoke(leaf, bench.pki.authority.crl(leaf.certificate))


def revoked_issuer(bench: Bench) -> None:
    between = Authority("intermediate", bench.pki.authority)
    leaf = between.issue(Wish(usages=(bench.usage,)))
    bench.revoke(leaf, bench.pki.authority.crl(between.certificate), between.crl())


def old_protocol(bench: Bench) -> None:
    bench.issue()
    bench.peer.oldest = bench.peer.newest = ssl.TLSVersion.TLSv1_1


def no_common_suite(bench: Bench) -> None:
    bench.issue(rsa_bits=2048)
    bench.peer.newest = ssl.TLSVersion.TLSv1_2
    bench.peer.ciphers = "AES256-SHA"


def no_alpn(bench: Bench) -> None:
    bench.issue()
    bench.peer.alpn = ()


def other_alpn(bench: Bench) -> None:
    bench.issue()
    bench.peer.alpn = ("h2",)


BOTH: dict[str, tuple[str, Callable[[Bench], None]]] = {
    "expired": ("certificate_expired", lambda bench: bench.issue(starts=-48, ends=-1)),
    "not yet valid": ("certificate_not_yet_valid", lambda bench: bench.issue(starts=1)),
    "unknown CA": ("unknown_ca", unknown_authority),
    "no EKU": ("eku_missing", lambda bench: bench.issue(usages=None)),
    "wrong EKU": ("eku_wrong", wrong_usage),
    "self-signed": ("self_signed", lambda bench: bench.show(self_signed(Wish(usages=(bench.usage,))))),
    "revoked leaf": ("certificate_revoked", revoked_leaf),
    "revoked intermediate": ("issuer_revoked", revoked_issuer),
    "TLS 1.1": ("protocol_version", old_protocol),
    "no common suite": ("no_common_suite", no_common_suite),
    "no ALPN": ("no_alpn", no_alpn),
    "other ALPN": ("no_alpn", other_alpn),
}

BAD_SERVERS = BOTH | {
    "wrong name": ("name_mismatch", lambda bench: bench.issue(names=("DNS:other.test",))),
    "wildcard": ("name_mismatch", lambda bench: (bench.settings.update({"server-name": "a.test"}),
                                                 bench.issue(names=("DNS:*.test",)))),
    "name only in CN": ("name_only_in_subject", lambda bench: bench.issue(names=(), common_name="localhost")),
}

BAD_CLIENTS = BOTH | {
    "no certificate": ("no_certificate", lambda bench: None),
    "not on the allow list": ("not_on_allow_list", lambda bench: (
        bench.settings.update({"allow": ["DNS:somebody.test"]}), bench.issue())),
    "allowed only by its CN": ("not_on_allow_list", lambda bench: (
        bench.settings.update({"allow": ["DNS:cn.test"]}), bench.issue(common_name="cn.test"))),
}
