"""Every reason to refuse a peer, in both roles: its own word in the audit, and no time passes."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from support import ntp
from support.frames import FrameClient, FrameServer
from support.gateway import client_tunnel, query, server_tunnel
from support.pki import CLIENT, CODE, SERVER, Authority, Leaf, TrialPki, Wish, self_signed
from support.tls import Peer
from support.upstream import Daemon


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


@pytest.mark.parametrize("case", BAD_SERVERS)
def test_a_client_role_refuses(case, start, trial_pki, folder):
    reason, spoil = BAD_SERVERS[case]
    bench = Bench(folder, trial_pki, SERVER)
    spoil(bench)
    # A server that wants no client certificate, so that nothing but the case itself can be the cause.
    bench.peer.ca = None
    with FrameServer(bench.peer) as server:
        target = f"{server.address[0]}:{server.address[1]}"
        client = start(client_tunnel(target, trial_pki.client() | bench.settings))
        record = client.wait_reason(reason)
        assert (record["outcome"], record["tunnel"], record["peer"]) == ("failure", "client", target), record
        assert record["event"] in ("certificate_rejected", "identifier_mismatch", "channel_failed"), record
        assert ntp.ask(client.address(), 0.3) is None

        code, said = query("-c", str(client.config), "--tunnel", "client", "-n", "1")
        assert (code, said["error"]["reason"]) == (1, reason), said
        assert not server.requests()
        assert not client.events("channel_opened")
        failed = client.finish()["client"]["channels"]["failed"]
    assert set(failed) == {reason}, failed


@pytest.mark.parametrize("case", BAD_CLIENTS)
def test_a_server_role_refuses(case, start, trial_pki, folder):
    reason, spoil = BAD_CLIENTS[case]
    bench = Bench(folder, trial_pki, CLIENT)
    spoil(bench)
    settings = {key: value for key, value in trial_pki.server().items() if key != "allow"} | bench.settings
    with Daemon() as daemon:
        server = start(server_tunnel(daemon.text(), settings))
        assert refused(bench.peer, server.address())
        record = server.wait_reason(reason)
        assert (record["outcome"], record["tunnel"]) == ("failure", "server"), record
        assert record["peer"].startswith("127.0.0.1:"), record
        assert not daemon.heard
        assert not server.events("channel_opened")
        counted = server.finish()["server"]
    assert counted["channels"]["failed"] == counted["listener"]["failed"] == {reason: 1}, counted
    assert counted["requests"]["received"] == 0


def refused(peer: Peer, address: tuple[str, int]) -> bool:
    """Whether no time passes; in TLS 1.3 the client's side is finished before the server's judgement."""
    try:
        with FrameClient(peer, address) as client:
            return client.ask(1.0) is None and client.ended(2.0)
    except OSError:
        return True


def test_the_same_peers_are_admitted_when_nothing_is_wrong(start, trial_pki, folder):
    """The cases above fail for their reason only if this passes; CRLs that name nobody are in force."""
    between = Authority("intermediate", trial_pki.authority)
    bench = Bench(folder, trial_pki, CLIENT)
    bench.revoke(between.issue(Wish(names=("DNS:client.test",), usages=(CLIENT,))), trial_pki.authority.crl(),
                 between.crl())
    settings = trial_pki.server() | bench.settings | {"revocation": "require"}
    with Daemon() as daemon:
        server = start(server_tunnel(daemon.text(), settings))
        with FrameClient(bench.peer, server.address()) as client:
            assert client.ask() is not None
        opened = server.wait_event("channel_opened")
        assert (opened["outcome"], opened["tunnel"]) == ("success", "server"), opened
        server.finish()


@pytest.mark.parametrize("entry", ["DNS", "SPKI-SHA256"])
def test_the_allow_list_admits_whom_it_names(entry, start, trial_pki):
    allowed = {"DNS": "DNS:client.test", "SPKI-SHA256": f"SPKI-SHA256:{trial_pki.client_leaf.spki_sha256()}"}[entry]
    with Daemon() as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server() | {"allow": [allowed]}))
        identity = (trial_pki.client_certificate, trial_pki.client_key)
        with FrameClient(Peer(trial_pki.ca, identity), server.address()) as client:
            assert client.ask() is not None
        server.finish()


@pytest.mark.parametrize("version", ["TLS1.2", "TLS1.3"])
def test_both_allowed_versions_carry_time(version, start, trial_pki):
    with Daemon() as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server()), name="server")
        client = start(client_tunnel(server.listen(), trial_pki.client() | {"versions": [version]}), name="client")
        assert ntp.ask(client.address()) is not None
        assert client.events("channel_opened")[0]["protocol"] == version
        client.finish()
        server.finish()


def test_query_by_url_says_why_it_was_refused(trial_pki, folder):
    bench = Bench(folder, trial_pki, SERVER)
    bench.issue(starts=-48, ends=-1)
    bench.peer.ca = None
    with FrameServer(bench.peer) as server:
        code, said = query(f"tls://127.0.0.1:{server.address[1]}", "--ca", trial_pki.ca, "--certificate",
                           trial_pki.client_certificate, "--key", trial_pki.client_key, "--server-name", "localhost")
        assert (code, said["error"]["reason"]) == (1, "certificate_expired"), said
        assert not server.requests()
