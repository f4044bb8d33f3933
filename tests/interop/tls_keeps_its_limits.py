"""Each limit of the configuration, lowered: refusal with its reason, an audit record, and recovery."""

from __future__ import annotations

import contextlib
import socket
import time
from dataclasses import dataclass

import pytest

from support import ntp
from support.frame_peers import SshPeers, TlsPeers
from support.gateway import Gateway, client_tunnel, drops, server_tunnel, total
from support.processes import eventually
from support.upstream import Daemon


@dataclass(frozen=True)
class ExchangeLimit:
    """One that says how many may be asked, and the word its drops are counted under."""

    key: str
    value: int
    reason: str


EXCHANGE_LIMITS = [
    ExchangeLimit("exchanges", 4, "exchange_limit"),
    ExchangeLimit("exchanges-per-channel", 4, "channel_limit"),
    ExchangeLimit("exchanges-per-client", 4, "client_limit"),
    ExchangeLimit("requests-per-second-per-client", 4, "rate_limited"),
]


SHORT = {"max-age": "300ms", "max-round-trip": "400ms"}


def silent(*_: object) -> None:
    """A daemon that never answers keeps every exchange open until max-round-trip."""


@pytest.mark.usefixtures("any_channel")
@pytest.mark.parametrize("limit", EXCHANGE_LIMITS, ids=lambda limit: limit.key)
def test_a_client_role_limits_its_local_clients(limit, start, trial_pki):
    with Daemon(silent) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server()), name="server")
        client = start(client_tunnel(server.listen(), trial_pki.client(), timing=SHORT),
                       name="client", limits={limit.key: limit.value})
        with ntp.Client(client.address()) as asker:
            for _ in range(6):
                asker.send()
            client.wait_counters(lambda now: drops(now, "requests") == {limit.reason: 2}, limit.reason)
            record = client.wait_event("limit_reached", reason=limit.key)
            assert (record["tunnel"], record["outcome"]) == ("client", "failure"), record
            eventually(lambda: len(daemon.heard) == 4, "four at the daemon")
            daemon.answer = Daemon.honestly
            eventually(lambda: asker.ask(0.2), "recovery", 3)
        client.finish()
        server.finish()


@pytest.mark.parametrize("limit", EXCHANGE_LIMITS[:2], ids=lambda limit: limit.key)
def test_a_server_role_limits_its_peers(limit, start, trial_pki, frame_peers):
    with Daemon(silent) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server(), timing=SHORT),
                       limits={limit.key: limit.value})
        with frame_peers.client(server) as client:
            for _ in range(6):
                client.request(ntp.request().encode())
            server.wait_counters(lambda now: drops(now, "requests") == {limit.reason: 2}, limit.reason)
            server.wait_event("limit_reached", reason=limit.key)
            eventually(lambda: len(daemon.heard) == 4, "four at the daemon")
            daemon.answer = Daemon.honestly
            eventually(lambda: client.ask(0.2), "recovery", 3)
        server.finish()


@pytest.mark.usefixtures("any_channel")
def test_one_client_at_its_limit_does_not_stop_another(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), name="server")
    client = start(client_tunnel(server.listen(), trial_pki.client()), name="client",
                   limits={"requests-per-second-per-client": 2})
    with ntp.Client(client.address(), "127.0.0.1") as greedy:
        for _ in range(50):
            greedy.send()
        assert ntp.ask(client.address(), source="127.0.0.77") is not None
    assert drops(client.finish()["client"], "requests") == {"rate_limited": 48}
    server.finish()


def test_a_tunnel_may_lower_the_limit_of_the_process(start, trial_pki, chronyd, frame_peers):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), limits={"channels": 1}), limits={"channels": 100})
    with frame_peers.client(server) as first:
        assert first.ask() is not None
        assert turned_away(frame_peers, server)
    server.wait_event("limit_reached", reason="channels")
    server.finish()


def turned_away(peers: TlsPeers | SshPeers, server: Gateway) -> bool:
    try:
        with peers.client(server) as client:
            return client.ask(1.0) is None
    except OSError:
        return True


def test_channels(start, trial_pki, chronyd, frame_peers):
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), limits={"channels": 2})
    with frame_peers.client(server) as first:
        with frame_peers.client(server) as second:
            assert first.ask() and second.ask()
            assert turned_away(frame_peers, server)
            record = server.wait_event("limit_reached", reason="channels")
            assert (record["tunnel"], record["outcome"]) == ("server", "failure"), record
            assert first.ask() and second.ask(), "those inside are not disturbed"
        server.wait_counters(lambda now: total(now["channels"]["closed"]) == 1, "one closed")
        with frame_peers.client(server) as third:
            assert third.ask() is not None
    counted = server.finish()["server"]
    assert counted["listener"]["refused"] == {"channels": 1}, counted


def test_half_open(start, trial_pki, chronyd, frame_peers):
    server = start(server_tunnel(chronyd.text(), trial_pki.server()),
                   limits={"half-open": 3, "handshakes-per-second-per-source": 0})
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(server.address(), 5))
        server.wait_counters(lambda now: now["listener"]["pending"] == 3, "three half-open")
        assert turned_away(frame_peers, server)
        server.wait_event("limit_reached", reason="half-open")
    server.wait_counters(lambda now: now["listener"]["pending"] == 0, "none half-open")
    with frame_peers.client(server) as client:
        assert client.ask() is not None
    counted = server.finish()["server"]
    assert counted["listener"]["refused"] == {"half-open": 1}, counted


@pytest.mark.parametrize("key", ["handshakes-per-second-per-source", "handshakes-per-second"])
def test_handshakes_per_second(key, start, trial_pki, chronyd, frame_peers):
    other = {"handshakes-per-second-per-source", "handshakes-per-second"} - {key}
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), limits={key: 4} | {each: 0 for each in other})
    results = [not turned_away(frame_peers, server) for _ in range(4)]
    begun = time.monotonic()
    for _ in range(8):  # over SSH, logins take so long that the first ones may be let in again
        with contextlib.suppress(OSError), socket.create_connection(server.address(), 5) as extra:
            extra.settimeout(2)
            extra.recv(1)
    assert all(results), results
    if time.monotonic() - begun < 0.2:  # too slow a machine proves nothing here
        server.wait_event("limit_reached", reason=key)
    eventually(lambda: not turned_away(frame_peers, server), "recovery", 5, every=0.3)
    counted = server.finish()["server"]
    assert set(counted["listener"]["refused"]) == {key}, counted


@pytest.mark.usefixtures("any_channel")
def test_a_source_outside_clients_is_not_served(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), name="server")
    client = start(client_tunnel(server.listen(), trial_pki.client(), clients=["127.0.0.8/29"]), name="client")
    assert ntp.ask(client.address(), 0.3, source="127.0.0.7") is None
    assert ntp.ask(client.address(), source="127.0.0.8") is not None
    assert ntp.ask(client.address(), 0.3, source="127.0.0.16") is None
    assert drops(client.finish()["client"], "requests") == {"not_allowed": 2}
    server.finish()
