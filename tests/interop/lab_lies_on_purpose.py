"""Profile lab: a clock that tells another time, and each deliberate fault of `faults:`: seen on the wire, refused or shown
by our own client role, chronyd and ntpdate; and refused under every other profile."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from support import ntp
from support.daemons import Chronyd
from support.gateway import ROOT, client_tunnel, command, drops, server_tunnel, write_config
from support.mac import Key, write_keys
from support.mac_tunnels import mac_client, mac_server
from support.processes import DIE_WITH_PARENT, run
from support.ssh import PipeFrames, stdio_command
from support.system_log import SystemLog

OTHERS = sorted(path.stem for path in (ROOT / "configs/profiles").glob("*.yaml") if path.stem != "lab")
RIGHT = {"clock": {"free-running": True, "stratum": 2}}
WRONG = {"clock": {"free-running": True, "stratum": 2, "offset": "3600s", "leap": 1, "root-dispersion": "500ms"}}
HOUR = 3600.0


@pytest.mark.parametrize("profile", OTHERS)
@pytest.mark.parametrize("place", ["offset", "leap", "root-dispersion", "faults"])
def test_no_other_profile_lets_it_be_wrong_on_purpose(profile, place, folder, trial_pki):
    clock = {"free-running": True}
    value = {"offset": "1s", "leap": 1, "root-dispersion": "1s"}
    tunnel = server_tunnel({"clock": clock | ({place: value[place]} if place != "faults" else {})},
                           trial_pki.server() | {"revocation": "soft"}, channel="dtls")
    if place == "faults":
        tunnel["faults"] = {"delay": "100ms"}
    done = command("check", "--json", "-c", str(write_config(folder / "no.yaml", [tunnel], profile=profile)))
    assert done.returncode == 2
    found = [error for error in json.loads(done.stdout)["errors"] if error["key"].endswith(place)]
    assert len(found) == 1 and found[0]["line"] > 1 and found[0]["column"] > 1, done.stdout
    assert found[0]["message"] == (f"belongs to profile lab, and this one is {profile} (expected nothing, or profile: "
                                   "lab)")


def test_it_says_so_at_start_in_every_record_and_in_check(start, trial_pki, folder):
    faults = {"delay": "200ms", "wrong-origin": True, "unsolicited": True, "broadcast": "127.255.255.255:11123"}
    server = start(server_tunnel(WRONG, trial_pki.server(), faults=faults), profile="lab")
    assert all(record["lab"] is True for record in server.audit())
    (told,) = server.started["tunnels"]
    assert told["clock-offset"] == HOUR
    assert told["faults"] == ["delay 200ms", "wrong-origin", "unsolicited", "broadcast to 127.255.255.255:11123"]
    server.wait_for_line("tunnel server: deliberately wrong")
    checked = command("check", "-c", str(server.config)).stdout
    assert "clock, stratum 2, free-running, offset 1h, leap 1, root-dispersion 500ms" in checked
    assert "deliberate faults: delay 200ms, wrong-origin" in checked and "a profile for laboratories" in checked
    server.finish()


@pytest.mark.parametrize("offset", ["3600s", "-3600s"])
def test_a_wrong_clock_is_seen_as_wrong_as_it_was_told(offset, start, trial_pki, either_channel):
    wrong = {"clock": WRONG["clock"] | {"offset": offset}}
    server = start(server_tunnel(wrong, trial_pki.server()), server_tunnel(RIGHT, trial_pki.server()) | {"name": "good"},
                   name="server", profile="lab")
    for name, expected in (("server", HOUR if offset[0] != "-" else -HOUR), ("good", 0.0)):
        client = start(client_tunnel(server.listen(name), trial_pki.client()), name=f"client-{name}")
        answer = ntp.ask(client.address())
        assert answer and abs(answer.offset - expected) < 0.2, (name, answer)
        if name == "server":
            assert (answer.packet.leap, answer.packet.stratum, answer.packet.root_dispersion) == (1, 2, 0x8000)
        client.finish()
    server.finish()


@pytest.mark.parametrize("stratum", [0, 16])
def test_a_stratum_that_is_none_is_refused_by_the_client_role(stratum, start, trial_pki):
    server = start(server_tunnel({"clock": {"free-running": True, "stratum": stratum}}, trial_pki.server()),
                   name="server", profile="lab")
    client = start(client_tunnel(server.listen(), trial_pki.client()), name="client")
    with ntp.Client(client.address()) as asker:
        assert asker.ask(0.6) is None and not asker.heard.wrong
    reason = "kiss_of_death" if stratum == 0 else "unsynchronised"
    client.wait_counters(lambda seen: drops(seen, "replies").get(reason) or drops(seen, "replies").get("unsynchronised"),
                         reason)
    client.finish()
    server.finish()


def test_a_delay_shows_as_an_asymmetry_that_no_hold_explains(start, trial_pki, either_channel):
    server = start(server_tunnel(RIGHT, trial_pki.server(), faults={"delay": "300ms"}), name="server", profile="lab")
    client = start(client_tunnel(server.listen(), trial_pki.client()), name="client")
    with ntp.Client(client.address()) as asker:
        assert asker.ask(3.0), "the channel is open"
        answer = asker.ask(3.0)
    assert answer and 0.29 < answer.waited and 0.29 < answer.delay, answer
    assert -answer.delay / 2 - 0.02 < answer.offset < -0.13, answer  # half of the way back
    client.finish()
    server.finish()


def test_a_wrong_origin_reaches_no_client(start, trial_pki, either_channel):
    server = start(server_tunnel(RIGHT, trial_pki.server(), faults={"wrong-origin": True}), name="server", profile="lab")
    client = start(client_tunnel(server.listen(), trial_pki.client()), name="client")
    with ntp.Client(client.address()) as asker:
        assert asker.ask(0.8) is None and not asker.heard.wrong
    client.wait_counters(lambda seen: drops(seen, "replies").get("bad_origin"), "bad_origin")
    client.finish()
    server.finish()


def test_an_unsolicited_reply_reaches_no_client(start, trial_pki, any_channel):
    server = start(server_tunnel(RIGHT, trial_pki.server(), faults={"unsolicited": True}), name="server", profile="lab")
    client = start(client_tunnel(server.listen(), trial_pki.client()), name="client")
    with ntp.Client(client.address()) as asker:
        answers = [asker.ask(3.0) for _ in range(3)]
        assert all(answer and abs(answer.offset) < 0.2 for answer in answers)
        client.wait_counters(lambda seen: drops(seen, "replies").get("no_exchange", 0) >= 3, "no_exchange")
        assert not asker.heard.wrong
    client.finish()
    server.finish()


def wire_replies(address: tuple[str, int], key: Key, timeout: float = 0.7) -> list[ntp.Packet]:
    """What a bare client hears after one sealed request."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.settimeout(timeout)
        asked = ntp.request()
        own.sendto(key.seal(asked.encode()), address)
        heard = [asked]
        try:
            while True:
                heard.append(ntp.Packet.decode(own.recv(2048)))
        except TimeoutError:
            return heard


def test_faults_of_a_mac_tunnel_are_on_the_wire_and_sealed_as_told(start, folder):
    key = Key.new(7, "SHA256")
    file = write_keys(folder / "shared.keys", [key])
    faults = {"plain": {}, "origin": {"wrong-origin": True}, "digest": {"mac-digest": "SHA1"},
              "unsolicited": {"unsolicited": True}}
    server = start(*[mac_server(RIGHT, file, [7]) | {"name": name, "faults": fault} for name, fault in faults.items()],
                   name="server", profile="lab")

    def sealed_by(packet: ntp.Packet, kind: str) -> bool:
        return Key(7, kind, key.secret).seal(packet.changed(tail=b"").encode()) == packet.encode()

    asked, reply = wire_replies(server.address("plain"), key)
    assert reply.origin == asked.transmit and sealed_by(reply, "SHA256")
    asked, reply = wire_replies(server.address("origin"), key)
    assert reply.origin not in (0, asked.transmit) and sealed_by(reply, "SHA256")
    asked, reply = wire_replies(server.address("digest"), key)
    assert reply.origin == asked.transmit and sealed_by(reply, "SHA1") and not sealed_by(reply, "SHA256")
    asked, reply, other = wire_replies(server.address("unsolicited"), key)
    assert reply.origin == asked.transmit and other.origin != asked.transmit
    assert sealed_by(reply, "SHA256") and sealed_by(other, "SHA256")
    assert ntp.seconds_between(other.transmit, reply.transmit) == HOUR
    server.finish()


@pytest.mark.parametrize("fault", ["offset", "wrong-origin", "unsolicited", "delay", "mac-digest"])
def test_stdio_is_wrong_as_told_and_says_so(fault, folder):
    """Under sshd as everywhere: a fault that is configured is there, and `started` names it."""
    key = Key.new(7, "SHA256")
    value = {"delay": "300ms", "mac-digest": "SHA1"}.get(fault, True)
    told = {"delay": "delay 300ms", "mac-digest": "mac-digest SHA1"}.get(fault, fault)
    tunnel = {"name": "by-sshd", "role": "server", "listen": "stdio", "channel": "ssh",
              "upstream": WRONG if fault == "offset" else RIGHT}
    if fault != "offset":
        tunnel["faults"] = {fault: value}
    if fault == "mac-digest":
        tunnel["mac"] = {"keys": str(write_keys(folder / "shared.keys", [key])), "trusted": [7]}
    config = write_config(folder / "stdio.yaml", [tunnel], profile="lab")
    with SystemLog(folder) as log, PipeFrames(subprocess.Popen(
            [*log.prefix, *DIE_WITH_PARENT, *stdio_command(config).split()], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)) as peer:
        started = log.wait_event("started")
        assert (started.get("clock-offset"), started.get("faults")) == (
            (HOUR, None) if fault == "offset" else (None, [told])), started
        asked = ntp.request()
        data = key.seal(asked.encode()) if fault == "mac-digest" else asked.encode()
        began = time.monotonic()
        sent = peer.request(data)
        frame = peer.receive()
        assert frame is not None and frame.id == sent.id
        waited = time.monotonic() - began
        reply = ntp.Packet.decode(frame.packet)
        ahead = ntp.seconds_between(reply.transmit, ntp.stamp(time.time_ns()))
        assert abs(ahead - (HOUR if fault == "offset" else 0.0)) < 1.0, ahead
        assert (reply.origin == asked.transmit) == (fault != "wrong-origin"), reply
        assert waited >= 0.3 or fault != "delay", waited
        if fault == "mac-digest":
            assert Key(7, "SHA1", key.secret).seal(reply.changed(tail=b"").encode()) == frame.packet
        if fault == "unsolicited":
            other = peer.receive()
            assert other is not None and other.id != sent.id
            ahead = ntp.seconds_between(ntp.Packet.decode(other.packet).transmit, reply.transmit)
            assert ahead == HOUR, ahead
        assert peer.close() == 0


@pytest.mark.parametrize("fault,reason", [({"wrong-origin": True}, "bad_origin"), ({"mac-digest": "SHA1"}, "bad_mac"),
                                          ({"mac-digest": "SHA512"}, "bad_mac")], ids=str)
def test_our_mac_client_refuses_a_faulty_server(fault, reason, start, folder):
    file = write_keys(folder / "shared.keys", [Key.new(7)])
    server = start(mac_server(RIGHT, file, [7]) | {"faults": fault}, name="server", profile="lab")
    client = start(mac_client("client", server.listen(), file, 7), name="client")
    with ntp.Client(client.address()) as asker:
        assert asker.ask(0.8) is None and not asker.heard.wrong
    client.wait_counters(lambda seen: drops(seen, "replies").get(reason), reason)
    client.finish()
    server.finish()


def follow(supervisor, folder: Path, server, key: Key) -> Chronyd:
    follower = Chronyd(supervisor, folder / f"follower-{time.monotonic_ns()}")
    keys = follower.folder / "chrony.keys"
    keys.write_text(key.chrony_line() + "\n", encoding="ascii")
    keys.chmod(0o600)
    host, port = server
    return follower.follow(f"server {host} port {port} key {key.number} iburst minpoll -4 maxpoll -4 version 4",
                           f"keyfile {keys}")


def test_chronyd_believes_the_good_one_and_refuses_the_bad_ones(supervisor, start, folder):
    """AES-CMAC, whose MAC both digests of the faulty one (SHA-1 of the same octets) can not be taken for."""
    key = Key.new(7, "AES128")
    file = write_keys(folder / "shared.keys", [key])
    faults = {"good": {}, "origin": {"wrong-origin": True}, "digest": {"mac-digest": "SHA1"}, "late": {"delay": "300ms"}}
    server = start(*[mac_server(RIGHT, file, [7]) | {"name": name, "faults": fault} for name, fault in faults.items()],
                   name="server", profile="lab", limits={"requests-per-second-per-client": 0})
    followers = {name: follow(supervisor, folder, server.address(name), key) for name in faults}

    def counted(name: str) -> tuple[int, ...]:
        """Sent, received, valid, good."""
        rows = [row for row in followers[name].ask("ntpdata") if len(row) > 30]
        return tuple(int(field) for field in rows[0][-4:]) if rows else (0, 0, 0, 0)

    def judged(name: str, believed: bool) -> bool:
        sent, _, valid, good = counted(name)
        return sent >= 4 and (valid > 0 and good > 0) == believed

    for name, believed in (("good", True), ("origin", False), ("digest", False), ("late", True)):
        process = followers[name].process
        process.wait_until(lambda name=name, believed=believed: judged(name, believed), f"{name}: believed {believed}", 15)
    (late,) = (row for row in followers["late"].ask("ntpdata") if len(row) > 30)
    assert 0.29 < float(late[19]) < 0.6, late  # the peer's delay, of which nothing says that it is one-sided
    server.finish()


@pytest.mark.parametrize("fault", ["good", "offset", "wrong-origin", "mac-digest"])
def test_ntpdate_shows_the_wrong_clock_and_refuses_the_rest(fault, start, folder, network):
    key = Key.new(7)
    file = write_keys(folder / "shared.keys", [key])
    tunnel = mac_server(WRONG if fault == "offset" else RIGHT, file, [7], "127.0.0.1:123")
    if "-" in fault:
        tunnel["faults"] = {fault: "SHA1" if fault == "mac-digest" else True}
    server = start(tunnel, name="server", profile="lab", prefix=network.prefix)
    keys = folder / "ntp.keys"
    keys.write_text(key.ntp_line() + "\n", encoding="ascii")
    keys.chmod(0o600)
    done = run(["/usr/sbin/ntpdate", "-q", "-t", "1", "-a", "7", "-k", str(keys), "127.0.0.1"], network.prefix)
    if fault in ("good", "offset"):
        assert done.returncode == 0, done
        offset = float(re.search(r"([+-]\d+\.\d+) \+/-", done.stdout).group(1))
        assert abs(offset - (HOUR if fault == "offset" else 0.0)) < 0.2, done
    elif fault == "wrong-origin":  # NTPsec's ntpdate believes it, and what it makes of it shows
        shown = re.search(r"([+-]\d+\.\d+) \+/-", done.stdout)
        assert shown is None or abs(float(shown.group(1))) > 24 * HOUR, done
    else:
        assert "+/-" not in done.stdout, done
    server.finish()


def test_broadcasts_are_sent_and_heard_by_no_client_role(start, folder, trial_pki):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.bind(("127.255.255.255", 0))
        ear.settimeout(5)
        port = ear.getsockname()[1]
        server = start(server_tunnel(WRONG, trial_pki.server(), faults={"broadcast": f"127.255.255.255:{port}"}),
                       name="server", profile="lab")
        packet = ntp.Packet.decode(ear.recv(2048))
    assert (packet.mode, packet.version, packet.origin, packet.receive) == (5, 4, 0, 0), packet
    ahead = ntp.seconds_between(packet.transmit, ntp.stamp(time.time_ns()))
    assert abs(ahead - HOUR) < 2, ahead
    server.finish()
    # Said to a client role's listener itself, the same packet is counted and goes nowhere.
    client = start(client_tunnel("127.0.0.1:1", trial_pki.client()), name="client")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(packet.encode(), client.address())
        client.wait_counters(lambda seen: drops(seen, "requests").get("bad_mode"), "bad_mode")
    client.finish()
