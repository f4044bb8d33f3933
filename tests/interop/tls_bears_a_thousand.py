"""A thousand clients of one client role, a thousand channels of one server role, at once, within the default limits."""

from __future__ import annotations

import contextlib
import resource
import selectors
import time

import pytest

from support import ntp
from support.frames import FrameClient
from support.garbage import batches
from support.gateway import client_tunnel, server_tunnel, total
from support.processes import eventually, held_connections
from support.tls import Peer
from support.upstream import Daemon

# Alone on the machine: what is late is dropped, as it has to be, and on a busy one that is some of a thousand.
pytestmark = pytest.mark.measures
THOUSAND = 1000
FEW = 10
"""Of three thousand datagrams, on a path and through a kernel that promise none."""
PATIENT = {"max-age": "900ms", "max-round-trip": "4s"}
KERNEL_HOLDS = 100
"""Datagrams a socket takes under the default rmem_max while its owner does not run."""


@pytest.fixture(autouse=True)
def descriptors():
    """Our own side needs them too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard == resource.RLIM_INFINITY or hard >= 2 * THOUSAND, hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 2 * THOUSAND), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def source(number: int) -> str:
    """Each client has an address of its own, as each machine of a site has."""
    return f"127.7.{number // 250}.{1 + number % 250}"


def answered(askers: list[ntp.Client]) -> int:
    for asker in askers:
        if asker.open:
            asker.receive(0)
    return sum(1 for asker in askers if not asker.open)


@pytest.mark.usefixtures("any_channel")
def test_a_thousand_local_clients_at_once(start, trial_pki):
    held = []
    with Daemon(lambda daemon, data, asker: held.append((data, asker))) as daemon, contextlib.ExitStack() as stack:
        server = start(server_tunnel(daemon.text(), trial_pki.server(), timing=PATIENT), name="server")
        client = start(client_tunnel(server.listen(), trial_pki.client(), timing=PATIENT), name="client")
        askers = [stack.enter_context(ntp.Client(client.address(), source(each))) for each in range(THOUSAND)]
        for batch in batches(THOUSAND, 50):
            for number in batch:
                askers[number].send()
            eventually(lambda upto=batch.stop: len(held) == upto, f"{batch.stop} requests at the daemon", 3)
        assert client.counters()["exchanges"]["open"] == THOUSAND
        for batch in batches(THOUSAND, 50):
            for data, asker in held[batch.start:batch.stop]:
                daemon.say(ntp.honest_reply(ntp.Packet.decode(data)).encode(), asker)
            eventually(lambda upto=batch.stop: answered(askers) == upto, f"{batch.stop} answers", 3)
        assert not any(asker.heard.wrong for asker in askers)
        assert client.finish()["client"]["exchanges"]["answered"] == THOUSAND
        server.finish()


@pytest.mark.usefixtures("any_channel")
def test_a_thousand_clients_keep_asking_a_real_daemon(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), timing=PATIENT), name="server")
    client = start(client_tunnel(server.listen(), trial_pki.client(), timing=PATIENT), name="client")
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as ready:
        askers = [stack.enter_context(ntp.Client(client.address(), source(each))) for each in range(THOUSAND)]
        for asker in askers:
            ready.register(asker.socket, selectors.EVENT_READ, asker)
        for _ in range(3):
            for batch in batches(THOUSAND, 20):
                for number in batch:
                    askers[number].send()
                await_at_most_open(KERNEL_HOLDS, askers, ready)
        deadline = time.monotonic() + 3  # after it nothing may come any more
        while any(asker.open for asker in askers) and time.monotonic() < deadline:
            for key, _ in ready.select(0.01):
                key.data.receive(0)
        await_at_most_open(FEW, askers, ready)
        for asker in askers:  # whoever got no answer asks again, as clients do
            if asker.open:
                asker.open.clear()
                asker.send()
        await_at_most_open(0, askers, ready)
        assert not any(asker.heard.wrong for asker in askers)
    assert client.finish()["client"]["exchanges"]["answered"] >= 3 * THOUSAND - FEW
    server.finish()


def await_at_most_open(most: int, askers: list[ntp.Client], ready: selectors.BaseSelector) -> None:
    """A head-end that gets no processor for a while must not lose what only the kernel holds for it."""
    deadline = time.monotonic() + 3
    while (still := sum(len(asker.open) for asker in askers)) > most:
        assert time.monotonic() < deadline, f"{still} unanswered"
        for key, _ in ready.select(0.01):
            key.data.receive(0)


def test_a_thousand_channels_at_once(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server()), limits={"handshakes-per-second-per-source": 0})
    context = Peer(trial_pki.ca, (trial_pki.client_certificate, trial_pki.client_key)).context(server=False)
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(FrameClient(context, server.address())) for _ in range(THOUSAND)]
        for batch in batches(THOUSAND, 50):
            for number in batch:
                peers[number].request(ntp.request().encode())
            replies = [peers[number].receive(3) for number in batch]
            assert all(reply is not None and reply.kind == 2 for reply in replies)
        channels = server.counters()["channels"]
        assert channels["opened"] == THOUSAND, channels
    server.wait_counters(lambda now: total(now["channels"]["closed"]) == THOUSAND, "all closed", timeout=10)
    eventually(lambda: held_connections(server.address()[1]) == 0, "connections given back")
    assert server.finish()["server"]["exchanges"]["answered"] == THOUSAND
