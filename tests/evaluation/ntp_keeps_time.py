"""FCS_NTP_EXT.1.1 to 1.4 and FPT_STM_EXT.1: a client role beside chronyd, met by servers that are right and wrong.

chronyd runs with -x: what it would do to the clock is read from it (`chronyc tracking`, `ntpdata`, `sources`)."""

from __future__ import annotations

import re
import shutil
import socket
import time
from dataclasses import replace
from pathlib import Path

import pytest

from support import ntp
from support.daemons import Chronyd, chronyd_as
from support.datagram_relay import DOWN, UP, DatagramRelay
from support.evaluated import CLOCK, PROFILE, Pki
from support.gateway import Gateway, drops
from support.mac import Key, KeyedDaemon, write_keys
from support.mac_tunnels import mac_client
from support.processes import eventually, run
from support.upstream import Daemon

SPECS = ["2.2e", "3.0e", "4.0"]


def numbered(*numbers: str, specs: list[str] | None = None) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("spec", [
        pytest.param(spec, marks=pytest.mark.evaluates(*[f"{spec}/{number}" for number in numbers]))
        for spec in specs or SPECS])


@pytest.fixture
def pki(folder) -> Pki:
    return Pki(folder)


def digests_of(spec: str) -> list[str]:
    return ["AES128", "SHA256", "SHA384", "SHA512"] if spec == "4.0" else ["SHA256", "SHA384", "SHA512"]


def follow(supervisor, folder: Path, *gateways: Gateway) -> Chronyd:
    follower = Chronyd(supervisor, folder / f"follower-{time.monotonic_ns()}")
    lines = ["server {} port {} iburst minpoll -4 maxpoll -4".format(*gateway.address()) for gateway in gateways]
    return follower.follow(*lines)


def synchronised(follower: Chronyd) -> bool:
    rows = follower.ask("tracking")
    return bool(rows) and rows[0][0] != "00000000" and rows[0][-1] != "Not synchronised"


def clock_wrong_by(folder: Path, gateway: Gateway) -> str:
    """What chronyd would set the clock by."""
    program = shutil.copy("/usr/sbin/chronyd", folder / f"chronyd-{time.monotonic_ns()}")
    host, port = gateway.address()
    done = run([program, "-Q", "-t", "10", *chronyd_as(False), f"server {host} port {port} iburst", "cmdport 0",
                f"pidfile {folder}/chronyd-q.pid"])
    found = re.search(r"System clock wrong by (-?[\d.]+) seconds", done.stdout + done.stderr)
    assert found, done
    return found.group(1)


def sources(follower: Chronyd) -> list[list[str]]:
    """Mode, state (* current, + combined, ? unusable, ...), address, ..., offset in seconds."""
    return [row for row in follower.ask("sources") if len(row) > 8]


def mac_pair(start, folder: Path, spec: str, key: Key, daemon: Daemon, version: int = 4) -> Gateway:
    file = write_keys(folder / f"{key.kind}-{version}.keys", [key])
    return start(mac_client("client", daemon.text(), file, 7, version=version), profile=PROFILE[spec],
                 name=f"client-{key.kind}-{version}-{time.monotonic_ns()}", limits={"requests-per-second-per-client": 0})


@numbered("NTP-1.1", "NTP-1.2b")
def test_each_claimed_version_is_spoken(spec, start, folder, supervisor, evidence):
    """The version is read from the requests and replies on the wire; the update is accepted, and its server recorded."""
    for version in (3, 4):
        key = Key.new(7, "SHA256")
        with KeyedDaemon(key) as daemon:
            client = mac_pair(start, folder, spec, key, daemon, version)
            follower = follow(supervisor, folder, client)
            follower.process.wait_until(lambda f=follower: synchronised(f), "synchronised", 20)
            seen = {ntp.Packet.decode(data).version for data in daemon.heard}
            added = client.events("time_server_added")
            evidence.note(f"versions on the wire, configured {version}", sorted(seen))
            evidence.note("recorded", added + client.events("channel_opened"))
            assert seen == {version} and added and added[0]["sfr"] == "FCS_NTP_EXT.1"
            follower.kill()
            client.finish()


@numbered("NTP-1.2a")
def test_a_reply_under_another_digest_synchronises_nobody(spec, start, folder, supervisor, evidence):
    """First right, so that it is known to work; then each reply is made with another digest of the same key, everything
    else as before (RFI 202412)."""
    for kind in digests_of(spec):
        key = Key.new(7, kind)
        wrong = replace(key, kind=next(other for other in ("SHA256", "SHA512") if other != kind))

        class Altered(KeyedDaemon):
            altered = False

            def with_mac(self, data: bytes, asker: tuple[str, int]) -> None:
                asked = ntp.Packet.decode(data)
                reply = ntp.honest_reply(asked, None, self.offset).changed(tail=b"").encode()
                size = len(asked.tail) - 4
                right = key.seal(reply, size)
                self.say(wrong.seal(reply, size) if self.altered else right, asker)

        daemon = Altered(key)
        daemon.answer = Altered.with_mac
        with daemon:
            client = mac_pair(start, folder, spec, key, daemon)
            with ntp.Client(client.address()) as asker:
                assert asker.ask(2.0), f"{kind}: works before"
                daemon.altered = True
                assert asker.ask(0.5) is None and not asker.heard.wrong
            follower = follow(supervisor, folder, client)
            client.wait_counters(lambda seen: drops(seen, "replies").get("bad_mac", 0) >= 4, "bad_mac", timeout=15)
            assert not synchronised(follower)
            evidence.note(f"{kind}, replies under {wrong.kind}", drops(client.counters(), "replies"))
            follower.kill()
            client.finish()


@numbered("NTP-1.2c")
def test_the_digest_and_the_channel_are_what_is_on_the_wire(spec, start, folder, pki, evidence):
    for kind in digests_of(spec):
        key = Key.new(7, kind)
        with KeyedDaemon(key) as daemon:
            client = mac_pair(start, folder, spec, key, daemon)
            with ntp.Client(client.address()) as asker:
                assert asker.ask(2.0)
            (heard,) = daemon.heard[-1:]
            assert heard == key.seal(heard[:48]), kind  # the MAC is this digest of this key, and nothing follows
            evidence.note(f"{kind} request", heard.hex())
            client.finish()
    server = start(pki.server_tunnel("dtls", "p384", "server"), name="server", profile=PROFILE[spec])
    relay = DatagramRelay(server.address())
    client = start(pki.client_tunnel("dtls", "client", relay.address[1]), name="by-dtls", profile=PROFILE[spec])
    with ntp.Client(client.address()) as asker:
        asked = asker.send()
        assert asker.receive(3.0)
    seen = [datagram for direction in (UP, DOWN) for datagram in relay.captured[direction]]
    kinds = sorted({(datagram[0], datagram[1:3].hex()) for datagram in seen})
    evidence.note("record types and versions", kinds)
    assert any(kind == 23 for kind, _ in kinds) and {kind for kind, _ in kinds} <= {20, 21, 22, 23}
    stamp = asked.transmit.to_bytes(8, "big")
    assert not any(stamp in datagram for datagram in seen), "NTP in the clear"
    client.finish()
    server.finish()


@numbered("NTP-1.3")
def test_broadcasts_and_multicasts_change_nothing(spec, start, folder, supervisor, network, evidence):
    """Every second's worth of packets of mode 5, an hour ahead, to every address that reaches the client role, while its
    right server goes on answering."""
    key = Key.new(7, "SHA256")
    with KeyedDaemon(key) as daemon:
        client = mac_pair(start, folder, spec, key, daemon)
        follower = follow(supervisor, folder, client)
        follower.process.wait_until(lambda: synchronised(follower), "synchronised", 20)
        port = client.address()[1]
        late = ntp.Packet(version=4, mode=5, stratum=1, transmit=ntp.stamp(time.time_ns() + 3600 * 10**9))
        targets = [("127.255.255.255", port), ("127.0.0.1", port), ("255.255.255.255", port), ("224.0.1.1", port)]
        sent = []
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            for _ in range(20):
                for target in targets:
                    for packet in (late, late.changed(tail=key.seal(late.encode())[48:])):
                        try:
                            sender.sendto(packet.encode(), target)
                            sent.append(target[0])
                        except OSError:
                            pass  # this network has no way there
        client.wait_counters(lambda seen: drops(seen, "requests").get("bad_mode", 0) >= 20, "bad_mode")
        evidence.note("sent to", {target: sent.count(target) for target in set(sent)})
        evidence.note("dropped", drops(client.counters(), "requests"))
        with ntp.Client(client.address()) as asker:
            assert abs(asker.ask(2.0).offset) < 0.5
        assert synchronised(follower) and all(abs(float(row[8])) < 0.5 for row in sources(follower))
        follower.kill()
        client.finish()


@numbered("NTP-1.4-T1")
def test_three_servers_are_followed(spec, start, folder, supervisor, pki, evidence):
    servers = [start(pki.server_tunnel("dtls", "p384", "server"), name=f"server-{number}", profile=PROFILE[spec])
               for number in range(3)]
    clients = [start(pki.client_tunnel("dtls", "client", server.address()[1]) | {"listen": f"127.0.0.{number + 2}:0"},
                     name=f"client-{number}", profile=PROFILE[spec]) for number, server in enumerate(servers)]
    follower = follow(supervisor, folder, *clients)

    def three_in_use() -> bool:
        states = [row[1] for row in sources(follower)]
        return len(states) == 3 and all(state in "*+-" for state in states) and "*" in states

    follower.process.wait_until(three_in_use, "three selectable sources", 30)
    evidence.note("sources", sources(follower))
    for client in clients:
        assert client.counters()["exchanges"]["answered"] >= 3
    for gateway in (*clients, *servers):
        gateway.finish()


class Withholding(KeyedDaemon):
    """Bound and silent while `withheld` is true: what was asked is kept, with the port it came from."""

    def __init__(self, key: Key) -> None:
        self.withheld = False
        self.asked: list[tuple[bytes, tuple[str, int]]] = []
        super().__init__(key)
        self.answer = Withholding.hold_or_answer

    def hold_or_answer(self, data: bytes, asker: tuple[str, int]) -> None:
        if self.withheld:
            self.asked.append((data, asker))
        else:
            self.with_mac(data, asker)

    def reply(self, data: bytes, ahead: float = 0.0, **changes: object) -> bytes:
        """Under the right key; right in all but what is said."""
        honest = ntp.honest_reply(ntp.Packet.decode(data), time.time_ns(), ahead)
        return self.key.seal(honest.changed(tail=b"", **changes).encode())


def ahead_from_strangers(daemon: Withholding, data: bytes, client: tuple[str, int]) -> None:
    """The reply that is waited for, but for its time, from every place but the configured one."""
    for source in (("127.0.0.1", 0), ("127.0.0.9", 0), ("127.0.0.9", daemon.address[1])):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.bind(source)
            stranger.sendto(daemon.reply(data, 3600.0), client)


@numbered("NTP-1.4-T2")
def test_an_unsolicited_reply_is_not_acted_on(spec, start, folder, supervisor, evidence):
    """While a question is open, and its server silent: replies an hour ahead, under the right key, to the very port that
    waits. From other sources they are right in all else; from the configured one they answer something else."""
    key = Key.new(7, "SHA256")
    with Withholding(key) as daemon:
        client = start(mac_client("client", daemon.text(), write_keys(folder / "own.keys", [key]), 7,
                                  timing={"max-round-trip": "4s"}), profile=PROFILE[spec], name="client",
                       limits={"requests-per-second-per-client": 0})
        with ntp.Client(client.address()) as asker:
            before = asker.ask(2.0)
            earlier = ntp.Packet.decode(daemon.heard[-1]).transmit
            daemon.withheld = True
            asked = asker.send()
            eventually(lambda: daemon.asked, "the request at the silent server")
            data, waiting = daemon.asked[-1]
            own = ntp.Packet.decode(data).transmit
            origins = {"another": own ^ (1 << 40), "none": 0, "of an answered request": earlier,
                       "of the client, which the server never saw": asked.transmit}

            def replies() -> dict[str, int]:
                counted = client.counters()
                assert counted["exchanges"]["open"] == 1, counted  # or nobody would wait for any reply
                return drops(counted, "replies") | {"received": counted["replies"]["received"]}

            first = replies()
            ahead_from_strangers(daemon, data, waiting)
            assert asker.receive(0.3) is None and not asker.heard.wrong
            assert replies() == first, "a datagram of a stranger came through to the role"
            for origin in origins.values():
                daemon.say(daemon.reply(data, 3600.0, origin=origin), waiting)
            seen = client.wait_counters(lambda now: now["replies"]["received"] >= first["received"] + len(origins),
                                        "the unsolicited replies")
            assert asker.receive(0.3) is None and not asker.heard.wrong
            dropped = {reason: count - first.get(reason, 0) for reason, count in drops(seen, "replies").items()}
            evidence.note("origins of unsolicited replies", list(origins))
            evidence.note("dropped", dropped)
            assert dropped["bad_origin"] == len(origins), dropped
            last = replies()
            daemon.say(daemon.reply(data), waiting)  # and nothing of all that was in the way of the one that was asked for
            after = asker.receive(2.0)
            assert after and abs(after.offset) < 0.5 and abs(before.offset) < 0.5, after
            daemon.say(daemon.reply(data, 3600.0), waiting)  # of the right origin, but nobody waits any more
            client.wait_counters(lambda now: now["replies"]["received"] == last["received"] + 2, "the reply after it")
            assert asker.receive(0.3) is None and not asker.heard.wrong
        evidence.note("exchanges", client.counters()["exchanges"])
        client.finish()


@numbered("NTP-1.4-T2")
def test_unsolicited_replies_move_no_clock(spec, start, folder, supervisor, evidence):
    """The same towards chronyd behind the client role, which has the time already and goes on asking."""
    key = Key.new(7, "SHA256")
    with Withholding(key) as daemon:
        client = mac_pair(start, folder, spec, key, daemon)
        follower = follow(supervisor, folder, client)
        follower.process.wait_until(lambda: synchronised(follower), "synchronised", 20)
        daemon.withheld = True
        told = 0
        for count in range(1, 9):
            eventually(lambda upto=count: len(daemon.asked) >= upto, "a request at the silent server")
            data, waiting = daemon.asked[count - 1]
            ahead_from_strangers(daemon, data, waiting)
            for origin in (ntp.Packet.decode(data).transmit ^ (1 << 40), 0):
                daemon.say(daemon.reply(data, 3600.0, origin=origin), waiting)
                told += 1
        client.wait_counters(lambda seen: drops(seen, "replies").get("bad_origin", 0) >= told, "bad_origin", timeout=15)
        rows = sources(follower)
        evidence.note("sources while unsolicited replies came", rows)
        assert synchronised(follower) and rows and all(abs(float(row[8])) < 0.5 for row in rows), rows
        answered = client.counters()["exchanges"]["answered"]
        daemon.withheld = False
        client.wait_counters(lambda seen: seen["exchanges"]["answered"] > answered, "genuine replies again", timeout=15)
        assert synchronised(follower) and all(abs(float(row[8])) < 0.5 for row in sources(follower))
        follower.kill()
        client.finish()


@numbered("STM-T2", specs=SPECS)
def test_the_expected_time_arrives_over_each_protocol(spec, start, folder, supervisor, pki, evidence):
    """Over DTLS, over a digest, and over a digest inside TLS: the servers' clock, which is ahead by an hour in the
    laboratory, is what chronyd is told."""
    ahead = {"clock": CLOCK["clock"] | {"offset": "3600s"}}
    file = pki.keys
    servers = [pki.server_tunnel(channel, "p384", channel) | {"upstream": ahead} for channel in ("dtls", "tls")]
    servers.append({"name": "mac", "role": "server", "listen": "127.0.0.1:0", "channel": "mac", "upstream": ahead,
                    "mac": {"keys": file, "trusted": [7]}})
    server = start(*servers, name="server", profile="lab")
    for channel in ("dtls", "tls", "mac"):
        port = server.address(channel)[1]
        tunnel = mac_client("client", f"127.0.0.1:{port}", file, 7) if channel == "mac" else \
            pki.client_tunnel(channel, "client", port)
        client = start(tunnel, name=f"by-{channel}", profile=PROFILE[spec])
        with ntp.Client(client.address()) as asker:
            assert abs(asker.ask(3.0).offset - 3600) < 1
        said = clock_wrong_by(folder, client)
        evidence.note(f"{channel} ({client.started['tunnels'][0]['claim']})", said)
        assert abs(float(said) - 3600) < 1, said  # the server's time minus ours
        client.finish()
    server.finish()
