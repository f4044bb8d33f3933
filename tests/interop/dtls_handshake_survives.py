"""A DTLS handshake completes whatever happens to any one of its datagrams, and when one in five of all is lost."""

from __future__ import annotations

import contextlib
import socket
from dataclasses import dataclass

import pytest

from support import ntp
from support.daemons import Chronyd
from support.gateway import Gateway, client_tunnel, server_tunnel
from support.impairment import DIRECTIONS, UdpPath
from support.netns import Network
from support.pki import CLIENT, SERVER, Authority, TrialPki
from support.prober import Prober
from support.processes import eventually

ACTS = ("drop", "duplicate", "swap", "delay")
AT_ONCE = 16  # handshakes: their waiting overlaps, their work does not choke two cores
IPV4_AND_UDP = 20 + 8
LATE = 0.25  # longer than the first retransmission takes to come
LIMITS = {"handshakes-per-second-per-source": 0, "half-open": 256}


@dataclass
class Flights:
    """How certificates and records are cut: one datagram a flight, or many small ones."""

    pki: TrialPki
    mtu: int


def with_long_chains(pki: TrialPki) -> TrialPki:
    between = Authority("between", parent=pki.authority)
    server = between.issue(usages=(SERVER,), rsa_bits=2048)
    client = between.issue(names=("DNS:client.test",), usages=(CLIENT,), rsa_bits=2048)
    pki.server_certificate, pki.server_key = server.write(pki.folder, "server")
    pki.client_certificate, pki.client_key = client.write(pki.folder, "client")
    return pki


@pytest.fixture(params=["whole", "fragmented"])
def flights(request, folder) -> Flights:
    pki = TrialPki(folder)
    return Flights(pki, 1200) if request.param == "whole" else Flights(with_long_chains(pki), 256)


class World:
    """One server role, and for each handshake a client role with a path of its own."""

    def __init__(self, start, flights: Flights, chronyd, **timing: str) -> None:
        self._start, self._flights, self._timing = start, flights, timing
        self.mtu = flights.mtu
        self.server: Gateway = start(self._tunnel(server_tunnel(chronyd.text(), flights.pki.server())), name="server",
                                     limits=LIMITS)
        self._clients = 0

    def _tunnel(self, tunnel, **more: object):
        return tunnel | {"channel": "dtls", "dtls": {"mtu": self.mtu}, "timing": self._timing} | more

    def path(self, stack: contextlib.ExitStack, seed: int | None = None) -> UdpPath:
        return stack.enter_context(UdpPath(self.server.address(), seed))

    def open_all(self, paths: list[UdpPath]) -> Gateway:
        """One client role for each path; all of them try at once, and READY means that each has tried."""
        self._clients += 1
        tunnels = [self._tunnel(client_tunnel(path.where, self._flights.pki.client()), name=f"p{number}")
                   for number, path in enumerate(paths)]
        return self._start(*tunnels, name=f"client{self._clients}")

    def datagrams(self) -> dict[str, int]:
        """Of an undisturbed handshake in each direction; a slow machine may see more, never less."""
        counts = []
        for _ in range(3):
            with contextlib.ExitStack() as stack:
                path = self.path(stack)
                client = self.open_all([path])
                report = path.report()
                counts.append({direction: report[direction]["number"] for direction in DIRECTIONS})
                assert_opened(client, 1)
                client.finish()
        return {direction: min(each[direction] for each in counts) for direction in DIRECTIONS}


def assert_opened(client: Gateway, count: int) -> None:
    """Each tunnel's first attempt succeeded."""
    for number in range(count):
        channels = client.counters(f"p{number}")["channels"]
        assert channels["opened"] == 1 and not channels["failed"], (number, channels, client.err[-20:])


def assert_usable(client: Gateway, count: int) -> None:
    for number in range(count):
        with ntp.Client(client.address(f"p{number}")) as asker:
            assert eventually(lambda asker=asker: asker.ask(0.5), f"an answer through path {number}")
            assert not asker.heard.wrong


def walk(world: World, cases: list[tuple[str, int, str]]) -> None:
    """One handshake for each case; all of a batch at once."""
    with contextlib.ExitStack() as stack:
        paths = [world.path(stack) for _ in cases]
        for path, (direction, number, act) in zip(paths, cases):
            path.hook(direction, number, act, LATE)
        client = world.open_all(paths)
        assert_opened(client, len(paths))
        assert_usable(client, len(paths))
        for path, case in zip(paths, cases):
            report = path.report()
            assert report[case[0]]["hooked"] == 1, f"{case} never met its datagram"
            for direction in DIRECTIONS:
                assert report[direction]["largest"] <= world.mtu - IPV4_AND_UDP, (direction, report)
        client.finish()


def test_any_one_datagram_may_be_disturbed(flights, start, chronyd):
    world = World(start, flights, chronyd)
    datagrams = world.datagrams()
    # ClientHello twice and the client's flight; HelloVerifyRequest, the server's flight and its Finished.
    least = {1200: 3, 256: 8}[flights.mtu]
    assert all(count >= least for count in datagrams.values()), datagrams
    cases = [(direction, number, act) for direction in DIRECTIONS
             for number in range(1, datagrams[direction] + 1) for act in ACTS]
    for at in range(0, len(cases), AT_ONCE):
        walk(world, cases[at:at + AT_ONCE])
    counted = world.server.finish()["server"]["listener"]
    # A late or repeated ClientHello begins nothing beside the channel it belongs to; one that comes after that channel's
    # end is as good as new, and its handshake runs out of time.
    assert counted["opened"] == len(cases) + 3 and not counted["refused"], counted
    assert set(counted["failed"]) <= {"handshake_timeout"}, counted


def test_no_datagram_is_longer_than_the_mtu(folder, start, chronyd):
    """With each mtu of a range other messages come to stand at the end of a datagram, where a Finished may not fit."""
    pki = with_long_chains(TrialPki(folder))
    mtus = {f"mtu{mtu}": mtu for mtu in range(256, 256 + 48)}
    server = start(*[server_tunnel(chronyd.text(), pki.server(), name=name, channel="dtls", dtls={"mtu": mtu})
                     for name, mtu in mtus.items()], name="server", limits=LIMITS)
    with contextlib.ExitStack() as stack:
        paths = {name: stack.enter_context(UdpPath(server.address(name))) for name in mtus}
        client = start(*[client_tunnel(paths[name].where, pki.client(), name=name, channel="dtls", dtls={"mtu": mtu})
                         for name, mtu in mtus.items()], name="client")
        assert {record["tunnel"] for record in client.events("channel_opened")} == set(mtus)
        for name, mtu in mtus.items():
            report = paths[name].report()
            for direction in DIRECTIONS:
                assert report[direction]["largest"] <= mtu - IPV4_AND_UDP, (mtu, direction, report)
        client.finish()
    server.finish()


def test_one_datagram_in_five_may_be_lost(flights, start, chronyd):
    world = World(start, flights, chronyd, handshake="30s")
    with contextlib.ExitStack() as stack:
        paths = [world.path(stack, seed) for seed in range(100, 100 + AT_ONCE)]
        for path in paths:
            path.set(loss=0.2)
        client = world.open_all(paths)
        client.wait_until(lambda: len({each["tunnel"] for each in client.events("channel_opened")}) == len(paths),
                          "every channel", 30)
        lost = sum(path.report()[direction]["lost"] for path in paths for direction in DIRECTIONS)
        assert lost > len(paths) / 2, lost
        for path in paths:
            path.set()
        assert_usable(client, len(paths))
        # Two lost pings in a row end a channel, which then is opened again; no handshake may fail.
        assert not client.events("channel_failed"), client.events("channel_failed")
        client.finish()
    world.server.finish()


def test_time_gets_through_a_network_that_loses_a_fifth(start, trial_pki, network: Network, supervisor, folder):
    """Everything is lost alike here: the handshake, the questions, the pings, and NTP itself on its way to us."""
    network.lose(0.2)
    chronyd = Chronyd(supervisor, folder / "chronyd", network.prefix).serve()
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), channel="dtls"), name="server",
                   prefix=network.prefix)
    client = start(client_tunnel(server.listen(), trial_pki.client(), channel="dtls"), name="client",
                   prefix=network.prefix)
    own = network.socket(socket.SOCK_DGRAM, "127.0.0.1")
    with Prober(client.address(), own=own) as prober:
        eventually(lambda: prober.answered_since(0) >= 30, "answers", 20)
    assert not prober.heard.wrong
    for answer in prober.heard.answers:
        assert answer.waited <= 1.0 and abs(answer.offset) <= answer.delay / 2 + 0.0005, answer
    client.finish()
    server.finish()
