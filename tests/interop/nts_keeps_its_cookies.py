"""Cookies and their keys over restarts, rotations and fleets: what was given once is taken later, and used once."""

from __future__ import annotations

import time
from pathlib import Path

from support import ntp
from support.daemons import Chronyd, free_tcp_port, wait_for_tcp
from support.nts import UNLIMITED, front, port_of, sidecar
from support.pki import SERVER, Authority, TrialPki
from support.processes import eventually, free_port

CLOCK = {"clock": {"free-running": True}}


def ask(client, timeout: float = 1.0):
    return ntp.ask(client.address(), timeout)


def fixed(pki, start, keys: dict[str, object], ports: tuple[int, int] | None = None, name: str = "front", **more):
    """A front, on the ports of an earlier one when given."""
    listens = {}
    if ports:
        keys = keys | {"ke-listen": f"127.0.0.1:{ports[1]}"}
        listens = {"listen": f"127.0.0.1:{ports[0]}"}
    return start(front(pki, CLOCK, keys, **listens, **more), name=name, limits=UNLIMITED)


def left_by_one_that_ended(pki, start, server, state: Path) -> tuple[dict[str, object], Path]:
    """A sidecar's tunnel, and the file with the cookies that its first process had left."""
    state.mkdir()
    tunnel = sidecar(pki, f"localhost:{port_of(server)[1]}", state)
    client = start(tunnel, name="first", limits=UNLIMITED)
    assert ask(client) is not None
    client.finish()
    return tunnel, state / "sidecar.0.nts"


def test_cookies_survive_a_restart_of_the_sidecar_and_are_deleted_when_loaded(start, folder, trial_pki):
    server = fixed(trial_pki, start, {"keys": str(folder / "nts.keys")})
    tunnel, file = left_by_one_that_ended(trial_pki, start, server, folder / "state")
    kept = file.read_text(encoding="ascii")
    assert kept.count("\ncookie ") == 8 and file.stat().st_mode & 0o777 == 0o600, kept
    again = start(tunnel, name="second", limits=UNLIMITED)
    assert not file.exists(), "the cookies could be used a second time"
    assert ask(again) is not None
    assert not again.events("ke_succeeded"), "it asked again though it had cookies"
    again.kill()  # without a chance to write anything
    assert not file.exists()
    third = start(tunnel, name="third", limits=UNLIMITED)
    assert ask(third) is not None
    assert third.events("ke_succeeded")
    third.finish()
    server.finish()


def test_cookies_are_not_used_after_a_restart_under_another_trust(start, folder, trial_pki):
    server = fixed(trial_pki, start, {"keys": str(folder / "nts.keys")})
    tunnel, _ = left_by_one_that_ended(trial_pki, start, server, folder / "state")
    other = Authority("another CA").write(folder / "other.pem")
    again = start(tunnel | {"tls": {"ca": other}}, name="second", limits=UNLIMITED)
    assert again.wait_event("ke_failed")["reason"] == "unknown_ca"
    assert ask(again, 0.5) is None
    assert server.counters("front")["requests"]["received"] == 1, "it asked with keys that nobody vouches for"
    again.finish()
    server.finish()


def test_rfc8915_5_7_a_session_does_not_outlive_the_certificate_behind_it(start, folder):
    """Two fronts share their cookie keys: one establishes, until it is gone, and the other one goes on answering."""
    pki = TrialPki(folder)
    leaf = pki.authority.issue(common_name="server", usages=(SERVER,), ends=10 / 3600)
    pki.server_certificate, pki.server_key = leaf.write(folder, "short")
    keys, port = str(folder / "nts.keys"), free_port()
    establishing = start(front(pki, None, {"keys": keys, "ntp-server": "127.0.0.1", "ntp-port": port}),
                         name="establishing", limits=UNLIMITED)
    plain = front(pki, CLOCK, {"keys": keys, "rotate": "never"}, listen=f"127.0.0.1:{port}")
    del plain["nts"]["ke-listen"], plain["tls"]
    answering = start(plain, name="answering", limits=UNLIMITED)
    client = start(sidecar(pki, f"localhost:{establishing.address()[1]}"), name="sidecar", limits=UNLIMITED)
    assert ask(client) is not None
    establishing.finish()
    assert ask(client) is not None
    assert eventually(lambda: ask(client, 0.2) is None, "the end of the certificate", 20)
    client.wait_for_line("keys and cookies of .* are dropped: the certificate behind them has ended")
    for _ in range(5):
        assert ask(client, 0.2) is None
    assert client.wait_reason("nts_retry_interval")["event"] == "limit_reached"
    assert not answering.counters("front")["requests"]["drops"]
    client.finish()
    answering.finish()


def test_cookies_survive_a_restart_of_the_front(start, folder, trial_pki):
    keys = {"keys": str(folder / "nts.keys")}
    server = fixed(trial_pki, start, keys)
    ports = port_of(server)
    client = start(sidecar(trial_pki, f"localhost:{ports[1]}"), name="sidecar", limits=UNLIMITED)
    assert ask(client) is not None
    server.finish()
    second = fixed(trial_pki, start, keys, ports, "front2")
    assert eventually(lambda: ask(client), "an answer of the second front") is not None
    assert len(client.events("ke_succeeded")) == 1
    assert not second.counters()["requests"]["drops"]
    client.finish()
    second.finish()


def test_a_rotated_key_still_opens_older_cookies(start, folder, trial_pki):
    keys = {"keys": str(folder / "nts.keys"), "rotate": "1s"}
    server = fixed(trial_pki, start, keys)
    client = start(sidecar(trial_pki, f"localhost:{port_of(server)[1]}"), name="sidecar", limits=UNLIMITED)
    assert ask(client) is not None
    server.wait_until(lambda: len(server.events("key_loaded")) >= 4, "three rotations", 10)
    assert ask(client) is not None
    assert len(client.events("ke_succeeded")) == 1
    counted = server.finish()["front"]
    assert not counted["requests"]["drops"], counted
    client.finish()


def test_rfc8915_5_7_a_front_without_the_key_says_nak_and_the_sidecar_establishes_anew(start, folder, trial_pki):
    server = fixed(trial_pki, start, {"keys": str(folder / "one.keys")})
    ports = port_of(server)
    client = start(sidecar(trial_pki, f"localhost:{ports[1]}"), name="sidecar", limits=UNLIMITED)
    assert ask(client) is not None
    server.finish()
    second = fixed(trial_pki, start, {"keys": str(folder / "other.keys")}, ports, "front2")
    # RFC 8915 section 5.7: the NAK first, and a new key establishment at the poll after it.
    assert ask(client, 0.3) is None
    client.wait_counters(lambda counted: counted["replies"]["drops"].get("nts_nak") == 1, "a NAK")
    # Section 4.2: not before ten seconds after the attempt before, which was used and so counts no more
    assert eventually(lambda: ask(client, 0.3), "an answer with new cookies", 25) is not None
    client.wait_until(lambda: len(client.events("ke_succeeded")) == 2, "a second key establishment")
    assert second.counters()["requests"]["drops"].keys() <= {"bad_cookie"}
    client.finish()
    second.finish()


def test_two_fronts_share_a_ratchet_seed(start, folder, trial_pki):
    """Cookies of one are taken by the other, after two rotations on their own, too."""
    seeds = [folder / f"seed{number}.keys" for number in (1, 2)]
    period = 60
    epoch = int(time.time()) // period - 2
    text = f"ntpgate-nts-ratchet 1\nperiod {period}\nepoch {epoch} {'5A' * 32}\n"
    boot = (f"reached {epoch} " + open("/proc/sys/kernel/random/boot_id", encoding="ascii").read().strip() +
            f" {max(0, int(time.clock_gettime(time.CLOCK_BOOTTIME)) - 2 * period)}\n")
    for seed in seeds:  # two periods of boot time have passed since: two epochs may be made up
        seed.write_text(text + boot, encoding="ascii")
        seed.chmod(0o600)
    one = fixed(trial_pki, start, {"ratchet": str(seeds[0])}, name="one")
    ports = port_of(one)
    client = start(sidecar(trial_pki, f"localhost:{ports[1]}"), name="sidecar", limits=UNLIMITED)
    assert ask(client) is not None
    one.finish()
    other = fixed(trial_pki, start, {"ratchet": str(seeds[1])}, ports, "other")
    assert eventually(lambda: ask(client), "an answer of the other front") is not None
    assert len(client.events("ke_succeeded")) == 1
    assert "5A" * 32 not in seeds[0].read_text(encoding="ascii"), "the seed was kept: no forward secrecy"
    client.finish()
    other.finish()


def chronyd_with(supervisor, folder, pki, ports: tuple[int, int], rotate: str) -> Chronyd:
    """A chronyd that serves NTS on these ports, with its keys in its own folder."""
    daemon = Chronyd(supervisor, folder / f"chronyd-{len(list(folder.glob('chronyd-*')))}")
    keys = folder / "ntskeys"
    if keys.exists():
        (daemon.folder / "ntskeys").write_bytes(keys.read_bytes())
        (daemon.folder / "ntskeys").chmod(0o600)
    daemon.serve(ports[0], f"ntsport {ports[1]}", f"ntsserverkey {pki.server_key}",
                 f"ntsservercert {pki.server_certificate}", f"ntsdumpdir {daemon.folder}", "ntsprocesses 0",
                 f"ntsrotate {rotate}")
    wait_for_tcp(ports[1])
    return daemon


def rotations(path, count: int) -> None:
    """Until the key file has been written so many times more."""
    def seen() -> str:
        return path.read_text(encoding="ascii") if path.exists() else ""

    for _ in range(count):
        before = seen()
        eventually(lambda: seen() not in ("", before), "a rotation of chrony's keys", 10)


def test_a_front_takes_the_cookies_of_chronyd_which_writes_the_keys(start, supervisor, folder, trial_pki):
    ports = free_port(), free_tcp_port()
    daemon = chronyd_with(supervisor, folder, trial_pki, ports, "2")
    client = start(sidecar(trial_pki, f"localhost:{ports[1]}"), name="sidecar", limits=UNLIMITED)
    assert ask(client) is not None
    rotations(daemon.folder / "ntskeys", 2)
    daemon.kill()
    keys = {"chrony-keys": str(daemon.folder / "ntskeys")}
    server = fixed(trial_pki, start, keys, ports)
    assert eventually(lambda: ask(client), "an answer of the front") is not None
    assert len(client.events("ke_succeeded")) == 1
    counted = server.finish()["front"]
    assert not counted["requests"]["drops"], counted
    client.finish()


def test_chronyd_takes_the_cookies_of_a_front_which_writes_the_keys(start, supervisor, folder, trial_pki):
    keys = {"chrony-keys": str(folder / "ntskeys"), "rotate": "1s"}
    server = fixed(trial_pki, start, keys)
    ports = port_of(server)
    client = start(sidecar(trial_pki, f"localhost:{ports[1]}"), name="sidecar", limits=UNLIMITED)
    assert ask(client) is not None
    rotations(folder / "ntskeys", 2)
    server.finish()
    chronyd_with(supervisor, folder, trial_pki, ports, "0")
    assert eventually(lambda: ask(client), "an answer of chronyd") is not None
    assert len(client.events("ke_succeeded")) == 1
    assert "nts_nak" not in client.counters()["replies"]["drops"]
    client.finish()


def test_a_chronyd_that_runs_takes_the_cookies_of_a_front_which_writes_the_keys_and_tells_it(start, supervisor, folder,
                                                                                             trial_pki):
    """Key establishment by the front, NTP by chronyd with ntsrotate 0, all the while; `chronyc rekey` in between."""
    ports = free_port(), free_tcp_port()
    daemon = Chronyd(supervisor, folder / "chronyd-live")
    keys = daemon.folder / "ntskeys"
    tunnel = front(trial_pki, None, {"chrony-keys": str(keys), "rotate": "1s", "ntp-port": ports[0],
                                     "ntp-server": "127.0.0.1"})
    server = start(tunnel, limits=UNLIMITED)
    daemon.serve(ports[0], f"ntsport {ports[1]}", f"ntsserverkey {trial_pki.server_key}",
                 f"ntsservercert {trial_pki.server_certificate}", f"ntsdumpdir {daemon.folder}", "ntsprocesses 0",
                 "ntsrotate 0")
    wait_for_tcp(ports[1])
    ke_port = server.address("front")[1]

    def asks(name: str):
        """A sidecar with cookies of now; whether the running chronyd took the first."""
        client = start(sidecar(trial_pki, f"localhost:{ke_port}"), name=name, limits=UNLIMITED)
        client.wait_event("ke_succeeded")
        answer = ask(client, 0.5)
        naks = client.counters()["replies"]["drops"].get("nts_nak", 0)
        client.finish()
        return answer is not None, naks

    rotations(keys, 4)  # beyond what chronyd read when it started, and the key that came next
    assert asks("unknown") == (False, 1)
    for number in range(2):
        daemon.ask("rekey")
        rotations(keys, 2)
        daemon.ask("rekey")
        assert asks(f"known{number}") == (True, 0)
    assert daemon.process.alive()
    server.finish()
