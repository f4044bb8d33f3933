"""A mac tunnel's far side is any NTP daemon or client with the same key: every digest both know, versions 3 and 4."""

from __future__ import annotations

import json

import pytest

from support import ntp
from support.daemons import Chronyd, chronyd_as
from support.gateway import command, query
from support.mac import DIGESTS, every_digest, profile_with, write_keys
from support.mac_tunnels import UNLIMITED, mac_client, mac_server
from support.ntpsec import Ntpsec, unpack
from support.processes import eventually, run

@pytest.fixture(scope="session")
def ntpsec_root(tmp_path_factory):
    return unpack(tmp_path_factory.mktemp("ntpsec") / "package")


@pytest.fixture
def keys():
    return every_digest()


def test_client_role_to_chronyd(start, supervisor, folder, keys):
    file = write_keys(folder / "chrony.keys", keys)
    daemon = Chronyd(supervisor, folder / "keyed").serve(0, f"keyfile {file}")
    tunnels = [mac_client(f"{key.kind}-v{version}", daemon.text(), file, key.number, version=version)
               for key in keys for version in (3, 4)]
    client = start(*tunnels, profile=profile_with(folder, "SHA1"), limits=UNLIMITED)
    for each in tunnels:
        for version in (1, 2, 3, 4):
            asked = ntp.request(version=version, poll=9)
            answer = ntp.ask_with(client.address(each["name"]), asked)
            assert answer is not None, each["name"]
            assert (answer.packet.version, answer.packet.poll, answer.packet.stratum) == (version, 9, 3), answer
            assert answer.packet.tail == b"" and abs(answer.offset) < 0.01, answer
        opened = client.wait_event("channel_opened", tunnel=each["name"])
        assert opened["suite"] == each["name"].split("-")[0] and opened["subject"] == f"key {each['mac']['key']}", opened
    for name, counted in client.finish().items():
        assert counted["replies"]["forwarded"] == 4 and not counted["replies"]["drops"], (name, counted)


def test_client_role_to_ntpsec(start, supervisor, folder, network, ntpsec_root, keys):
    file = write_keys(folder / "ntp.keys", keys, "ntp")
    Ntpsec(supervisor, ntpsec_root, folder / "ntpsec", network.prefix).serve(file, [key.number for key in keys])
    # Longer digests it takes cut to 20 octets only, as version 4 has them.
    pairs = [(key, 4) for key in keys] + [(key, 3) for key in keys if key.kind in ("SHA1", "AES128", "AES256")]
    tunnels = [mac_client(f"{key.kind}-v{version}", "127.0.0.1:123", file, key.number, version=version,
                          listen=f"127.0.1.{number}:1123") for number, (key, version) in enumerate(pairs, 2)]
    client = start(*tunnels, prefix=network.prefix, profile=profile_with(folder, "SHA1"), limits=UNLIMITED)

    def said(number: int) -> dict[str, object]:
        code, document = query(f"ntp://127.0.1.{number}:1123", "-n", "1", "--timeout", "2s", prefix=network.prefix)
        return document if code == 0 else {}

    eventually(lambda: said(2), "the first answer of NTPsec, which takes its time to trust its own clock", 60, 0.5)
    for number, each in enumerate(tunnels, 2):
        document = said(number)
        assert document and abs(document["offset"]) < 0.01, (each["name"], document)
        client.wait_event("channel_opened", tunnel=each["name"])
    client.finish()


def chronyd_once(server: tuple[str, int], file, number: int, version: int, prefix: list[str]):
    return run(["/usr/sbin/chronyd", *chronyd_as(bool(prefix)), "-Q", "-t", "6",
                f"server {server[0]} port {server[1]} key {number} version {version} iburst maxsamples 1",
                f"keyfile {file}"], prefix)


def test_chronyd_to_server_role(start, folder, chronyd, keys):
    file = write_keys(folder / "shared.keys", keys)
    server = start(mac_server(chronyd.text(), file, [key.number for key in keys]), limits=UNLIMITED,
                   profile=profile_with(folder, "SHA1"))
    for key in keys:
        for version in (3, 4):
            done = chronyd_once(server.address(), file, key.number, version, [])
            assert done.returncode == 0 and "System clock wrong by" in done.stderr, (key.kind, version, done.stderr)
    counted = server.finish()["server"]
    assert counted["exchanges"]["answered"] >= 2 * len(keys) and not counted["requests"]["drops"], counted


def test_chronyd_stays_on_server_role(start, supervisor, folder, chronyd, keys):
    """A running chronyd, with the extension field that chrony 4.3 puts before the MAC, and interleaved mode."""
    file = write_keys(folder / "shared.keys", keys)
    server = start(mac_server(chronyd.text(), file, [5]), limits=UNLIMITED)
    host, port = server.address()
    follower = Chronyd(supervisor, folder / "follower").follow(
        f"server {host} port {port} key 5 xleave extfield F323 minpoll -4 maxpoll -4", f"keyfile {file}")
    rows = eventually(lambda: [row for row in follower.ask("sources") if row[1] == "*"], "a selected source", 20, 0.2)
    assert rows[0][3] == "3", rows
    data = follower.ask("ntpdata")[0]
    assert data[-2] != "0", data  # received valid packets
    server.wait_counters(lambda counted: counted["exchanges"]["answered"] > 20, "20 answers", timeout=20)
    follower.kill()
    counted = server.finish()["server"]
    assert not counted["requests"]["drops"], counted


@pytest.mark.parametrize("kind", DIGESTS)
def test_ntpdig_and_ntpdate_to_server_role(start, supervisor, folder, network, keys, kind):
    file = write_keys(folder / "ntp.keys", keys, "ntp")
    daemon = Chronyd(supervisor, folder / "served", network.prefix).serve(11123)
    number = DIGESTS.index(kind) + 1
    address = network.address(7)
    server = start(mac_server(daemon.text(), file, [number], f"{address}:123"), prefix=network.prefix,
                   profile=profile_with(folder, "SHA1"))
    dug = run(["/usr/bin/ntpdig", "-j", "-a", str(number), "-k", str(file), address], network.prefix)
    assert dug.returncode == 0, dug
    assert abs(json.loads(dug.stdout)["offset"]) < 0.25, dug  # a Python program on a busy machine
    dated = run(["/usr/sbin/ntpdate", "-q", "-a", str(number), "-k", str(file), address], network.prefix)
    assert dated.returncode == 0 and "s3" in dated.stdout, dated
    wrong = run(["/usr/bin/ntpdig", "-t", "1", "-j", "-a", str(number % 6 + 1), "-k", str(file), address],
                network.prefix)
    assert wrong.returncode != 0, wrong
    counted = server.finish()["server"]
    assert counted["exchanges"]["answered"] >= 2 and counted["requests"]["drops"]["unknown_key"] >= 1, counted


def test_both_roles_make_a_tunnel_and_query_asks_through_it(start, folder, chronyd, keys):
    file = write_keys(folder / "shared.keys", keys)
    server = start(mac_server(chronyd.text(), file, [2, 5]), name="server")
    host, port = server.address()
    client = start(mac_client("client", f"{host}:{port}", file, 2), name="client")
    answer = ntp.ask(client.address())
    assert answer and answer.packet.stratum == 3 and abs(answer.offset) < 0.01, answer
    code, said = query(f"mac://{host}:{port}", "--mac-keys", str(file), "--mac-key", "5", "-n", "2")
    assert code == 0 and (said["channel"], said["samples"], said["stratum"]) == ("mac", 2, 3), said
    code, said = query(f"mac://{host}:{port}", "--mac-keys", str(file), "--mac-key", "3", "-n", "1", "--timeout", "3s")
    assert code == 1 and said["error"]["step"] == "exchange", said
    client.finish()
    server.finish()


def test_a_generated_key_works_on_both_sides_and_shows_the_same_check_value(start, folder, chronyd):
    values = []
    for form, kind in (("chrony", "AES128"), ("ntp", "SHA256"), ("ntp", "AES256"), ("chrony", "SHA512")):
        out = folder / f"{form}-{kind}"
        made = command("keygen", "mac", "--out", str(out), "--id", "9", "--digest", kind, "--format", form)
        assert made.returncode == 0, made
        file = out / "ntp.keys"
        assert file.stat().st_mode & 0o777 == 0o600
        assert command("keygen", "mac", "--out", str(out)).returncode == 1, "a key file was overwritten"
        config = start(mac_server(chronyd.text(), file, [9], format=form), name=f"s-{form}-{kind}")
        host, port = config.address()
        code, said = query(f"mac://{host}:{port}", "--mac-keys", str(file), "--mac-key", "9", "--mac-format", form,
                           "-n", "1")
        assert code == 0, said
        checked = json.loads(command("check", "--json", "-c", str(config.config)).stdout)
        value = checked["tunnels"][0]["mac"]["keys"][0]["check-value"]
        assert f"check value {value}" in made.stdout, (made.stdout, value)
        assert config.wait_event("key_loaded")["check-value"] == value
        values.append(value)
        config.finish()
    assert len(set(values)) == len(values)
