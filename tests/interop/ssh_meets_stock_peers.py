"""OpenSSH at the other end: a stock client that speaks frames, its tools, and ssh-audit under every profile."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support import ntp
from support.frames import PING, PONG, Frame, monotonic_stamp
from support.gateway import MODERN, Gateway, command, query
from support.processes import run
from support.ssh import (AUDIT, Keys, client_of, frames_through_ssh, new_key, options, server_of, stock_client,
                         wait_exit)


def test_chronyd_is_asked_through_both_roles(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys), name="server")
    client = start(client_of(server.listen(), keys), name="client")
    opened = client.events("channel_opened")[0]
    assert opened["protocol"] == "SSH2" and opened["matched"] == "127.0.0.1", opened
    assert opened["suite"] == "curve25519-sha256 aes256-gcm@openssh.com aead-gcm"
    told = server.wait_event("channel_opened")
    assert (told["subject"], told["matched"]) == ("ntpgate", "ntpgate-client"), told
    with ntp.Client(client.address()) as asker:
        for _ in range(20):
            assert asker.ask(2.0)
    assert client.finish()["client"]["exchanges"]["answered"] == 20
    assert not server.finish()["server"]["requests"]["drops"]


@pytest.mark.measures
def test_the_first_request_is_as_right_as_the_later_ones(start, chronyd, keys):
    """It triggers nothing here, but it and the others go through holds that must come out even."""
    server = start(server_of(chronyd.text(), keys), name="server")
    code, direct = query(f"ntp://{chronyd.text()}", "-n", "2")
    assert code == 0
    code, through = query(f"ssh://ntpgate@{server.listen()}", "-n", "4", "--identity", keys.path("id_ed25519"),
                          "--known-hosts", keys.path("known_hosts"))
    assert code == 0, through
    assert (through["channel"], through["samples"]) == ("ssh", 4)
    assert abs(through["offset"] - direct["offset"]) < 0.005
    assert through["refid"] == direct["refid"]


def test_a_stock_client_exchanges_frames(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys))
    with frames_through_ssh(server.address(), options(keys)) as peer:
        peer.send(Frame(PING, 41, monotonic_stamp()).framed())
        pong = peer.receive()
        assert pong is not None and (pong.kind, pong.id) == (PONG, 41), peer.child.stderr.read()
        for _ in range(5):
            assert peer.ask()
        server.wait_event("channel_opened", subject="ntpgate")
        assert peer.close() == 0
    assert server.wait_event("channel_closed")["reason"] == "peer_closed"
    assert server.finish()["server"]["exchanges"]["answered"] == 5


@pytest.mark.parametrize("kind, bits", [("rsa", 3072)])
def test_a_key_of_openssh_logs_in(kind, bits, start, chronyd, keys, folder):
    key = new_key(folder / "id_stock", kind, bits)
    authorized = Path(keys.path("authorized_keys"))
    authorized.write_text(authorized.read_text() + key.with_suffix(".pub").read_text())
    server = start(server_of(chronyd.text(), keys))
    with frames_through_ssh(server.address(), options(keys, str(key))) as peer:
        assert peer.ask(), peer.child.stderr.read()
    assert server.wait_event("channel_opened")["matched"] == "made-by-openssh"
    server.finish()


def test_a_stock_client_renews_keys_as_it_likes(start, chronyd, keys):
    """RekeyLimit of the client: every 16 kB. Nothing is lost."""
    server = start(server_of(chronyd.text(), keys))
    with frames_through_ssh(server.address(), options(keys, RekeyLimit="16K")) as peer:
        for _ in range(600):
            assert peer.ask()
        server.wait_event("rekeyed")
    counted = server.finish()["server"]
    assert counted["exchanges"]["answered"] == 600 and not counted["replies"]["drops"], counted


def shown(profile: str) -> dict[str, object]:
    done = command("profile", "show", profile, "--json")
    assert done.returncode == 0, done
    return json.loads(done.stdout)


PROFILES = sorted(path.stem for path in MODERN.parent.glob("*.yaml"))
MARKERS = {"kex-strict-s-v00@openssh.com", "ext-info-s"}  # no algorithms, but what a list of them may carry
HOST_KEYS = {"ssh-ed25519": "host_ed25519", "rsa-sha2-512": "host_rsa", "rsa-sha2-256": "host_rsa"}


def scan(address: tuple[str, int]) -> dict[str, list[str]]:
    seen = json.loads(run([AUDIT, "-j", "-p", str(address[1]), address[0]]).stdout)
    assert seen["compression"] == ["none"] and seen["banner"]["raw"] == "SSH-2.0-ntpgate", seen
    return {kind: [each["algorithm"] if isinstance(each, dict) else each for each in seen[kind]]
            for kind in ("kex", "key", "enc", "mac")}


def server_with(curve: str, offered: dict[str, object], keys: Keys, mac: dict[str, object]) -> dict[str, object]:
    """With a host key of every kind that is offered; of the ECDSA kinds, that one."""
    files = {keys.path(HOST_KEYS[name]) for name in offered["public-keys"] if name in HOST_KEYS}
    if curve:
        files.add(str(new_key(keys.folder / f"host_{curve}", "ecdsa", int(curve.removeprefix("ecdsa-sha2-nistp")))))
    tunnel = server_of("clock", keys, host_keys=sorted(files)) | mac
    return tunnel | {"name": curve or "server", "upstream": {"clock": {"free-running": True}}}


@pytest.mark.parametrize("profile", PROFILES)
def test_ssh_audit_finds_what_profile_show_says_and_nothing_else(profile, start, keys, folder):
    rules = shown(profile)
    offered = rules["ssh"]
    mac = {}
    if "ssh" not in rules["claim"]["claimable"]:  # then a digest of NTP inside of it carries the claim
        digest = next(name for name in rules["mac"]["digests"] if name in ("SHA512", "AES256"))
        (folder / "ntp.keys").write_text(f"7 {digest} HEX:{'ab' * 32}\n", encoding="ascii")
        (folder / "ntp.keys").chmod(0o600)
        mac = {"mac": {"keys": str(folder / "ntp.keys"), "trusted": [7]}}
    # One connection shows one ECDSA host key at most, whatever the profile lets a server choose.
    curves = [name for name in offered["public-keys"] if name.startswith("ecdsa-")]
    tunnels = [server_with(curve, offered, keys, mac) for curve in curves or [""]]
    server = start(*tunnels, profile=profile, limits={"handshakes-per-second-per-source": 0})
    for tunnel, curve in zip(tunnels, curves or [""], strict=True):
        seen = scan(server.address(tunnel["name"]))
        assert [name for name in seen["kex"] if name not in MARKERS] == offered["kex"]
        assert seen["key"] == [name for name in offered["public-keys"] if name not in curves or name == curve]
        assert seen["enc"] == offered["ciphers"]
        assert seen["mac"] == (offered["macs"] or [offered["unused-mac"]])
        assert offered["macs"] or all("gcm" in name or "poly1305" in name for name in offered["ciphers"])


def test_ssh_audit_finds_no_failure_under_modern(start, chronyd, keys):
    server = start(server_of(chronyd.text(), keys))
    host, port = server.address()
    text = run([AUDIT, "-p", str(port), host]).stdout
    assert "(kex) curve25519-sha256" in text and "[fail]" not in text, text
    server.finish()


def test_stock_keygen_reads_what_keygen_ssh_writes(keys):
    for name in ("host_ed25519", "host_rsa", "id_ed25519"):
        assert Path(keys.path(name)).stat().st_mode & 0o777 == 0o600
        done = run(["/usr/bin/ssh-keygen", "-y", "-f", keys.path(name)])
        assert " ".join(done.stdout.split()[:2]) == keys.public(name), done.stderr
    again = command("keygen", "ssh", "--out", str(keys.folder))
    assert again.returncode == 1 and "exists" in again.stderr


def test_one_liners_are_enough(supervisor, chronyd, keys):
    server = Gateway(supervisor, "server", ["server", "ssh://127.0.0.1:0", "--upstream", chronyd.text(), "--identity",
                                            keys.path("host_ed25519"), "--authorized-keys",
                                            keys.path("authorized_keys")])
    client = Gateway(supervisor, "client", ["client", f"ssh://{server.listen()}", "--listen", "127.0.0.1:0",
                                            "--identity", keys.path("id_ed25519"), "--known-hosts",
                                            keys.path("known_hosts")])
    with ntp.Client(client.address()) as asker:
        assert asker.ask(2.0)
    client.finish()
    server.finish()


def test_a_stranger_host_is_not_talked_to_by_a_stock_client_either(start, chronyd, keys, folder):
    """The known_hosts that we write is one that OpenSSH obeys."""
    server = start(server_of(chronyd.text(), keys))
    (folder / "empty").touch()
    child = stock_client(server.address(), [*options(keys, UserKnownHostsFile=str(folder / "empty")), "-s"], "ntpgate")
    code, said = wait_exit(child)
    assert code == 255 and "Host key verification failed" in said, said
