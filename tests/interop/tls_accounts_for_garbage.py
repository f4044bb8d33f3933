"""Ten thousand wrong inputs at each door: nothing dies, nothing grows, and each is counted exactly once."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest

from support import ntp
from support.frames import Connection, Frame, FrameClient, framed
from support.garbage import Garbage, batches, client_hello
from support.gateway import Gateway, client_tunnel, server_tunnel, total
from support.processes import eventually, held_connections
from support.tls import Peer
from support.upstream import Address, Daemon

COUNT = 10_000
SEED = 20240229
PER_QUESTION = 25
GROWTH = 4 << 20  # octets; an input kept for ever would be ten megabytes and more
# Sessions that are open at once leave the allocator with pools of their size; one kept for ever would be 200 megabytes.
SESSION_GROWTH = 32 << 20
UNLIMITED = {"exchanges-per-client": 0, "requests-per-second-per-client": 0, "handshakes-per-second-per-source": 0}


class Steady:
    """Memory before and after; used around the second half, when every pool has its size."""

    def __init__(self, process: Gateway, growth: int = GROWTH) -> None:
        self._process = process
        self._growth = growth
        self._resident = process.resident()

    def check(self) -> None:
        assert self._process.alive()
        assert self._process.resident() - self._resident < self._growth


def kernel_drops(port: int) -> int:
    """Datagrams that the kernel threw away since the socket's buffer was full."""
    rows = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    return sum(int(row.split()[-1]) for row in rows if row.split()[1] == f"0100007F:{port:04X}")


@pytest.fixture
def pair(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), name="server", limits=UNLIMITED)
    client = start(client_tunnel(server.listen(), trial_pki.client()), name="client", limits=UNLIMITED)
    return server, client


@pytest.mark.usefixtures("any_channel")
def test_datagrams_at_the_client_role(pair):
    server, client = pair
    garbage = Garbage(SEED)
    steady = None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for batch in batches(COUNT, 20):
            if batch.start == COUNT // 2:
                steady = Steady(client)
            for _ in batch:
                sender.sendto(garbage.request(), client.address())
            time.sleep(0.002)
        lost = kernel_drops(client.address()[1])
        client.wait_counters(lambda now: now["requests"]["received"] + lost == COUNT
                             and now["exchanges"]["open"] == 0, f"{COUNT - lost} received and no exchange open")
    steady.check()
    assert ntp.ask(client.address()) is not None
    counted = client.finish()["client"]
    reasons = {reason for reason, count in counted["requests"]["drops"].items() if count}
    assert {"too_short", "too_long", "bad_mode", "bad_version"} <= reasons, counted
    server.finish()


def test_streams_at_the_server_role(frame_peers, pair):
    server, client = pair
    garbage, opening = Garbage(SEED), frame_peers.opening()
    steady = None
    for batch in batches(COUNT, 100):
        if batch.start == COUNT // 2:
            steady = Steady(server, SESSION_GROWTH)
        throw(server.address(), [garbage.stream(opening) for _ in batch])
    server.wait_counters(lambda now: now["listener"]["accepted"] == COUNT + 1 and now["listener"]["pending"] == 0,
                         "every stream judged", timeout=20)
    steady.check()
    eventually(lambda: held_connections(server.address()[1]) == 1, "all but the client role's connection given back")
    assert ntp.ask(client.address()) is not None
    client.finish()
    listener = server.finish()["server"]["listener"]
    assert listener["opened"] == 1 and total(listener["failed"]) == COUNT, listener


def throw(address: Address, streams: list[bytes]) -> None:
    """One connection each, all open at once; every second one ends in a reset."""
    with contextlib.ExitStack() as stack:
        for number, data in enumerate(streams):
            peer = stack.enter_context(socket.create_connection(address, 5))
            if number % 2:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                peer.sendall(data)
                peer.shutdown(socket.SHUT_WR)


def test_frames_inside_an_authenticated_channel(frame_peers, pair):
    server, client = pair
    garbage = Garbage(SEED)
    steady, sent, channels = None, 0, 0
    while sent < COUNT:
        if steady is None and sent >= COUNT // 2:
            steady = Steady(server)
        channels += 1
        with frame_peers.client(server) as peer, contextlib.suppress(OSError):
            for _ in range(100):
                peer.send(garbage.framed(garbage.request_frame()))
                sent += 1
            while peer.receive(0.02) is not None:
                pass
    server.wait_counters(lambda now: now["exchanges"]["open"] == 0 and now["listener"]["pending"] == 0, "all judged")
    steady.check()
    assert ntp.ask(client.address()) is not None
    client.finish()
    counted = server.finish()["server"]
    assert counted["requests"]["received"] > COUNT // 2, counted
    assert counted["channels"]["opened"] == channels + 1, counted


def test_frames_from_a_far_end(start, trial_pki, frame_peers):
    garbage = Garbage(SEED)
    answered: list[int] = []

    def answer(connection: Connection, asked: Frame) -> None:
        messages = [garbage.reply_frame(asked) for _ in range(PER_QUESTION)]
        connection.send(b"".join(framed((each + bytes(32))[:max(32, min(len(each), 1056))]) for each in messages))
        answered.append(asked.id)

    with frame_peers.server(answer) as far_end:
        client = start(client_tunnel(f"127.0.0.1:{far_end.address[1]}", trial_pki.client()), limits=UNLIMITED)
        ask_and_look(client, client, answered)
        counted = client.finish()["client"]
    assert counted["replies"]["received"] >= COUNT, counted


def ask_and_look(asked: Gateway, watched: Gateway, answered: list[int]) -> None:
    """COUNT / PER_QUESTION questions, each followed by its garbage; `watched` must be as lean afterwards."""
    with ntp.Client(asked.address()) as asker:
        for number in range(COUNT // PER_QUESTION):
            if number == COUNT // PER_QUESTION // 2:
                steady = Steady(watched)
            asker.send()
            eventually(lambda upto=number: len(answered) > upto, f"question {number} at the far end")
            asker.receive(0.002)
        while asker.receive(1.2) is not None:  # until the last exchange has ended
            pass
        # Some mutations leave an honest answer whole; but never two answers, nor one to nothing.
        assert not asker.heard.wrong
    steady.check()


@pytest.mark.usefixtures("any_channel")
def test_datagrams_from_the_daemon(start, trial_pki):
    garbage = Garbage(SEED)
    answered: list[int] = []

    def answer(daemon: Daemon, data: bytes, asker: Address) -> None:
        right = ntp.honest_reply(ntp.Packet.decode(data)).encode()
        for _ in range(PER_QUESTION):
            daemon.say(garbage.mutated(right), asker)
        answered.append(len(data))

    with Daemon(answer) as daemon:
        server = start(server_tunnel(daemon.text(), trial_pki.server()), name="server", limits=UNLIMITED)
        client = start(client_tunnel(server.listen(), trial_pki.client()), name="client", limits=UNLIMITED)
        ask_and_look(client, server, answered)
        client.finish()
        counted = server.finish()["server"]
    assert counted["replies"]["received"] == COUNT, counted


def test_a_peer_that_never_finishes_its_handshake_is_let_go(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), timing={"handshake": "300ms"}))
    with socket.create_connection(server.address(), 5) as peer:
        peer.sendall(client_hello()[:100])
        assert server.wait_event("channel_failed", reason="handshake_timeout")["peer"].startswith("127.0.0.1:")
        peer.settimeout(5)
        with contextlib.suppress(ConnectionResetError):
            assert peer.recv(100) == b""
    server.finish()


def test_a_peer_that_never_reads_is_let_go(start, trial_pki, chronyd):
    """Its answers must not pile up: neither in the head-end nor for the other peers."""
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), limits=UNLIMITED | {"exchanges-per-channel": 0})
    context = Peer(trial_pki.ca, (trial_pki.client_certificate, trial_pki.client_key)).context(server=False)
    with FrameClient(context, server.address()) as deaf, FrameClient(context, server.address()) as other:
        deaf.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        before = server.resident()
        deaf.socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError, ssl.SSLError, OSError):
            for _ in range(20_000):
                deaf.request(ntp.request().encode())
        assert server.resident() - before < GROWTH
        assert other.ask() is not None
    server.finish()
