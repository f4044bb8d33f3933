"""SIGTERM: what is open is finished, the peer is told, and the exit code is 0."""

from __future__ import annotations

import signal
import time

import pytest

from support import frames, ntp
from support.gateway import client_tunnel, drops, server_tunnel
from support.processes import eventually
from support.prober import Prober
from support.upstream import Daemon


def slowly(daemon: Daemon, data: bytes, asker) -> None:
    daemon.say(ntp.honest_reply(ntp.Packet.decode(data)).encode(), asker, after=0.3)


def ask_many(client, daemon: Daemon, count: int) -> ntp.Client:
    """`count` questions, all of them at the daemon, none answered yet."""
    asker = ntp.Client(client.address())
    for _ in range(count):
        asker.send()
    eventually(lambda: len(daemon.heard) == count, f"{count} requests at the daemon")
    return asker


@pytest.mark.usefixtures("any_channel")
def test_a_server_role_answers_what_is_open(start, trial_pki):
    with Daemon(slowly) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server()), name="server")
        client = start(client_tunnel(server.listen(), trial_pki.client()), name="client")
        with ask_many(client, daemon, 12) as asker:
            assert server.finish()["server"]["exchanges"]["answered"] == 12
            for _ in range(12):
                assert asker.receive(1) is not None
        client.finish()


@pytest.mark.usefixtures("any_channel")
def test_a_client_role_delivers_what_is_open(start, trial_pki):
    with Daemon(slowly) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server()), name="server")
        client = start(client_tunnel(server.listen(), trial_pki.client()), name="client")
        with ask_many(client, daemon, 12) as asker:
            assert client.finish()["client"]["exchanges"]["answered"] == 12
            for _ in range(12):
                assert asker.receive(1) is not None
        server.finish()


def test_a_drain_ends_after_five_seconds_at_most(start, trial_pki, frame_peers):
    with Daemon(lambda *_: None) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server(), timing={"max-round-trip": "4s"}))
        with frame_peers.client(server) as client:
            client.request(ntp.request().encode())
            eventually(lambda: daemon.heard, "the request at the daemon")
            begun = time.monotonic()
            server.finish()
            assert time.monotonic() - begun < 6


def test_goodbye_comes_before_the_end(start, trial_pki, chronyd, frame_peers):
    server = start(server_tunnel(chronyd.text(), trial_pki.server()))
    with frame_peers.client(server) as client:
        assert client.ask() is not None
        server.send_signal(signal.SIGTERM)
        frame = client.receive(2)
        assert frame is not None and frame.kind == frames.GOODBYE, frame
    assert server.wait() == 0


@pytest.mark.usefixtures("any_channel")
def test_with_a_second_target_a_drain_costs_no_answer(start, trial_pki, chronyd):
    first = start(server_tunnel(chronyd.text(), trial_pki.server()), name="first")
    second = start(server_tunnel(chronyd.text(), trial_pki.server()), name="second")
    client = start(client_tunnel([first.listen(), second.listen()], trial_pki.client()), name="client")
    with Prober(client.address()) as prober:
        eventually(lambda: prober.answered_since(0) >= 20, "the first answers")
        first.finish()
        eventually(lambda now=time.monotonic(): prober.answered_since(now) >= 20, "answers by the second target")
    counted = client.finish()["client"]
    assert counted["exchanges"]["abandoned"] == 0, counted
    assert not {"no_channel", "channel_lost"} & set(drops(counted, "requests")), counted
    second.finish()


@pytest.mark.usefixtures("any_channel")
def test_an_idle_gateway_ends_at_once(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), name="server")
    client = start(client_tunnel(server.listen(), trial_pki.client()), name="client")
    for each in (client, server):
        begun = time.monotonic()
        each.finish()
        assert time.monotonic() - begun < 1


def test_sigint_is_as_good_as_sigterm(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server()))
    assert server.stop(signal.SIGINT) == 0
    assert server.events("stopped")[0]["outcome"] == "success"
