"""Only the right reply with the right MAC is time: everything else is refused, counted, and costs the client nothing."""

from __future__ import annotations

import struct
import time
from dataclasses import replace

import pytest

from support.mac_tunnels import UNLIMITED, mac_client, mac_server
from support import ntp
from support.mac import Key, KeyedDaemon, write_keys
from support.processes import eventually
from support.upstream import Daemon


def flipped(data: bytes) -> list[bytes]:
    """`data` with each of its bits changed in turn."""
    return [data[:bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1:]
            for bit in range(len(data) * 8)]


def dropped(client) -> dict[str, int]:
    return client.counters()["replies"]["drops"]


@pytest.fixture
def world(start, folder):
    """A daemon that lies first and tells the truth then; the client role that has to tell the two apart."""
    daemons = []

    def builder(key: Key, forge, version: int = 4):
        daemons.append(KeyedDaemon(key, forge))
        file = write_keys(folder / "shared.keys", [key])
        client = start(mac_client("client", daemons[-1].text(), file, key.number, version=version,
                                  timing={"max-round-trip": "4s"}), limits=UNLIMITED)
        return daemons[-1], client

    yield builder
    for daemon in daemons:
        daemon.stop()


def ask_and_count(client, forged: int) -> dict[str, int]:
    """One question; every forged reply was refused, and the answer is the daemon's own."""
    with ntp.Client(client.address()) as asker:
        answer = asker.ask(3.5)
        assert answer is not None and abs(answer.offset) < 1.0 and not asker.heard.wrong, asker.heard
        client.wait_counters(lambda counted: sum(counted["replies"]["drops"].values()) == forged, f"{forged} drops")
        assert asker.receive(0.05) is None, "a second answer"
    return dropped(client)


@pytest.mark.parametrize("kind,version", [("SHA256", 4), ("SHA512", 3), ("AES128", 4)])
def test_a_reply_with_any_single_bit_changed_is_refused(world, kind, version):
    count: list[int] = []

    def forge(reply: bytes, _asked: bytes) -> list[bytes]:
        count.append(len(reply) * 8)
        return flipped(reply)

    _, client = world(Key.new(7, kind), forge, version)
    counts = ask_and_count(client, 8 * (48 + 4 + {"SHA256": 20, "SHA512": 64, "AES128": 16}[kind]))
    assert counts["bad_mac"] > 8 * 47 and counts["unknown_key"] == 32, counts
    client.finish()


def test_right_key_and_id_with_another_digest_is_refused(world):
    """RFI 202412: key id, key value and every other field valid, the digest another."""
    key = Key.new(7, "SHA256")

    def forge(reply: bytes, _asked: bytes) -> list[bytes]:
        plain = reply[:48]
        return [replace(key, kind=kind).seal(plain) for kind in ("SHA1", "SHA384", "SHA512")] + [
            replace(key, kind="MD5").seal(plain)]

    _, client = world(key, forge)
    assert ask_and_count(client, 4) == {"bad_mac": 3, "bad_mac_form": 1}
    client.finish()


def test_wrong_keys_ids_and_lengths_are_refused(world):
    key = Key.new(7, "SHA256")

    def forge(reply: bytes, asked: bytes) -> list[bytes]:
        plain = reply[:48]
        stray = ntp.Packet.decode(plain)
        return [
            Key.new(7, "SHA256").seal(plain),              # another key
            replace(key, number=8).seal(plain),            # another id
            replace(key, number=0x70007).seal(plain),      # an id that shares its low half
            plain,                                         # no MAC
            plain + bytes(4),                              # crypto-NAK
            reply[:-1], reply[:-4], reply[:52],            # truncated
            reply + b"\0", reply + bytes(4), reply + bytes(28),  # extended
            key.seal(plain, 32),                           # the whole digest, where a cut one was asked
            asked,                                         # our own request
            key.seal(stray.changed(mode=5).encode()),      # broadcast, with a right MAC
            key.seal(stray.changed(origin=stray.origin ^ 1).encode()),
            key.seal(stray.changed(receive=0).encode()),
            key.seal(stray.changed(version=3).encode(), 20)]

    _, client = world(key, forge)
    counts = ask_and_count(client, 17)
    assert counts["no_mac"] == 1 and counts["crypto_nak"] == 1 and counts["unknown_key"] == 2, counts
    assert counts["bad_origin"] == 1 and counts["zero_stamp"] == 1 and counts["bad_version"] == 1, counts
    client.finish()


def test_replayed_and_unsolicited_replies_are_refused(world):
    key = Key.new(7, "SHA256")
    old: list[bytes] = []

    def forge(reply: bytes, _asked: bytes) -> list[bytes]:
        before = list(old)
        old.append(reply)
        return before

    daemon, client = world(key, forge)
    ask_and_count(client, 0)
    assert ask_and_count(client, 1) == {"bad_origin": 1}
    # Unsolicited: to the port of an exchange that is over, and to the local listener.
    daemon.say(old[-1], daemon.askers[-1])
    client.wait_counters(lambda counted: counted["replies"]["drops"].get("second_reply") == 1, "second_reply")
    daemon.say(old[-1], client.address())
    client.wait_counters(lambda counted: counted["requests"]["drops"].get("bad_mode") == 1, "bad_mode")
    client.finish()


def test_a_stranger_who_knows_the_port_is_not_heard(world):
    key = Key.new(7, "SHA256")
    with Daemon(lambda *_: None) as stranger:
        def forge(reply: bytes, _asked: bytes) -> list[bytes]:
            stranger.say(reply, daemon.askers[-1])  # before the honest one, and right in every octet
            time.sleep(0.05)
            return []

        daemon, client = world(key, forge)
        assert ask_and_count(client, 0) == {}
        client.finish()


def test_each_request_leaves_from_a_port_of_its_own_with_a_stamp_of_its_own(world):
    daemon, client = world(Key.new(7, "SHA256"), None)
    with ntp.Client(client.address()) as asker:
        asked = ntp.request(stratum=16, poll=6, precision=-6, root_delay=1, refid=2, reference=3)
        for _ in range(20):
            assert asker.ask(asked=asked) is not None
    ports = {port for _, port in daemon.askers}
    assert len(ports) == 20, ports
    seen = [ntp.Packet.decode(data) for data in daemon.heard]
    assert len({packet.transmit for packet in seen} | {asked.transmit}) == 21
    for packet in seen:
        assert packet.changed(transmit=0, tail=b"") == ntp.Packet(version=4, mode=3), packet
    client.finish()


def test_a_server_role_asks_the_daemon_for_genuine_requests_only(start, folder):
    key = Key.new(7, "SHA384")
    file = write_keys(folder / "shared.keys", [key, Key.new(8, "SHA256")])
    with Daemon() as daemon:
        server = start(mac_server(daemon.text(), file, [7]), limits=UNLIMITED | {"exchanges-per-client": 0})
        plain = ntp.request().encode()
        right = key.seal(plain)
        other = [line.split()[2].removeprefix("HEX:") for line in file.read_text().splitlines()][1]
        bad = flipped(right) + [plain, plain + bytes(4), right[:-1], right + bytes(4), Key.new(7, "SHA384").seal(plain),
                                replace(key, kind="SHA256").seal(plain),
                                Key(8, "SHA256", bytes.fromhex(other)).seal(plain)]  # a right key that is not trusted
        with ntp.Client(server.address()) as asker:
            for number in range(0, len(bad), 50):
                for data in bad[number:number + 50]:
                    asker.send_raw(data)
                server.wait_counters(lambda counted, sent=min(number + 50, len(bad)): counted["requests"]["received"] == sent,
                                     "all of them counted")
            assert asker.receive(0.1) is None and not asker.heard.wrong and not daemon.heard
            for form in (right, key.seal(ntp.request().encode(), 48), key.seal(ntp.request(version=3).encode())):
                asker.send_raw(form)
                eventually(lambda: asker.receive(0.1) is None and len(asker.heard.wrong) > 0, "an answer", 5)
                reply = asker.heard.wrong.pop()
                assert len(reply) == len(form) and struct.unpack("!I", reply[48:52]) == (7,), reply
                assert reply == key.seal(reply[:48], len(form) - 52), "sealed in another form"
        assert len(daemon.heard) == 3 and all(len(data) == 48 for data in daemon.heard)
        counts = server.counters()["requests"]["drops"]
        assert counts["unknown_key"] == 33 and counts["no_mac"] == 1 and counts["crypto_nak"] == 1, counts
        server.finish()


def test_unauthenticated_and_bad_requests_are_met_as_configured(start, folder):
    key = Key.new(7, "SHA256")
    file = write_keys(folder / "shared.keys", [key])
    with Daemon() as daemon:
        server = start(mac_server(daemon.text(), file, [7], unauthenticated="serve", on_bad_mac="nak"))
        assert ntp.ask(server.address()).packet.tail == b""
        with ntp.Client(server.address()) as asker:
            asked = ntp.request()
            asker.send_raw(Key.new(7, "SHA256").seal(asked.encode()))
            eventually(lambda: asker.receive(0.1) is not None or asker.heard.wrong, "a crypto-NAK", 5)
            nak = ntp.Packet.decode(asker.heard.wrong.pop())
            assert (nak.tail, nak.origin, nak.mode, nak.leap) == (bytes(4), asked.transmit, 4, 3), nak
        counted = server.finish()["server"]
        assert counted["refusals-told"] == 1 and len(daemon.heard) == 1, counted


def test_who_may_ask_is_a_matter_of_address_too(start, folder):
    key = Key.new(7, "SHA256")
    listed = f"7 SHA256 {key.secret.hex()} 127.0.0.9\n"
    file = folder / "ntp.keys"
    file.write_text(listed)
    file.chmod(0o600)
    with Daemon() as daemon:
        server = start(mac_server(daemon.text(), file, [7]) | {"clients": ["127.0.0.8/31"]})

        def ask(source: str) -> bool:
            with ntp.Client(server.address(), source) as asker:
                asker.send_raw(key.seal(ntp.request().encode()))
                asker.receive(0.3)
                return bool(asker.heard.wrong)

        assert ask("127.0.0.9")
        assert not ask("127.0.0.8") and not ask("127.0.0.7")
        counts = server.finish()["server"]["requests"]["drops"]
        assert counts == {"key_not_allowed": 1, "not_allowed": 1}, counts
