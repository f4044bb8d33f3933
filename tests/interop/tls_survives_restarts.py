"""Any of the three may be killed at any moment: time comes back within 2 s of its return, and nothing wrong comes."""

from __future__ import annotations

import signal
import time

import pytest

from support import ntp
from support.daemons import free_tcp_port
from support.gateway import Gateway, client_tunnel, drops, server_tunnel
from support.processes import eventually, free_port
from support.prober import Prober
from support.relay import Relay
from support.upstream import Daemon

BACK_WITHIN = 2.0
MAX_ROUND_TRIP = 1.0


class World:
    """chronyd, both roles on fixed ports, and a client that asks all the time."""

    def __init__(self, start, pki, chronyd) -> None:
        self.chronyd = chronyd
        self._start = start
        self._pki = pki
        self.ports = {"server": free_tcp_port(), "client": free_port()}
        self.roles: dict[str, Gateway] = {}
        self.bring("server")
        self.bring("client")

    def bring(self, who: str) -> float:
        """Starts what was killed; the moment of its return."""
        if who == "chronyd":
            self.chronyd.start()
        else:
            self.roles[who] = self._start(self._tunnel(who), name=who)
        return time.monotonic()

    def _tunnel(self, who: str) -> dict[str, object]:
        listen = f"127.0.0.1:{self.ports[who]}"
        if who == "server":
            return server_tunnel(self.chronyd.text(), self._pki.server(), listen=listen)
        return client_tunnel(f"127.0.0.1:{self.ports['server']}", self._pki.client(), listen=listen)

    def kill(self, who: str) -> None:
        (self.chronyd if who == "chronyd" else self.roles[who]).kill()

    def prober(self) -> Prober:
        return Prober(("127.0.0.1", self.ports["client"]))

    def finish(self) -> None:
        for role in self.roles.values():
            role.finish()


@pytest.fixture
def world(any_channel, start, trial_pki, chronyd) -> World:
    return World(start, trial_pki, chronyd)


def assert_nothing_wrong(prober: Prober) -> None:
    assert not prober.heard.wrong, prober.heard.wrong[:3]
    assert max(answer.waited for answer in prober.heard.answers) <= MAX_ROUND_TRIP
    # Both clocks are one: an offset beyond half of the delay would be a stamp that was moved too far.
    assert all(abs(answer.offset) <= answer.delay / 2 + 0.0005 for answer in prober.heard.answers)


def comes_back(prober: Prober, since: float, why: str) -> None:
    left = since + BACK_WITHIN - time.monotonic()
    eventually(lambda: prober.answered_since(since) >= 1, f"an answer after {why}", left)
    eventually(lambda: prober.answered_since(since) >= 5, f"further answers after {why}")


@pytest.mark.parametrize("outage", [0.0, 3.5])
@pytest.mark.parametrize("who", ["server", "client", "chronyd"])
def test_time_comes_back_after_a_kill(who, outage, world):
    with world.prober() as prober:
        eventually(lambda: prober.answered_since(0) >= 10, "the first answers")
        world.kill(who)
        dead = time.monotonic()
        while time.monotonic() < dead + outage:
            prober_is_quiet_or_right(prober)
            time.sleep(0.1)
        comes_back(prober, world.bring(who), f"killing {who} for {outage} s")
    assert_nothing_wrong(prober)
    world.finish()


def prober_is_quiet_or_right(prober: Prober) -> None:
    assert not prober.heard.wrong, prober.heard.wrong[:3]


def test_kills_at_random_moments_one_after_another(world):
    with world.prober() as prober:
        eventually(lambda: prober.answered_since(0) >= 5, "the first answers")
        for who in ["server", "chronyd", "client", "server", "client", "chronyd", "server", "server"]:
            world.kill(who)
            comes_back(prober, world.bring(who), f"killing {who}")
    assert_nothing_wrong(prober)
    world.finish()


def test_a_server_role_that_hangs_is_noticed_and_forgiven(world):
    """SIGSTOP: the kernel still acknowledges, only pings tell."""
    with world.prober() as prober:
        eventually(lambda: prober.answered_since(0) >= 10, "the first answers")
        world.roles["server"].send_signal(signal.SIGSTOP)
        world.roles["client"].wait_event("channel_closed", reason="dead_peer", timeout=5)
        world.roles["server"].send_signal(signal.SIGCONT)
        comes_back(prober, time.monotonic(), "SIGCONT")
    assert_nothing_wrong(prober)
    world.finish()


@pytest.mark.usefixtures("stream_channel")
def test_a_path_that_stalls_delivers_nothing_late(start, trial_pki, chronyd):
    """Octets held back for 1.5 s in either direction arrive after all; the time in them does not."""
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), name="server")
    with Relay(server.address()) as relay:
        client = start(client_tunnel(f"127.0.0.1:{relay.address[1]}", trial_pki.client()), name="client")
        with Prober(client.address()) as prober:
            for direction in ("up", "down"):
                eventually(lambda: prober.answered_since(0) >= 10, "answers")
                relay.freeze(direction)
                frozen = time.monotonic()
                eventually(lambda: time.monotonic() > frozen + 1.5, "the stall", 3)
                relay.thaw(direction)
                comes_back(prober, time.monotonic(), f"a stall {direction}")
        assert not prober.heard.wrong
        assert max(answer.waited for answer in prober.heard.answers) <= MAX_ROUND_TRIP
        client.finish()
    server.finish()


@pytest.mark.usefixtures("any_channel")
def test_a_silent_daemon_is_not_taken_for_a_dead_channel(start, trial_pki):
    silent = [False]
    with Daemon(lambda daemon, data, asker: None if silent[0] else daemon.honestly(data, asker)) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server()), name="server")
        client = start(client_tunnel(server.listen(), trial_pki.client()), name="client")
        with Prober(client.address()) as prober:
            eventually(lambda: prober.answered_since(0) >= 10, "the first answers")
            silent[0] = True
            client.wait_for_line("upstream_silent", timeout=5)
            silent[0] = False
            comes_back(prober, time.monotonic(), "the daemon's silence")
        assert not client.events("channel_closed")
        assert client.finish()["client"]["channels"]["opened"] == 1
        server.finish()


@pytest.mark.usefixtures("any_channel")
def test_a_channel_is_replaced_before_it_is_too_old(start, trial_pki, chronyd):
    """Made before the old one is broken: not one question is lost for want of a channel."""
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), name="server")
    client = start(client_tunnel(server.listen(), trial_pki.client(), timing={"max-channel-age": "1s"}), name="client")
    with Prober(client.address()) as prober:
        eventually(lambda: len(client.events("channel_opened")) >= 4, "a fourth channel", 10)
    assert client.events("channel_closed", reason="max_channel_age"), client.err
    assert_no_channel_was_missed(client.finish()["client"])
    server.finish()


def assert_no_channel_was_missed(counted) -> None:
    """On a busy machine a question may be too old; none may have waited for a channel, or lost it."""
    assert counted["exchanges"]["abandoned"] == 0, counted
    assert not {"no_channel", "channel_lost", "not_correctable"} & set(drops(counted, "requests")), counted
    assert counted["exchanges"]["answered"] > 0


@pytest.mark.usefixtures("any_channel")
def test_a_second_target_is_used_when_the_first_is_gone(start, trial_pki, chronyd):
    first = start(server_tunnel(chronyd.text(), trial_pki.server()), name="first")
    second = start(server_tunnel(chronyd.text(), trial_pki.server()), name="second")
    client = start(client_tunnel([first.listen(), second.listen()], trial_pki.client()), name="client")
    assert client.events("channel_opened")[0]["peer"] == first.listen()
    with Prober(client.address()) as prober:
        first.kill()
        comes_back(prober, time.monotonic(), "the first target's death")
    assert client.events("channel_opened")[-1]["peer"] == second.listen()
    client.finish()
    second.finish()


@pytest.mark.usefixtures("any_channel")
def test_a_request_permits_an_attempt_while_backing_off(start, trial_pki, chronyd):
    """After a long outage the back-off is long; a waiting client must not pay for it."""
    port = free_tcp_port()
    tunnel = server_tunnel(chronyd.text(), trial_pki.server(), listen=f"127.0.0.1:{port}")
    client = start(client_tunnel(f"127.0.0.1:{port}", trial_pki.client()), name="client")
    eventually(lambda: client.counters()["channels"]["failed"].get("unreachable", 0) >= 5, "five failed attempts", 15)
    server = start(tunnel, name="server")
    with ntp.Client(client.address()) as asker:
        came = time.monotonic()
        eventually(lambda: asker.ask(0.1), "an answer", BACK_WITHIN)
        assert time.monotonic() - came < BACK_WITHIN
    client.finish()
    server.finish()
