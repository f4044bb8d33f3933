"""NTS with the daemons that have it: chronyd and NTPsec as clients of the front, and as servers of the sidecar."""

from __future__ import annotations

import re

import pytest

from support import ntp
from support.daemons import Chronyd, chronyd_as, free_tcp_port, wait_for_tcp
from support.gateway import query
from support.nts import UNLIMITED, front, port_of, sidecar
from support.ntpsec import Ntpsec, unpack
from support.processes import Process, eventually, run


@pytest.fixture(scope="session")
def ntpsec_root(tmp_path_factory):
    return unpack(tmp_path_factory.mktemp("ntpsec") / "package")


def chronyd_once(pki, ntp_port: int, ke_port: int, *more: str):
    return run(["/usr/sbin/chronyd", *chronyd_as(False), "-Q", "-t", "8",
                f"server localhost port {ntp_port} nts ntsport {ke_port} iburst maxsamples 1",
                f"ntstrustedcerts {pki.ca}", *more])


def nts_chronyd(supervisor, folder, pki, **more) -> tuple[Chronyd, int]:
    """A chronyd that serves NTS on a port of its own."""
    ke_port = free_tcp_port()
    daemon = Chronyd(supervisor, folder / "nts-chronyd")
    daemon.serve(0, f"ntsport {ke_port}", f"ntsserverkey {pki.server_key}", f"ntsservercert {pki.server_certificate}",
                 f"ntsdumpdir {daemon.folder}", "ntsprocesses 0", *more.get("lines", ()))
    wait_for_tcp(ke_port)
    return daemon, ke_port


def test_chronyd_asks_the_front_before_a_chronyd_without_nts(start, folder, chronyd, trial_pki):
    server = start(front(trial_pki, chronyd.text(), {"keys": str(folder / "nts.keys")}), limits=UNLIMITED)
    ntp_port, ke_port = port_of(server)
    done = chronyd_once(trial_pki, ntp_port, ke_port)
    wrong_by = re.search(r"System clock wrong by (-?[0-9.]+) seconds", done.stderr)
    assert done.returncode == 0 and wrong_by and abs(float(wrong_by.group(1))) < 0.01, done.stderr
    server.wait_event("ke_succeeded", outcome="success")
    counted = server.finish()["front"]
    assert counted["replies"]["forwarded"] >= 1 and counted["key-establishment"]["established"] == 1, counted


def test_a_chronyd_that_stays_keeps_eight_cookies(start, supervisor, folder, chronyd, trial_pki):
    server = start(front(trial_pki, chronyd.text(), {"keys": str(folder / "nts.keys")}), limits=UNLIMITED)
    ntp_port, ke_port = port_of(server)
    client = Chronyd(supervisor, folder / "client").follow(
        f"server localhost port {ntp_port} nts ntsport {ke_port} minpoll -4 maxpoll -4", f"ntstrustedcerts {trial_pki.ca}")
    server.wait_counters(lambda counted: counted["replies"]["forwarded"] > 20, "20 replies", timeout=20)

    def authentication() -> list[str]:
        rows = client.ask("-N", "authdata")
        return rows[0] if rows and rows[0][1] == "NTS" else []

    # Name, mode, key id, type, length, last, attempts, NAK, cookies, cookie length
    row = eventually(lambda: authentication() if authentication()[8:9] == ["8"] else None, "eight cookies")
    assert row[3] == "15" and row[7] == "0" and row[9] == "104", row
    assert server.counters()["key-establishment"]["established"] == 1
    server.finish()


def test_the_sidecar_asks_chronyd(start, supervisor, folder, trial_pki):
    _, ke_port = nts_chronyd(supervisor, folder, trial_pki)
    client = start(sidecar(trial_pki, f"localhost:{ke_port}"), limits=UNLIMITED)
    for version in (1, 2, 3, 4):
        answer = ntp.ask_with(client.address(), ntp.request(version=version, poll=9))
        assert answer is not None, version
        assert (answer.packet.version, answer.packet.poll, answer.packet.stratum) == (version, 9, 3), answer
        assert answer.packet.tail == b"" and abs(answer.offset) < 0.01, answer
    for _ in range(20):  # more than there were cookies at first: each reply brings another
        assert ntp.ask(client.address()) is not None
    opened = client.wait_event("channel_opened")
    assert opened["suite"] == "AES-SIV-CMAC-256", opened
    assert len(client.events("ke_succeeded")) == 1
    counted = client.finish()["sidecar"]
    assert counted["replies"]["forwarded"] == 24 and not counted["replies"]["drops"], counted


def test_ntpsec_asks_the_front_and_serves_the_sidecar(start, supervisor, folder, network, ntpsec_root, trial_pki):
    ntpd = Ntpsec(supervisor, ntpsec_root, folder / "ntpsec", network.prefix)
    config = ntpd.folder / "ntpd.conf"
    config.write_text("\n".join([
        f"driftfile {ntpd.folder}/drift", "refclock local unit 0 stratum 3 minpoll 3 maxpoll 3",
        "tos minsane 1 orphanwait 1", "nts enable", f"nts key {trial_pki.server_key} cert {trial_pki.server_certificate}",
        f"nts cookie {ntpd.folder}/cookies", f"nts ca {trial_pki.ca}",
        f"server localhost:14460 nts ca {trial_pki.ca} minpoll 3 maxpoll 3 iburst noselect", ""]))
    server = start(front(trial_pki, {"clock": {"free-running": True}},
                         {"ke-listen": "127.0.0.1:14460", "keys": str(folder / "nts.keys")}, listen="127.0.0.1:11123"),
                   name="front", prefix=network.prefix, limits=UNLIMITED)
    command = ["setpriv", "--bounding-set=-sys_time,-sys_resource", str(ntpd.program), "-n", "-c", str(config), "-p",
               f"{ntpd.folder}/ntpd.pid"]
    supervisor.add(Process(command, "ntpd", network.prefix))
    server.wait_event("ke_succeeded", timeout=60)
    server.wait_counters(lambda counted: counted["replies"]["forwarded"] > 3, "replies to ntpd", timeout=60)
    assert not server.counters()["requests"]["drops"], server.counters()
    client = start(sidecar(trial_pki, "localhost:4460", listen="127.0.1.2:1123"), name="sidecar", prefix=network.prefix,
                   limits=UNLIMITED)

    def said() -> dict[str, object]:
        code, document = query("ntp://127.0.1.2:1123", "-n", "1", "--timeout", "2s", prefix=network.prefix)
        return document if code == 0 else {}

    document = eventually(said, "the first answer of NTPsec, which takes its time to trust its own clock", 60, 0.5)
    assert abs(document["offset"]) < 0.01, document
    client.wait_event("channel_opened")
    client.finish()
    server.finish()


def test_ntpdate_asks_through_the_sidecar(start, supervisor, folder, network, trial_pki):
    ke_port = 14460
    daemon = Chronyd(supervisor, folder / "nts-chronyd", network.prefix)
    daemon.serve(11123, f"ntsport {ke_port}", f"ntsserverkey {trial_pki.server_key}",
                 f"ntsservercert {trial_pki.server_certificate}", "ntsprocesses 0")
    start(sidecar(trial_pki, f"localhost:{ke_port}", listen="127.0.0.2:123"), prefix=network.prefix, limits=UNLIMITED)
    done = run(["/usr/sbin/ntpdate", "-q", "127.0.0.2"], network.prefix, 30)
    assert done.returncode == 0 and "127.0.0.2" in done.stdout, (done.stdout, done.stderr)


@pytest.mark.measures
@pytest.mark.parametrize("upstream", ["daemon", "mirror"])
def test_front_and_sidecar_together(start, folder, chronyd, trial_pki, upstream):
    behind = chronyd.text() if upstream == "daemon" else {"mirror": chronyd.text()}
    server = start(front(trial_pki, behind, {"keys": str(folder / "nts.keys")}), name="front", limits=UNLIMITED)
    _, ke_port = port_of(server)
    client = start(sidecar(trial_pki, f"localhost:{ke_port}"), name="sidecar", limits=UNLIMITED)
    answer = eventually(lambda: ntp.ask(client.address(), 0.5), "an answer", 10)
    assert answer.packet.stratum == 3 and abs(answer.offset) < 0.005, answer
    code, document = query(f"nts://localhost:{ke_port}", "--ca", trial_pki.ca, "-n", "1")
    assert code == 0 and document["channel"] == "nts" and abs(document["offset"]) < 0.005, document
    client.finish()
    server.finish()
