"""Every reason to refuse a peer, in both roles: its own word in the audit, and no time passes."""

from __future__ import annotations

import pytest

from support import ntp
from support.bad_peers import BAD_CLIENTS, BAD_SERVERS, Bench
from support.frames import FrameClient, FrameServer
from support.gateway import client_tunnel, query, server_tunnel
from support.pki import CLIENT, SERVER, Authority, Wish
from support.tls import Peer
from support.upstream import Daemon


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
