"""A thousand DTLS channels of one server role on its one socket, at once, each of which carries time."""

from __future__ import annotations

import resource

import pytest

from support import ntp
from support.gateway import client_tunnel, server_tunnel
from support.processes import eventually

THOUSAND = 1000
TUNNELS = 250  # of one configuration; 256 are the most


@pytest.fixture(autouse=True)
def enough_descriptors():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_thousand_channels_at_once(start, trial_pki, chronyd):
    """All from one address: the limit for each source is lifted, those for channels and half-open ones are not."""
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), channel="dtls"), name="server",
                   limits={"handshakes-per-second-per-source": 0})
    names = [f"client{number}" for number in range(THOUSAND)]
    clients = {name: start(*[client_tunnel(server.listen(), trial_pki.client(), channel="dtls", name=each)
                             for each in names[at:at + TUNNELS]], name=name)
               for at, name in ((at, names[at]) for at in range(0, THOUSAND, TUNNELS))}
    eventually(lambda: server.counters()["listener"]["opened"] >= THOUSAND, "a thousand channels", 60, every=0.5)
    for at in range(0, THOUSAND, TUNNELS):
        for name in names[at:at + TUNNELS]:
            with ntp.Client(clients[names[at]].address(name)) as asker:
                assert asker.ask(2.0), name
    counted = server.finish()["server"]
    assert counted["exchanges"]["answered"] == THOUSAND, counted
    assert not counted["listener"]["failed"] and not counted["listener"]["refused"], counted
    for client in clients.values():
        client.finish()
