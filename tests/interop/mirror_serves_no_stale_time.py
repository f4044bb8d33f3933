"""`upstream: {mirror: ...}` behind every server role: answers from the system clock, for as long as the daemon agrees."""

from __future__ import annotations

import pytest

from support import ntp
from support.daemons import Chronyd
from support.gateway import client_tunnel, server_tunnel
from support.mac import Key, write_keys
from support.mac_tunnels import mac_client, mac_server
from support.nts import front, port_of, sidecar
from support.processes import eventually, free_port
from support.upstream import Daemon

UNLIMITED = {"requests-per-second-per-client": 0, "handshakes-per-second-per-source": 0}
EVERY_ROLE = pytest.mark.parametrize("channel", ["tls", "dtls", "ssh", "mac", "nts"])


@pytest.fixture
def pair(start, folder, trial_pki, session_keys):
    """Starts both roles with the given upstream: (server, client)."""

    def starter(channel: str, upstream: object):
        if channel == "nts":
            server = start(front(trial_pki, upstream, {"keys": str(folder / "nts.keys")}, name="server"),
                           name="server", limits=UNLIMITED)
            return server, start(sidecar(trial_pki, f"localhost:{port_of(server, 'server')[1]}", name="client"),
                                 name="client", limits=UNLIMITED)
        if channel == "mac":
            keys = write_keys(folder / "ntp.keys", [Key.new(7)])
            server = start(mac_server(upstream, keys, [7]), name="server", limits=UNLIMITED)
            return server, start(mac_client("client", server.listen(), keys, 7), name="client", limits=UNLIMITED)
        tunnels = (server_tunnel(upstream, trial_pki.server(), channel=channel), trial_pki.client())
        if channel == "ssh":
            del tunnels[0]["tls"]
            tunnels[0]["ssh"] = session_keys.server()
        server = start(tunnels[0], name="server", limits=UNLIMITED)
        client = client_tunnel(server.listen(), tunnels[1], channel=channel)
        if channel == "ssh":
            del client["tls"]
            client["ssh"] = session_keys.client()
        return server, start(client, name="client", limits=UNLIMITED)

    return starter


@EVERY_ROLE
def test_it_answers_from_the_clock_with_the_daemons_header(pair, chronyd, channel):
    server, client = pair(channel, {"mirror": chronyd.text()})
    answer = eventually(lambda: ntp.ask(client.address(), 0.5), "an answer")
    direct = ntp.ask(chronyd.address)
    assert (answer.packet.stratum, answer.packet.refid, answer.packet.leap) == (
        direct.packet.stratum, direct.packet.refid, direct.packet.leap), (answer, direct)
    assert abs(answer.offset) < 0.005, answer
    client.finish()
    server.finish()


@EVERY_ROLE
def test_a_daemon_that_stopped_ends_the_answers_until_it_is_back(pair, chronyd, channel):
    server, client = pair(channel, {"mirror": chronyd.text()})
    eventually(lambda: ntp.ask(client.address(), 0.5), "an answer")
    chronyd.kill()
    assert server.wait_event("mirror_invalid", timeout=20)["reason"] == "missed"
    assert ntp.ask(client.address(), 1.2) is None
    assert server.counters()["requests"]["drops"].get("mirror_invalid", 0) >= 1
    chronyd.start()
    assert eventually(lambda: ntp.ask(client.address(), 0.5), "time again", 30) is not None
    client.finish()
    server.finish()


@EVERY_ROLE
def test_a_daemon_without_time_is_not_mirrored(pair, supervisor, folder, channel):
    daemon = Chronyd(supervisor, folder / "lost")
    port = free_port()
    daemon.address = ("127.0.0.1", port)
    daemon.config.write_text(daemon._lines(f"port {port}", "bindaddress 127.0.0.1", "allow 127.0.0.0/8"))
    daemon.start()
    server, client = pair(channel, {"mirror": daemon.text()})
    assert server.wait_event("mirror_invalid")["reason"] == "unsynchronised"
    for _ in range(3):
        assert ntp.ask(client.address(), 0.3) is None
    client.finish()
    server.finish()


@EVERY_ROLE
def test_a_daemon_that_serves_another_time_than_the_clock_is_not_mirrored(pair, channel):
    with Daemon() as daemon:
        daemon.offset = 0.005
        server, client = pair(channel, {"mirror": daemon.text()})
        assert server.wait_event("mirror_invalid")["reason"] == "offset"
        assert ntp.ask(client.address(), 1.2) is None
        server.wait_counters(lambda counted: counted["requests"]["drops"].get("mirror_invalid", 0) >= 1, "a drop")
        daemon.offset = 0.0
        assert eventually(lambda: ntp.ask(client.address(), 0.5), "time again", 30) is not None
        client.finish()
        server.finish()
