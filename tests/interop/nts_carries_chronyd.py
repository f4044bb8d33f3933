"""The time of an unmodified chronyd through front and sidecar is the time that it tells directly: the criterion of
tls_carries_chronyd.py, for NTS."""

from __future__ import annotations

import pytest

from support import ntp
from support.daemons import Chronyd, free_tcp_port, wait_for_tcp
from support.nts import UNLIMITED, front, port_of, sidecar
from support.offsets import assert_same_median
from support.processes import eventually


@pytest.mark.measures
@pytest.mark.parametrize("pause", [0.002, 0.012], ids=["warm", "cold"])
@pytest.mark.parametrize("upstream", ["daemon", "mirror"])
def test_the_median_offset_through_front_and_sidecar_is_the_direct_one(start, folder, chronyd, trial_pki, upstream, pause):
    behind = chronyd.text() if upstream == "daemon" else {"mirror": chronyd.text()}
    server = start(front(trial_pki, behind, {"keys": str(folder / "nts.keys")}), name="front", limits=UNLIMITED)
    client = start(sidecar(trial_pki, f"localhost:{port_of(server)[1]}"), name="sidecar", limits=UNLIMITED)
    eventually(lambda: ntp.ask(client.address(), 0.5), "an answer")
    assert_same_median(chronyd.address, client.address(), pause)
    client.finish()
    server.finish()


@pytest.mark.measures
@pytest.mark.parametrize("pause", [0.002, 0.012], ids=["warm", "cold"])
def test_the_median_offset_through_the_sidecar_alone_is_the_direct_one(start, supervisor, folder, trial_pki, pause):
    ke_port = free_tcp_port()
    daemon = Chronyd(supervisor, folder / "nts-chronyd")
    daemon.serve(0, f"ntsport {ke_port}", f"ntsserverkey {trial_pki.server_key}",
                 f"ntsservercert {trial_pki.server_certificate}", "ntsprocesses 0")
    wait_for_tcp(ke_port)
    client = start(sidecar(trial_pki, f"localhost:{ke_port}"), limits=UNLIMITED)
    eventually(lambda: ntp.ask(client.address(), 0.5), "an answer")
    assert_same_median(daemon.address, client.address(), pause)
    client.finish()
