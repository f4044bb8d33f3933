"""The bad networks that other tests rely on: they lose, hold back, repeat and turn round what they say, and no more."""

from __future__ import annotations

import contextlib
import socket
import time

import pytest

from support import ntp
from support.impairment import TCP, UDP, Link, UdpPath
from support.netns import Network
from support.processes import eventually
from support.upstream import Daemon


def udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    made.settimeout(5)
    return made


def receive(sink: socket.socket, count: int) -> list[int]:
    """The numbers in the next `count` datagrams; a test that waits for too many fails."""
    return [int(sink.recv(2048)) for _ in range(count)]


def settled(path, direction: str, count: int) -> dict[str, object]:
    """The report once the path has let go of everything that it was given."""
    def done():
        report = path.report()[direction]
        gone = report["sent"] + report["lost"] + report["overflowed"] + report["hooked_away"]
        return report if report["received"] == count and gone == count + report["duplicated"] else None

    return eventually(done, f"{count} datagrams to settle")


@pytest.fixture
def ends():
    """A client socket, a server socket, and the path between them."""
    with udp() as client, udp() as server, UdpPath(server.getsockname(), seed=11) as path:
        client.connect(path.address)
        yield client, server, path


def survivors(seed: int, **impairment: float) -> list[int]:
    with udp() as client, udp() as server, UdpPath(server.getsockname(), seed) as path:
        client.connect(path.address)
        path.set("up", **impairment)
        for number in range(200):
            client.send(b"%d" % number)
        report = settled(path, "up", 200)
        assert report["flows"]["0"] == {"received": 200, "dropped": report["lost"]}, report
        return receive(server, report["sent"])


def test_a_seed_loses_the_same_datagrams_again():
    first = survivors(5, loss=0.3)
    assert first == sorted(first) and 90 < len(first) < 190
    assert survivors(5, loss=0.3, jitter=0.002) == first
    assert survivors(6, loss=0.3) != first


@pytest.mark.parametrize(("act", "expected"), [
    ("drop", [1, 2, 4, 5]), ("duplicate", [1, 2, 3, 3, 4, 5]), ("swap", [1, 2, 4, 3, 5]), ("delay", [1, 2, 4, 5, 3])])
@pytest.mark.parametrize("direction", ["up", "down"])
def test_one_datagram_is_acted_upon(direction, act, expected, ends):
    client, server, path = ends
    client.send(b"0")
    source = server.recvfrom(16)[1]
    path.renumber()
    path.hook(direction, 3, act, 0.1)
    for number in range(1, 6):
        client.send(b"%d" % number) if direction == "up" else server.sendto(b"%d" % number, source)
    assert receive(server if direction == "up" else client, len(expected)) == expected
    assert path.report()[direction]["hooked"] == 1


def test_nothing_comes_earlier_than_told(ends):
    client, server, path = ends
    path.set("up", delay=0.03, jitter=0.02)
    path.set("down", delay=0.01)
    for number in range(20):
        sent = time.monotonic()
        client.send(b"%d" % number)
        data, source = server.recvfrom(16)
        turned = time.monotonic()
        server.sendto(data, source)
        assert client.recv(16) == data
        assert turned - sent >= 0.03 and time.monotonic() - turned >= 0.01


def test_a_slow_path_spaces_datagrams_and_drops_the_rest(ends):
    client, server, path = ends
    path.set("up", rate=80_000, queue=4)
    began = time.monotonic()
    for number in range(10):
        client.send(b"%-100d" % number)
    report = settled(path, "up", 10)
    assert report["overflowed"] == 10 - report["sent"] > 0
    assert receive(server, report["sent"])[:4] == [0, 1, 2, 3]
    assert time.monotonic() - began >= 0.01 * report["sent"]


def test_a_rebound_client_has_another_port(ends):
    client, server, path = ends
    client.send(b"1")
    data, before = server.recvfrom(16)
    path.rebind()
    server.sendto(b"lost with the mapping", before)
    client.send(b"2")
    data, after = server.recvfrom(16)
    assert data == b"2" and after != before
    server.sendto(b"3", after)
    assert client.recv(16) == b"3"


def test_clients_do_not_get_each_others_answers(ends):
    client, server, path = ends
    with udp() as other:
        other.connect(path.address)
        other.send(b"other")
        client.send(b"client")
        for _ in range(2):
            server.sendto(*server.recvfrom(16))
        assert (client.recv(16), other.recv(16)) == (b"client", b"other")


def test_a_client_may_inherit_the_port_of_another(ends):
    client, server, path = ends
    client.send(b"1")
    _, before = server.recvfrom(16)
    with udp() as heir:
        heir.connect(path.address)
        path.hand_over()
        heir.send(b"2")
        assert server.recvfrom(16) == (b"2", before)
        server.sendto(b"3", before)
        assert heir.recv(16) == b"3"


def test_what_it_does_not_understand_is_refused():
    with udp() as server, UdpPath(server.getsockname()) as path:
        for wrong in ({"los": 1}, {"loss": "much"}):
            with pytest.raises(AssertionError):
                path.set("up", **wrong)
        with pytest.raises(AssertionError):
            path.hook("up", 1, "explode")


def test_a_link_loses_tcp_segments_and_tcp_brings_them_again(link: Link):
    link.set(loss=0.1, delay=0.002)
    payload = bytes(range(256)) * 2000
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(link.right.socket(socket.SOCK_STREAM, Link.RIGHT))
        near = stack.enter_context(link.left.socket(socket.SOCK_STREAM, Link.LEFT))
        listener.listen()
        for each in (listener, near):
            each.settimeout(30)
        near.connect(listener.getsockname())
        far = stack.enter_context(listener.accept()[0])
        far.settimeout(30)
        got = bytearray()
        for at in range(0, len(payload), 16384):
            near.sendall(payload[at:at + 16384])
            while len(got) < min(at + 16384, len(payload)):
                got += far.recv(65536)
        assert got == payload
    up = link.report()["up"]
    assert up["flows"][TCP]["dropped"] == up["lost"] > 0, up


def test_an_asymmetric_link_shows_as_half_of_the_asymmetry(link: Link):
    """NTP's blind spot, and so the proof that both directions hold what they say."""
    link.set("up", delay=0.03)
    link.set("down", delay=0.01)
    own = link.right.socket(socket.SOCK_DGRAM, Link.RIGHT)
    with Daemon(own=own) as daemon, ntp.Client(daemon.address, own=link.left.socket(socket.SOCK_DGRAM,
                                                                                    Link.LEFT)) as client:
        answers = [client.ask() for _ in range(10)]
    assert all(answers)
    for answer in answers:
        assert answer.delay >= 0.04
        assert abs(answer.offset - 0.01) <= (answer.delay - 0.04) / 2 + 1e-5, answer
    assert link.report()["down"]["flows"][UDP] == {"received": 10, "dropped": 0}


def test_a_network_loses_a_share_of_what_arrives(network: Network):
    network.lose(0.2)
    with network.socket(socket.SOCK_DGRAM, "127.0.0.1") as sink, network.socket(socket.SOCK_DGRAM,
                                                                                "127.0.0.1") as source:
        sink.setblocking(False)
        arrived = 0
        for number in range(2000):
            source.sendto(b"%d" % number, sink.getsockname())
            with contextlib.suppress(BlockingIOError):
                sink.recv(16)
                arrived += 1
    assert 1600 - 90 < arrived < 1600 + 90  # five standard deviations
