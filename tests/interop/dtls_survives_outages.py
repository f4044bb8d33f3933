"""A path that takes everything, or brings it late: the peer is given up, nothing late is delivered, time comes back."""

from __future__ import annotations

import time

import pytest

from support.gateway import client_tunnel, server_tunnel
from support.impairment import UdpPath
from support.prober import Prober
from support.processes import eventually

BACK_WITHIN = 4.0  # the back-off of a client that asks all the time is a second at most; and what is late comes first
MAX_ROUND_TRIP = 1.0
OUTAGES = {"lost": {"loss": 1.0}, "late": {"delay": 1.5}}


@pytest.mark.parametrize("outage", OUTAGES)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_an_outage_is_noticed_and_forgiven(direction, outage, start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), channel="dtls"), name="server")
    with UdpPath(server.address()) as path:
        client = start(client_tunnel(path.where, trial_pki.client(), channel="dtls"), name="client")
        with Prober(client.address()) as prober:
            eventually(lambda: prober.answered_since(0) >= 10, "the first answers")
            path.set(direction, **OUTAGES[outage])
            client.wait_event("channel_closed", reason="dead_peer", timeout=5)
            path.set(direction)
            healed = time.monotonic()
            eventually(lambda: prober.answered_since(healed) >= 10, "answers after the outage", BACK_WITHIN)
        assert not prober.heard.wrong, prober.heard.wrong[:3]
        for answer in prober.heard.answers:
            assert answer.waited <= MAX_ROUND_TRIP and abs(answer.offset) <= answer.delay / 2 + 0.0005, answer
        client.finish()
    server.finish()
