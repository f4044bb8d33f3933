"""Ten thousand wrong datagrams at the DTLS port, of strangers and in a peer's name: each is counted, none does harm."""

from __future__ import annotations

import random
import time

import pytest

from support import ntp, stock_dtls
from support.datagram_relay import UP, DatagramRelay
from support.gateway import client_tunnel, server_tunnel

SEED = 20261126
COUNT = 10_000
BATCH = 20


def mutated(chance: random.Random, datagram: bytes) -> bytes:
    """One octet, a few, or the end of it changed; never the length of a record, so that one datagram is one count."""
    data = bytearray(datagram)
    for _ in range(chance.choice([1, 1, 3])):
        place = chance.choice([each for each in range(len(data)) if each not in (11, 12)])
        data[place] ^= 1 << chance.randrange(8)
    return bytes(data)


def noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(1, 1400))


@pytest.fixture
def world(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), channel="dtls"), name="server",
                   limits={"requests-per-second-per-client": 0})
    with DatagramRelay(server.address()) as relay:
        client = start(client_tunnel("%s:%d" % relay.address, trial_pki.client(), channel="dtls"), name="client")
        yield server, relay, client


def test_every_datagram_is_counted_and_a_real_client_is_served(world, trial_pki, folder):
    server, relay, client = world
    with ntp.Client(client.address()) as asker:
        assert asker.ask(2.0)
        hello = stock_dtls.captured_hello(trial_pki.ca, folder / "hello.log")
        record = [each for each in relay.captured[UP] if each[0] == 23][-1]
        chance = random.Random(SEED)
        before = total(server)
        steady = None
        with stock_dtls.DatagramSocket(server.address()) as stranger:
            for batch in range(COUNT // BATCH):
                if batch == COUNT // BATCH // 2:
                    steady = server.resident()
                for _ in range(BATCH):
                    kind = chance.randrange(4)
                    if kind == 0:
                        stranger.send(noise(chance))
                    elif kind == 1:
                        stranger.send(mutated(chance, hello))
                    elif kind == 2:
                        stranger.send(mutated(chance, record))
                    else:
                        relay.inject(UP, mutated(chance, record))
                time.sleep(0.003)  # the socket's buffer is bounded, and what the kernel drops nobody counts
                if batch % 50 == 0:
                    assert asker.ask(2.0), "a real client is served all the while"
        server.wait_counters(lambda _: total(server) - before >= COUNT, f"{COUNT} counted", "server")
        assert asker.ask(2.0)
        assert not asker.heard.wrong
    assert server.resident() - steady < 4 << 20
    assert not server.events("channel_closed")
    counted = server.finish()["server"]
    assert {"not_a_record", "no_association", "no_cookie", "bad_record"} <= set(counted["channels"]["discarded"])
    assert counted["listener"]["accepted"] == 1 and not counted["requests"]["drops"], counted
    client.finish()


def total(server) -> int:
    return sum(server.counters("server")["channels"]["discarded"].values())
