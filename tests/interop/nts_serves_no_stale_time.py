"""Behind a front stands a daemon: when that stops, loses its time or serves another time, no fresh-looking time is."""

from __future__ import annotations

import pytest

from support import ntp
from support.daemons import Chronyd
from support.nts import UNLIMITED, front, port_of, sidecar
from support.processes import eventually, free_port
from support.upstream import Daemon


def pair(start, folder, pki, upstream):
    server = start(front(pki, upstream, {"keys": str(folder / "nts.keys")}), name="front", limits=UNLIMITED)
    client = start(sidecar(pki, f"localhost:{port_of(server)[1]}"), name="sidecar", limits=UNLIMITED)
    return server, client


@pytest.mark.parametrize("form", ["daemon", "mirror"])
def test_a_daemon_that_stopped(start, folder, chronyd, trial_pki, form):
    upstream = chronyd.text() if form == "daemon" else {"mirror": chronyd.text()}
    server, client = pair(start, folder, trial_pki, upstream)
    assert eventually(lambda: ntp.ask(client.address(), 0.5), "an answer") is not None
    chronyd.kill()
    if form == "mirror":
        record = server.wait_event("mirror_invalid", timeout=20)
        assert record["reason"] == "missed", record
    assert ntp.ask(client.address(), 1.2) is None
    chronyd.start()
    assert eventually(lambda: ntp.ask(client.address(), 0.5), "time again", 30) is not None
    client.finish()
    server.finish()


@pytest.mark.parametrize("form", ["daemon", "mirror"])
def test_a_daemon_without_time(start, supervisor, folder, trial_pki, form):
    daemon = Chronyd(supervisor, folder / "lost")
    port = free_port()
    daemon.address = ("127.0.0.1", port)
    daemon.config.write_text(daemon._lines(f"port {port}", "bindaddress 127.0.0.1", "allow 127.0.0.0/8"))
    daemon.start()
    upstream = daemon.text() if form == "daemon" else {"mirror": daemon.text()}
    server, client = pair(start, folder, trial_pki, upstream)
    for _ in range(5):
        assert ntp.ask(client.address(), 0.3) is None
    if form == "mirror":
        assert server.wait_event("mirror_invalid")["reason"] == "unsynchronised"
    else:
        client.wait_counters(lambda counted: counted["replies"]["drops"].get("unsynchronised", 0) >= 3, "drops")


def test_a_mirror_of_a_daemon_that_serves_another_time_than_the_clock(start, folder, trial_pki):
    with Daemon() as daemon:
        daemon.offset = 0.005
        server, client = pair(start, folder, trial_pki, {"mirror": daemon.text()})
        record = server.wait_event("mirror_invalid")
        assert record["reason"] == "offset", record
        assert ntp.ask(client.address(), 1.2) is None
        server.wait_counters(lambda counted: counted["requests"]["drops"].get("mirror_invalid", 0) >= 1, "a drop")
        client.finish()
        server.finish()
