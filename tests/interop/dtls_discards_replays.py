"""What was captured and comes again, and what a forger makes of it: no effect, one audit record that names the right
one, and the true records of the same numbers still pass."""

from __future__ import annotations

import time

import pytest

from support import ntp
from support.datagram_relay import DOWN, UP, DatagramRelay
from support.gateway import client_tunnel, server_tunnel

HEADER = 13
APPLICATION_DATA, EPOCH_ONE = 23, b"\0\1"


def is_data(datagram: bytes) -> bool:
    return datagram[0] == APPLICATION_DATA and datagram[3:5] == EPOCH_ONE


def number_of(datagram: bytes) -> int:
    return int.from_bytes(datagram[5:11], "big")


def numbered(datagram: bytes, number: int) -> bytes:
    return datagram[:5] + number.to_bytes(6, "big") + datagram[11:]


class World:
    """Both roles with a relay between them, and a client that has asked a few times."""

    def __init__(self, start, pki, chronyd) -> None:
        self.server = start(server_tunnel(chronyd.text(), pki.server(), channel="dtls"), name="server")
        self.relay = DatagramRelay(self.server.address())
        self.client = start(client_tunnel("%s:%d" % self.relay.address, pki.client(), channel="dtls"), name="client")
        self.ask(5)

    def ask(self, count: int) -> None:
        with ntp.Client(self.client.address()) as asker:
            for _ in range(count):
                assert asker.ask(2.0)

    def victim(self, direction: str):
        return self.server if direction == UP else self.client

    def source(self, direction: str) -> str:
        """Whom the victim takes for the sender."""
        return "%s:%d" % (self.relay.source if direction == UP else self.relay.address)

    def discarded(self, direction: str) -> dict[str, int]:
        """But for the first ClientHello, which has no cookie yet."""
        name = "server" if direction == UP else "client"
        counted = self.victim(direction).counters(name)["channels"]["discarded"]
        return {reason: count for reason, count in counted.items() if reason != "no_cookie"}

    def wait_discarded(self, direction: str, reason: str, count: int) -> None:
        name = "server" if direction == UP else "client"
        self.victim(direction).wait_counters(
            lambda counted: counted["channels"]["discarded"].get(reason, 0) >= count, f"{count} {reason}", name)

    def finish(self) -> None:
        """Nothing of what was injected reached NTP, and the channel is the first one still."""
        for role in (self.client, self.server):
            assert not role.events("channel_closed"), role.events("channel_closed")
        client = self.client.finish()["client"]
        server = self.server.finish()["server"]
        self.relay.stop()
        assert client["channels"]["opened"] == server["channels"]["opened"] == 1
        assert client["exchanges"]["answered"] == server["exchanges"]["answered"] == client["requests"]["received"]
        assert not client["replies"]["drops"] and not server["requests"]["drops"], (client, server)


@pytest.fixture
def world(start, trial_pki, chronyd):
    return World(start, trial_pki, chronyd)


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_one_replayed_record_is_one_audit_record_with_its_source(direction, world):
    record = [each for each in world.relay.captured[direction] if is_data(each)][-1]
    world.relay.inject(direction, record)
    told = world.victim(direction).wait_event("replay_detected")
    assert (told["peer"], told["reason"], told["verified"]) == (world.source(direction), "same_record", True)
    assert told["outcome"] == "failure"
    assert told["subject"] == ("CN=client" if direction == UP else "CN=server")
    world.ask(3)
    assert len(world.victim(direction).events("replay_detected")) == 1
    assert world.discarded(direction) == {"replay_detected": 1}
    world.finish()


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_a_whole_capture_played_again_does_nothing(direction, world):
    """The handshake and the traffic, as they were, one after the other."""
    captured = list(world.relay.captured[direction])
    data = sum(map(is_data, captured))
    for datagram in captured:
        world.relay.inject(direction, datagram)
    world.wait_discarded(direction, "replay_detected", data)
    world.ask(3)
    assert "bad_record" not in world.discarded(direction)
    assert all(each["peer"] == world.source(direction)
               for each in world.victim(direction).events("replay_detected"))
    if direction == UP:
        assert world.server.counters()["listener"]["accepted"] == 1
    world.finish()


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_what_has_left_the_window_is_told_as_unverified(direction, world):
    record = next(each for each in world.relay.captured[direction] if is_data(each))
    world.ask(70)
    world.relay.inject(direction, record)
    told = world.victim(direction).wait_event("replay_detected")
    assert (told["reason"], told["verified"]) == ("older_than_window", False)
    world.finish()


@pytest.mark.parametrize("direction", [UP, DOWN])
def test_forged_numbers_neither_name_a_victim_nor_push_true_records_out(direction, world):
    record = [each for each in world.relay.captured[direction] if is_data(each)][-1]
    last = number_of(record)
    forgeries = [record[:-1] + bytes([record[-1] ^ 1]),  # a number that is known, another tail
                 *(numbered(record, last + ahead) for ahead in (1, 2, 40, 64, 65, 1000, 2**40))]
    for forged in forgeries:
        world.relay.inject(direction, forged)
    world.wait_discarded(direction, "bad_record", len(forgeries))
    world.ask(5)  # the numbers that the forger had used are free for their owner
    assert world.discarded(direction) == {"bad_record": len(forgeries)}
    assert not world.victim(direction).events("replay_detected")
    world.finish()


def test_a_flood_of_replays_does_not_flood_the_audit(world):
    record = [each for each in world.relay.captured[UP] if is_data(each)][-1]
    sent = 0
    while world.discarded(UP).get("replay_detected", 0) < 2000:
        for _ in range(100):
            world.relay.inject(UP, record)
        sent += 100
        assert sent < 100_000
        time.sleep(0.005)  # the socket's buffer is bounded, and a test that overruns it proves nothing
    assert len(world.server.events("replay_detected")) <= 10
    world.ask(3)
    world.finish()


def test_a_replay_from_another_address_is_nobodys(world):
    record = [each for each in world.relay.captured[UP] if is_data(each)][-1]
    with DatagramRelay(world.server.address()) as stranger:
        for datagram in (record, *world.relay.captured[UP][:2]):
            stranger.inject(UP, datagram)
        world.wait_discarded(UP, "no_association", 1)
    assert not world.server.events("replay_detected")
    assert world.server.counters()["listener"]["accepted"] == 1  # the cookie was another address's
    world.ask(2)
    world.finish()
