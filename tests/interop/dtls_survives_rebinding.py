"""Addresses change hands: a NAT forgets its mapping, a client starts again on its old port. One handshake each."""

from __future__ import annotations

import time

from support import ntp
from support.gateway import client_tunnel, server_tunnel
from support.impairment import UdpPath
from support.prober import Prober
from support.processes import eventually

BACK_WITHIN = 3.0
MAX_ROUND_TRIP = 1.0


def test_a_client_that_gets_another_port_is_back_soon(start, trial_pki, chronyd):
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), channel="dtls"), name="server")
    with UdpPath(server.address()) as path:
        client = start(client_tunnel(path.where, trial_pki.client(), channel="dtls"), name="client")
        with Prober(client.address()) as prober:
            for times in range(1, 4):
                eventually(lambda: prober.answered_since(0) >= 10, "answers before the change")
                path.rebind()
                changed = time.monotonic()
                eventually(lambda since=changed: prober.answered_since(since) >= 5, "answers after the change",
                           BACK_WITHIN)
                assert len(client.events("channel_opened")) == 1 + times, "one change, one handshake"
        assert not prober.heard.wrong, prober.heard.wrong[:3]
        for answer in prober.heard.answers:
            assert answer.waited <= MAX_ROUND_TRIP and abs(answer.offset) <= answer.delay / 2 + 0.0005, answer
        peers = {record["peer"] for record in server.events("channel_opened")}
        assert len(peers) == 4, peers
        assert not client.finish()["client"]["channels"]["failed"]
    counted = server.finish()["server"]
    assert counted["listener"]["opened"] == 4 and not counted["listener"]["failed"], counted


def test_a_client_that_starts_again_on_its_old_port_takes_over(start, trial_pki, chronyd):
    """It was killed and could not say goodbye; for the server it is the same peer, and its old channel is in the way."""
    server = start(server_tunnel(chronyd.text(), trial_pki.server(), channel="dtls"), name="server")
    with UdpPath(server.address()) as path:
        tunnel = client_tunnel(path.where, trial_pki.client(), channel="dtls")
        for times in range(1, 4):
            client = start(tunnel, name=f"client{times}")
            with ntp.Client(client.address()) as asker:
                for _ in range(5):
                    assert eventually(asker.ask, "an answer")
                assert not asker.heard.wrong, asker.heard.wrong
            client.kill()
            assert len(client.events("channel_opened")) == 1 and not client.events("channel_failed")
            path.hand_over()
        peers = [record["peer"] for record in server.events("channel_opened")]
        assert len(peers) == 3 and len(set(peers)) == 1, peers
        assert len(server.events("channel_closed", reason="superseded")) == 2, server.events("channel_closed")
    assert not server.finish()["server"]["listener"]["failed"]
