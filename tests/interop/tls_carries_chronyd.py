"""The time of an unmodified chronyd, through client role, TLS and server role, is the time that it tells directly."""

from __future__ import annotations

import socket
import statistics

import pytest

from support import ntp
from support.gateway import client_tunnel, query, server_tunnel
from support.offsets import assert_same_median, sample
from support.processes import eventually, free_port
from support.relay import Relay

WAITED_BOUND = 100e-6  # of a single request on cold caches, against warm ones
UNLIMITED = {"requests-per-second-per-client": 0}


def pair(start, pki, upstream: str, relay: bool = False):
    """Both head-ends, and the relay between them when asked for."""
    server = start(server_tunnel(upstream, pki.server()), name="server", limits=UNLIMITED)
    between = Relay(server.address()) if relay else None
    target = between.address if between else server.address()
    client = start(client_tunnel(f"{target[0]}:{target[1]}", pki.client()), name="client", limits=UNLIMITED)
    return (server, client, between) if relay else (server, client)


@pytest.mark.measures
def test_query_asks_chronyd_through_both_head_ends(either_channel, start, trial_pki, chronyd):
    server, client = pair(start, trial_pki, chronyd.text())
    code, said = query(f"{either_channel}://{server.listen()}", "--ca", trial_pki.ca, "--certificate",
                       trial_pki.client_certificate, "--key", trial_pki.client_key, "--server-name", "localhost",
                       "-n", "4")
    assert code == 0, said
    assert (said["channel"], said["samples"], said["stratum"], said["leap"], said["refid"], said["version"]) == (
        either_channel, 4, 3, 0, "7f7f0101", 4), said
    assert abs(said["offset"]) < 0.001 and 0 <= said["delay"] < 0.05 and said["jitter"] < 0.05, said

    code, said = query("-c", str(client.config), "--tunnel", "client")
    assert (code, said["stratum"], said["refid"]) == (0, 3, "7f7f0101"), said

    code, said = query(f"ntp://{client.listen()}", "-n", "1")
    assert (code, said["stratum"], said["refid"]) == (0, 3, "7f7f0101"), said
    assert abs(said["offset"]) < 0.001, said
    client.finish()
    server.finish()


@pytest.mark.usefixtures("any_channel")
def test_an_answer_through_the_tunnel_is_chronyds_own(start, trial_pki, chronyd):
    server, client = pair(start, trial_pki, chronyd.text())
    direct, through = ntp.ask(chronyd.address), ntp.ask(client.address())
    assert direct and through
    for name in ("leap", "version", "mode", "stratum", "precision", "root_delay", "refid", "reference", "tail"):
        assert getattr(direct.packet, name) == getattr(through.packet, name), name
    counted = client.finish()["client"]
    assert counted["requests"]["forwarded"] == counted["replies"]["forwarded"] == 1, counted
    assert server.finish()["server"]["exchanges"]["answered"] == 1


@pytest.mark.measures
@pytest.mark.usefixtures("any_channel")
@pytest.mark.parametrize("pause", [0.002, 0.012], ids=["warm", "cold"])
def test_the_median_offset_is_the_direct_one(start, trial_pki, chronyd, pause):
    """Also when the machine has done something else in between, and every cache is cold."""
    _, client = pair(start, trial_pki, chronyd.text())
    assert_same_median(chronyd.address, client.address(), pause)


@pytest.mark.measures
@pytest.mark.usefixtures("any_channel")
def test_the_request_that_waits_for_the_handshake_is_as_right_as_later_ones(start, trial_pki, chronyd):
    upstream, port = chronyd.text(), free_port(socket.SOCK_STREAM)
    client = start(client_tunnel(f"127.0.0.1:{port}", trial_pki.client()), name="client", limits=UNLIMITED)
    firsts, later = [], []
    for number in range(20):
        with ntp.Client(client.address()) as asker:
            asker.send()  # nobody is there yet: it waits, and permits an attempt
            server = start(server_tunnel(upstream, trial_pki.server(), listen=f"127.0.0.1:{port}"),
                           name=f"server{number}", limits=UNLIMITED)
            first = asker.receive(1.0)
        client.wait_until(lambda: len(client.events("channel_opened")) > number, "the channel")
        if first is not None:  # on a slow machine the server may need more than max-age to start
            assert first.waited > 0.005, first
            firsts.append(first.offset)
        with ntp.Client(client.address()) as asker:  # in close succession: caches are warm
            later.append(statistics.median(sample(asker, 0.002) for _ in range(21)))
        server.finish()
        client.wait_until(lambda: len(client.events("channel_closed")) > number, "the channel's end")
        if len(firsts) >= 7:
            break
    assert len(firsts) >= 7, firsts
    wrong = statistics.median(firsts) - statistics.median(later)
    # Uncorrected, half of what each of them waited would be offset: 2.5 ms and more.
    assert abs(wrong) < WAITED_BOUND, (wrong, firsts, later)


@pytest.mark.usefixtures("stream_channel")
def test_a_request_that_waited_longer_than_max_age_is_never_answered(start, trial_pki, chronyd):
    server, client, relay = pair(start, trial_pki, chronyd.text(), relay=True)
    with relay:
        relay.freeze()
        relay.cut()
        client.wait_event("channel_closed")
        with ntp.Client(client.address()) as asker:
            old = asker.send()
            assert asker.receive(0.6) is None
            relay.thaw()
            eventually(lambda: asker.ask(0.2), "an answer to a later request")
            assert old.transmit in asker.open, "answered after max-age"
            assert not asker.heard.wrong
        counted = client.finish()["client"]
        assert sum(counted["requests"]["drops"].values()) >= 1, counted
        assert server.finish()["server"]["requests"]["received"] >= 1
